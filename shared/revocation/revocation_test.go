package revocation_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

var ctx = context.Background()

// examine holds for every List.
func examine(t *testing.T, l revocation.List) {
	if _, err := l.Ended(ctx, "grt_a"); !errors.Is(err, revocation.ErrUnknown) {
		t.Fatalf("before the first Restore: got %v, want ErrUnknown: a list that may be incomplete must say so", err)
	}
	later := time.Now().Add(time.Hour)
	must(t, l.Add(ctx, "grt_early", later))
	if ended, err := l.Ended(ctx, "grt_early"); !ended || err != nil {
		t.Fatalf("a listed grant before Restore: got %v %v, want ended", ended, err)
	}
	must(t, l.Restore(ctx, map[string]time.Time{"grt_old": later, "grt_gone": time.Now().Add(-time.Hour)}, time.Minute))
	must(t, l.Add(ctx, "grt_new", later))
	for id, want := range map[string]bool{"grt_early": true, "grt_old": true, "grt_new": true, "grt_gone": false, "grt_a": false} {
		if ended, err := l.Ended(ctx, id); ended != want || err != nil {
			t.Errorf("%s: got %v %v, want %v", id, ended, err, want)
		}
	}
}

func TestMemory(t *testing.T) { examine(t, revocation.NewMemory(nil)) }

func TestMemoryGrowsStale(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	l := revocation.NewMemory(func() time.Time { return now })
	must(t, l.Restore(ctx, map[string]time.Time{"grt_a": now.Add(time.Hour)}, 30*time.Second))
	now = now.Add(31 * time.Second)
	if _, err := l.Ended(ctx, "grt_b"); !errors.Is(err, revocation.ErrUnknown) {
		t.Errorf("without a Restore in time: got %v, want ErrUnknown", err)
	}
	if ended, _ := l.Ended(ctx, "grt_a"); !ended {
		t.Error("a listed grant stays ended in a stale list")
	}
}

func TestRedis(t *testing.T) {
	url, prefix := testenv.Redis(t)
	client, err := ttl.OpenRedis(ctx, url)
	must(t, err)
	t.Cleanup(func() { client.Close() })
	l := revocation.NewRedis(client, prefix, nil)
	examine(t, l)

	// FT-15: a Redis that has forgotten everything is not taken for one in which no grant has ended.
	for _, key := range client.Keys(ctx, prefix+"*").Val() {
		client.Del(ctx, key)
	}
	if _, err := l.Ended(ctx, "grt_old"); !errors.Is(err, revocation.ErrUnknown) {
		t.Errorf("after a flush: got %v, want ErrUnknown", err)
	}
	client.Close() // FT-14
	if _, err := l.Ended(ctx, "grt_old"); !errors.Is(err, revocation.ErrUnknown) {
		t.Errorf("without Redis: got %v, want ErrUnknown", err)
	}
	if err := l.Add(ctx, "grt_x", time.Now().Add(time.Hour)); err == nil {
		t.Error("adding without Redis: got nil, want an error: what was not written must not be answered 200")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
