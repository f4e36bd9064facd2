package ttl_test

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl/redisttl"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl/ttltest"
)

// DS-10 (a full memory refuses nobody but who fills it), and what else ttltest holds, in memory and
// in Redis.
func TestMemory(t *testing.T) {
	ttltest.Run(t, func(t *testing.T, most int) (ttl.Store, func(time.Duration)) {
		var mu sync.Mutex
		now := time.Unix(1_800_000_000, 0)
		clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
		return ttl.NewMemory(ttl.Options{Now: clock, MaxEntries: most}),
			func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
	})
}

func TestRedis(t *testing.T) {
	url, prefix := testenv.Redis(t)
	client, err := redisttl.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	part := 0
	ttltest.Run(t, func(t *testing.T, most int) (ttl.Store, func(time.Duration)) {
		part++
		s := redisttl.New(client, prefix+strconv.Itoa(part)+":", most)
		// Redis keeps its own time; wait for it by asking it, not by trusting ours.
		return s, func(d time.Duration) {
			s := redisttl.New(client, prefix+"sentinel:", 0)
			if err := s.Put(t.Context(), "clock", "sentinel", nil, d); err != nil {
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
