package singleflight_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/singleflight"
)

// One call serves all who wait, each waits until its own context is done, and a caller that is
// canceled takes nothing from the others.
func TestOneCallServesAllWhoWait(t *testing.T) {
	g := &singleflight.Group[int]{Max: 1, Timeout: time.Minute}
	begun, hold := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(begun) })
	ask := func(context.Context) (int, error) {
		once()
		<-hold
		return 7, nil
	}
	first, giveUp := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := g.Do(first, "a", ask)
		gone <- err
	}()
	<-begun
	var waiting sync.WaitGroup
	for range 20 {
		waiting.Go(func() {
			if n, err := g.Do(t.Context(), "a", ask); n != 7 || err != nil {
				t.Errorf("got %d %v", n, err)
			}
		})
	}
	giveUp()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up: %v", err)
	}
	if _, err := g.Do(t.Context(), "b", ask); !errors.Is(err, singleflight.ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	close(hold)
	waiting.Wait()
}

// A call has a timeout, and a panic in it is raised where it can be caught.
func TestACallEnds(t *testing.T) {
	g := &singleflight.Group[int]{Max: 1, Timeout: time.Millisecond}
	_, err := g.Do(t.Context(), "a", func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	defer func() {
		if recover() != "no" {
			t.Error("a panic is not where it can be caught")
		}
	}()
	g.Do(t.Context(), "a", func(context.Context) (int, error) { panic("no") })
}
