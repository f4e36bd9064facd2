// Package ttltest is the test suite that every ttl.Store must pass.
package ttltest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

// Run tests stores. open returns an empty one for each part, which holds most entries (0: its
// default), with a function that lets time pass for it.
func Run(t *testing.T, open func(t *testing.T, most int) (s ttl.Store, pass func(time.Duration))) {
	for name, part := range map[string]func(*testing.T, ttl.Store, func(time.Duration)){
		"put and get": putAndGet, "expiry": expiry, "put if absent": putIfAbsent, "take": take, "add": add,
		"races": races, "once": once,
	} {
		t.Run(name, func(t *testing.T) {
			s, pass := open(t, 0)
			part(t, s, pass)
		})
	}
	for name, part := range map[string]func(*testing.T, ttl.Store, func(time.Duration)){
		"full": full, "full of marks": fullOfMarks, "full of owners": fullOfOwners, "full, in a crowd": crowd,
	} {
		t.Run(name, func(t *testing.T) {
			s, pass := open(t, 4)
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
	ok(t, s.Put(ctx, "o", "k", value, time.Minute))
	value[0] = 'x' // the store keeps its own copy
	want(t, s, "k", "v\x00\xff", true)
	ok(t, s.Put(ctx, "o", "k", []byte("w"), time.Minute))
	want(t, s, "k", "w", true)
	ok(t, s.Put(ctx, "o", "k:*\r\n", nil, time.Minute)) // SF-06
	want(t, s, "k:*\r\n", "", true)
	want(t, s, "k", "w", true)
}

func expiry(t *testing.T, s ttl.Store, pass func(time.Duration)) {
	ok(t, s.Put(ctx, "o", "short", []byte("v"), 100*time.Millisecond))
	ok(t, s.Put(ctx, "o", "long", []byte("v"), time.Hour))
	pass(150 * time.Millisecond)
	want(t, s, "short", "", false)
	want(t, s, "long", "v", true)
	if _, there, err := s.Take(ctx, "short"); there || err != nil {
		t.Fatalf("Take of an expired key: got %v %v, want nothing", there, err)
	}
	if first, err := s.PutIfAbsent(ctx, "o", "short", []byte("w"), time.Minute); !first || err != nil {
		t.Fatalf("PutIfAbsent over an expired key: got %v %v, want true", first, err)
	}
}

func putIfAbsent(t *testing.T, s ttl.Store, _ func(time.Duration)) {
	for i, wantFirst := range []bool{true, false} {
		first, err := s.PutIfAbsent(ctx, "o", "k", fmt.Append(nil, i), time.Minute)
		if err != nil || first != wantFirst {
			t.Fatalf("PutIfAbsent no. %d: got %v %v, want %v", i, first, err, wantFirst)
		}
	}
	want(t, s, "k", "0", true)
}

func take(t *testing.T, s ttl.Store, _ func(time.Duration)) {
	ok(t, s.Put(ctx, "o", "k", []byte("v"), time.Minute))
	for _, wantThere := range []bool{true, false} {
		got, there, err := s.Take(ctx, "k")
		if err != nil || there != wantThere || there && string(got) != "v" {
			t.Fatalf("Take: got %q %v %v, want %v", got, there, err, wantThere)
		}
	}
}

func add(t *testing.T, s ttl.Store, pass func(time.Duration)) {
	for _, step := range []struct{ delta, sum int64 }{{1, 1}, {2, 3}, {-1, 2}} {
		sum, left, err := s.Add(ctx, "o", "n", step.delta, 200*time.Millisecond)
		if err != nil || sum != step.sum || left <= 0 || left > 200*time.Millisecond {
			t.Fatalf("Add(%d): got %d, %s left, %v, want %d and what is left of 200ms", step.delta, sum, left, err,
				step.sum)
		}
	}
	pass(250 * time.Millisecond) // the lifetime counts from the first Add
	if sum, _, err := s.Add(ctx, "o", "n", 1, time.Minute); err != nil || sum != 1 {
		t.Fatalf("Add after expiry: got %d %v, want 1", sum, err)
	}
}

// races: of many at once exactly one takes, exactly one puts, and no addition is lost.
func races(t *testing.T, s ttl.Store, _ func(time.Duration)) {
	const n = 50
	ok(t, s.Put(ctx, "o", "taken", []byte("v"), time.Minute))
	var takes, puts atomic.Int64
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, there, err := s.Take(ctx, "taken"); err != nil {
				t.Error(err)
			} else if there {
				takes.Add(1)
			}
			if first, err := s.PutIfAbsent(ctx, "o", "put", []byte("v"), time.Minute); err != nil {
				t.Error(err)
			} else if first {
				puts.Add(1)
			}
			if _, _, err := s.Add(ctx, "o", "added", 1, time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	sum, _, err := s.Add(ctx, "o", "added", 0, time.Minute)
	if takes.Load() != 1 || puts.Load() != 1 || sum != n || err != nil {
		t.Fatalf("got %d takes, %d puts, sum %d %v; want 1, 1, %d", takes.Load(), puts.Load(), sum, err, n)
	}
}

func once(t *testing.T, s ttl.Store, pass func(time.Duration)) {
	for i, wantFirst := range []bool{true, false} {
		first, err := s.Once(ctx, "o", "k", 100*time.Millisecond)
		if err != nil || first != wantFirst {
			t.Fatalf("Once no. %d: got %v %v, want %v", i, first, err, wantFirst)
		}
	}
	pass(150 * time.Millisecond)
	if first, err := s.Once(ctx, "o", "k", time.Minute); !first || err != nil {
		t.Fatalf("Once after expiry: got %v %v, want true", first, err)
	}
}

func gone(t *testing.T, s ttl.Store, key string) bool {
	t.Helper()
	_, there, err := s.Get(ctx, key)
	ok(t, err)
	return !there
}

// full: filling a memory costs one's own entries first, and no one else is refused (DS-10).
func full(t *testing.T, s ttl.Store, pass func(time.Duration)) {
	ok(t, s.Put(ctx, "ann", "ann", []byte("v"), time.Hour))
	for i := range 20 {
		ok(t, s.Put(ctx, "mallory", fmt.Sprint("m", i), []byte("v"), time.Hour+time.Duration(i)*time.Minute))
	}
	ok(t, s.Put(ctx, "bob", "bob", []byte("v"), time.Hour))
	want(t, s, "ann", "v", true)
	want(t, s, "bob", "v", true)
	want(t, s, "m19", "v", true)
	for i := range 18 {
		if !gone(t, s, fmt.Sprint("m", i)) {
			t.Errorf("m%d is still there, want it dropped for newer ones", i)
		}
	}
	ok(t, s.Put(ctx, "mallory", "ann", []byte("w"), time.Hour)) // replacing takes no room, and it stays ann's
	want(t, s, "ann", "w", true)
	want(t, s, "m19", "v", true)
	if _, _, err := s.Add(ctx, "carol", "n", 1, time.Hour); err != nil {
		t.Fatal(err)
	}
	if first, err := s.PutIfAbsent(ctx, "dan", "dan", []byte("v"), time.Hour); err != nil || !first {
		t.Fatalf("PutIfAbsent in a full memory: got %v %v, want true", first, err)
	}
	want(t, s, "dan", "v", true)
	if _, there, err := s.Take(ctx, "dan"); err != nil || !there {
		t.Fatalf("Take: got %v %v", there, err)
	}
	ok(t, s.Put(ctx, "erin", "erin", []byte("v"), 100*time.Millisecond)) // what was taken made room
	want(t, s, "bob", "v", true)
	pass(150 * time.Millisecond)
}

// fullOfMarks: what was dropped and could come again does not count as the first.
func fullOfMarks(t *testing.T, s ttl.Store, _ func(time.Duration)) {
	first := func(owner, key string, life time.Duration) (bool, error) { return s.Once(ctx, owner, key, life) }
	for i := range 20 {
		if yes, err := first("mallory", fmt.Sprint("m", i), time.Hour+time.Duration(i)*time.Minute); !yes ||
			err != nil {
			t.Fatalf("mark %d of one owner: got %v %v, want true", i, yes, err)
		}
	}
	if yes, err := first("ann", "ann", time.Minute); !yes || err != nil {
		t.Fatalf("another's: got %v %v, want true", yes, err)
	}
	for i := range 16 {
		if yes, err := first("mallory", fmt.Sprint("m", i), time.Hour+time.Duration(i)*time.Minute-time.Second); yes {
			t.Fatalf("a dropped mark again: got %v %v, want anything but the first", yes, err)
		}
	}
	if yes, err := first("mallory", "later", 3*time.Hour); !yes || err != nil {
		t.Fatalf("a newer mark of that owner: got %v %v, want true", yes, err)
	}
	if yes, err := first("ann", "ann", time.Minute); yes || err != nil {
		t.Fatalf("ann's again: got %v %v, want false", yes, err)
	}
}

// fullOfOwners: an owner's only mark is never dropped; of other entries the oldest is.
func fullOfOwners(t *testing.T, s ttl.Store, pass func(time.Duration)) {
	for i := range 4 {
		if yes, err := s.Once(ctx, fmt.Sprint("o", i), fmt.Sprint("k", i), 200*time.Millisecond); !yes || err != nil {
			t.Fatal(yes, err)
		}
	}
	if yes, err := s.Once(ctx, "o4", "k4", time.Hour); yes || !errors.Is(err, ttl.ErrFull) {
		t.Fatalf("got %v %v, want ErrFull", yes, err)
	}
	pass(2 * time.Second) // a memory removes expired entries once a second
	if yes, err := s.Once(ctx, "o4", "k4", time.Hour); !yes || err != nil {
		t.Fatalf("after expiry: got %v %v, want room", yes, err)
	}
}

// crowd: concurrent writers stay within the bound, and an owner's own entry stays.
func crowd(t *testing.T, s ttl.Store, _ func(time.Duration)) {
	ok(t, s.Put(ctx, "ann", "ann", []byte("v"), time.Hour))
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			key := fmt.Sprint("m", i)
			if err := s.Put(ctx, "mallory", key, []byte("v"), time.Hour); err != nil {
				t.Error(err)
			}
			if _, _, err := s.Take(ctx, fmt.Sprint("m", i/2)); err != nil {
				t.Error(err)
			}
			if err := s.Put(ctx, "mallory", key, []byte("v"), time.Hour); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	left := 0
	for i := range 40 {
		if !gone(t, s, fmt.Sprint("m", i)) {
			left++
		}
	}
	if left > 3 {
		t.Errorf("%d entries beside ann's, want 3 at most", left)
	}
	want(t, s, "ann", "v", true)
}
