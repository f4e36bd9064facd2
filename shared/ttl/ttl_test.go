package ttl_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl/ttltest"
)

func TestMemory(t *testing.T) {
	ttltest.Run(t, func(t *testing.T) (ttl.Store, func(time.Duration)) {
		var mu sync.Mutex
		now := time.Unix(1_800_000_000, 0)
		clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
		return ttl.NewMemory(ttl.Options{Now: clock}), func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
	})
}

func TestRedis(t *testing.T) {
	url, prefix := testenv.Redis(t)
	client, err := ttl.OpenRedis(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	part := 0
	ttltest.Run(t, func(t *testing.T) (ttl.Store, func(time.Duration)) {
		part++
		s := ttl.NewRedis(client, prefix+strconv.Itoa(part)+":")
		// Redis keeps its own time; wait for it by asking it, not by trusting ours.
		return s, func(d time.Duration) {
			if err := s.Put(t.Context(), "sentinel", nil, d); err != nil {
				t.Fatal(err)
			}
			for there := true; there; {
				if _, there, err = s.Get(t.Context(), "sentinel"); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// DS-10: a memory that is full refuses new keys and forgets none; what has expired makes room.
func TestMemoryFull(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	m := ttl.NewMemory(ttl.Options{Now: func() time.Time { return now }, MaxEntries: 2})
	ctx := context.Background()
	for _, k := range []string{"a", "b"} {
		if err := m.Put(ctx, k, nil, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Put(ctx, "c", nil, time.Minute); !errors.Is(err, ttl.ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	if err := m.Put(ctx, "a", []byte("again"), time.Minute); err != nil {
		t.Fatalf("replacing: got %v, want it kept", err)
	}
	now = now.Add(time.Hour)
	if err := m.Put(ctx, "c", nil, time.Minute); err != nil {
		t.Fatalf("after expiry: got %v, want room", err)
	}
}
