package singleflight_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/singleflight"
)

// One asks for all who wait, each waits as long as it likes, and whoever gives up takes nothing
// from the others.
func TestOneAsksForAll(t *testing.T) {
	g := &singleflight.Group[string, int]{Most: 1, Within: time.Minute}
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

// A question has its time, and what is wrong with it is wrong for who waits alone.
func TestAQuestionEnds(t *testing.T) {
	g := &singleflight.Group[string, int]{Most: 1, Within: time.Millisecond}
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
