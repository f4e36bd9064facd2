package ratelimit_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/ratelimit"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

// LG-08: a burst in parallel gets no more tries than tries in a row.
func TestAllow(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	l := &ratelimit.Limiter{Store: ttl.NewMemory(ttl.Options{Now: func() time.Time { return now }}), Name: "x", Limit: 5, Window: time.Minute}
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if ok, _ := l.Allow(context.Background(), "mallory"); ok {
				allowed.Add(1)
			}
		})
	}
	wg.Wait()
	if allowed.Load() != 5 {
		t.Errorf("100 at once: got %d allowed, want 5", allowed.Load())
	}
	if ok, _ := l.Allow(context.Background(), "ann"); !ok {
		t.Error("another key: got refused, want its own count")
	}
	now = now.Add(time.Minute)
	if ok, _ := l.Allow(context.Background(), "mallory"); !ok {
		t.Error("after the window: got refused, want allowed")
	}
}

// FT-14: without its store a limit is neither gone nor shut.
func TestAllowWithoutStore(t *testing.T) {
	full := ttl.NewMemory(ttl.Options{MaxEntries: 1})
	if err := full.Put(context.Background(), "taken", nil, time.Hour); err != nil {
		t.Fatal(err)
	}
	l := &ratelimit.Limiter{Store: full, Name: "x", Limit: 2, Window: time.Hour}
	for i, want := range []bool{true, true, false} {
		if ok, _ := l.Allow(context.Background(), "k"); ok != want {
			t.Errorf("try %d: got %v, want %v", i+1, ok, want)
		}
	}
}
