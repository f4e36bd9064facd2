// Package ttltest owns the examination that every ttl.Store must pass.
package ttltest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

// Run examines stores. open makes an empty one for each part, with a function that lets time pass for it.
func Run(t *testing.T, open func(t *testing.T) (s ttl.Store, pass func(time.Duration))) {
	for name, part := range map[string]func(*testing.T, ttl.Store, func(time.Duration)){
		"put and get": putAndGet, "expiry": expiry, "put if absent": putIfAbsent, "take": take, "add": add, "races": races,
	} {
		t.Run(name, func(t *testing.T) {
			s, pass := open(t)
			part(t, s, pass)
		})
	}
}

var ctx = context.Background()

func want(t *testing.T, s ttl.Store, key, value string, there bool) {
	t.Helper()
	got, ok, err := s.Get(ctx, key)
	if err != nil || ok != there || string(got) != value {
		t.Fatalf("Get(%s): got %q %v %v, want %q %v", key, got, ok, err, value, there)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func putAndGet(t *testing.T, s ttl.Store, _ func(time.Duration)) {
	want(t, s, "k", "", false)
	value := []byte("v\x00\xff")
	ok(t, s.Put(ctx, "k", value, time.Minute))
	value[0] = 'x' // the store keeps its own copy
	want(t, s, "k", "v\x00\xff", true)
	ok(t, s.Put(ctx, "k", []byte("w"), time.Minute))
	want(t, s, "k", "w", true)
	ok(t, s.Put(ctx, "k:*\r\n", nil, time.Minute)) // SF-06
	want(t, s, "k:*\r\n", "", true)
	want(t, s, "k", "w", true)
}

func expiry(t *testing.T, s ttl.Store, pass func(time.Duration)) {
	ok(t, s.Put(ctx, "short", []byte("v"), 100*time.Millisecond))
	ok(t, s.Put(ctx, "long", []byte("v"), time.Hour))
	pass(150 * time.Millisecond)
	want(t, s, "short", "", false)
	want(t, s, "long", "v", true)
	if _, there, err := s.Take(ctx, "short"); there || err != nil {
		t.Fatalf("Take of an expired key: got %v %v, want nothing", there, err)
	}
	if first, err := s.PutIfAbsent(ctx, "short", []byte("w"), time.Minute); !first || err != nil {
		t.Fatalf("PutIfAbsent over an expired key: got %v %v, want true", first, err)
	}
}

func putIfAbsent(t *testing.T, s ttl.Store, _ func(time.Duration)) {
	for i, wantFirst := range []bool{true, false} {
		first, err := s.PutIfAbsent(ctx, "k", fmt.Append(nil, i), time.Minute)
		if err != nil || first != wantFirst {
			t.Fatalf("PutIfAbsent no. %d: got %v %v, want %v", i, first, err, wantFirst)
		}
	}
	want(t, s, "k", "0", true)
}

func take(t *testing.T, s ttl.Store, _ func(time.Duration)) {
	ok(t, s.Put(ctx, "k", []byte("v"), time.Minute))
	for _, wantThere := range []bool{true, false} {
		got, there, err := s.Take(ctx, "k")
		if err != nil || there != wantThere || there && string(got) != "v" {
			t.Fatalf("Take: got %q %v %v, want %v", got, there, err, wantThere)
		}
	}
}

func add(t *testing.T, s ttl.Store, pass func(time.Duration)) {
	for _, step := range []struct{ delta, sum int64 }{{1, 1}, {2, 3}, {-1, 2}} {
		sum, left, err := s.Add(ctx, "n", step.delta, 200*time.Millisecond)
		if err != nil || sum != step.sum || left <= 0 || left > 200*time.Millisecond {
			t.Fatalf("Add(%d): got %d, %s left, %v, want %d and what is left of 200ms", step.delta, sum, left, err, step.sum)
		}
	}
	pass(250 * time.Millisecond) // the life counts from the first Add
	if sum, _, err := s.Add(ctx, "n", 1, time.Minute); err != nil || sum != 1 {
		t.Fatalf("Add after expiry: got %d %v, want 1", sum, err)
	}
}

// races: of many at once exactly one takes, exactly one puts, and no addition is lost.
func races(t *testing.T, s ttl.Store, _ func(time.Duration)) {
	const n = 50
	ok(t, s.Put(ctx, "taken", []byte("v"), time.Minute))
	var takes, puts atomic.Int64
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, there, err := s.Take(ctx, "taken"); err != nil {
				t.Error(err)
			} else if there {
				takes.Add(1)
			}
			if first, err := s.PutIfAbsent(ctx, "put", []byte("v"), time.Minute); err != nil {
				t.Error(err)
			} else if first {
				puts.Add(1)
			}
			if _, _, err := s.Add(ctx, "added", 1, time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	sum, _, err := s.Add(ctx, "added", 0, time.Minute)
	if takes.Load() != 1 || puts.Load() != 1 || sum != n || err != nil {
		t.Fatalf("got %d takes, %d puts, sum %d %v; want 1, 1, %d", takes.Load(), puts.Load(), sum, err, n)
	}
}
