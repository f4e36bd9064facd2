package ratelimit_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-mcp/gatehouse/shared/ratelimit"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl/redisttl"
)

// LG-08: a burst in parallel gets no more tries than tries in a row.
func TestAllow(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	l := &ratelimit.Limiter{Store: ttl.NewMemory(ttl.Options{Now: func() time.Time { return now }}), Name: "x",
		Limit: 5, Window: time.Minute}
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
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1}) // nothing answers there
	defer client.Close()
	l := &ratelimit.Limiter{Store: redisttl.New(client, "", 0), Name: "x", Limit: 2, Window: time.Hour}
	for i, want := range []bool{true, true, false} {
		if ok, _ := l.Allow(context.Background(), "k"); ok != want {
			t.Errorf("try %d: got %v, want %v", i+1, ok, want)
		}
	}
}

// A try that is taken back leaves room for another, and makes none beyond the limit.
func TestReturn(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1_800_000_000, 0)
	l := &ratelimit.Limiter{Store: ttl.NewMemory(ttl.Options{Now: func() time.Time { return now }}), Name: "x",
		Limit: 2, Window: time.Minute}
	for i := range 10 {
		if ok, _ := l.Allow(ctx, "k"); !ok {
			t.Fatalf("try %d after %d that were taken back: got refused", i+1, i)
		}
		l.Return(ctx, "k")
	}
	l.Allow(ctx, "k")
	now = now.Add(time.Hour)
	l.Return(ctx, "k") // of a window that is over
	now = now.Add(10 * time.Second)
	for i, want := range []bool{true, true, false} {
		if ok, wait := l.Allow(ctx, "k"); ok != want || wait != 50*time.Second {
			t.Errorf("try %d: got %v, wait %s, want %v and what is left of the minute", i+1, ok, wait, want)
		}
	}
}
