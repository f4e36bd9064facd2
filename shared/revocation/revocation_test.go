package revocation_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

var ctx = context.Background()

// ledger is a ledger that knows these grants.
func ledger(ended map[string]time.Time) func(context.Context) (map[string]time.Time, error) {
	return func(context.Context) (map[string]time.Time, error) { return ended, nil }
}

// clock is a clock that the test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_800_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// openRedis is a connection to the test's Redis, and a prefix of its own.
func openRedis(t testing.TB) (redis.UniversalClient, string) {
	t.Helper()
	url, prefix := testenv.Redis(t)
	client, err := ttl.OpenRedis(ctx, url)
	must(t, err)
	t.Cleanup(func() { client.Close() })
	return client, prefix
}

// flush is FLUSHALL for the test's own keys.
func flush(t testing.TB, client redis.UniversalClient, prefix string) {
	t.Helper()
	for _, key := range client.Keys(ctx, prefix+"*").Val() {
		must(t, client.Del(ctx, key).Err())
	}
}

// want asks a reader about grants: true for ended, false for not.
func want(t testing.TB, r revocation.Reader, grants map[string]bool) {
	t.Helper()
	for id, want := range grants {
		if ended, err := r.Ended(ctx, id); ended != want || err != nil {
			t.Errorf("%s: got %v %v, want %v", id, ended, err, want)
		}
	}
}

// unknown asks a reader that must say that it does not know.
func unknown(t testing.TB, r revocation.Reader, when string) {
	t.Helper()
	if ended, err := r.Ended(ctx, "grt_of_nobody"); ended || !errors.Is(err, revocation.ErrUnknown) {
		t.Errorf("%s: got %v %v, want ErrUnknown", when, ended, err)
	}
}

// examine holds for every List and whoever follows it.
func examine(t *testing.T, l revocation.List) {
	r := revocation.NewReplica(revocation.ReplicaOptions{Feed: l})
	unknown(t, r, "before anything is read")
	if err := r.CatchUp(ctx); !errors.Is(err, revocation.ErrUnknown) {
		t.Fatalf("before the first Restore: got %v, want ErrUnknown: a list that may be incomplete must say so", err)
	}
	unknown(t, r, "before the first Restore")
	later := time.Now().Add(time.Hour)
	must(t, l.Add(ctx, "grt_early", later))
	if err := r.CatchUp(ctx); !errors.Is(err, revocation.ErrUnknown) {
		t.Errorf("before the first Restore: got %v, want ErrUnknown", err)
	}
	unknown(t, r, "before the first Restore")
	want(t, r, map[string]bool{"grt_early": true})
	must(t, l.Restore(ctx, ledger(map[string]time.Time{"grt_old": later, "grt_gone": time.Now().Add(-time.Hour)}), time.Minute))
	must(t, l.Add(ctx, "grt_new", later))
	must(t, r.CatchUp(ctx))
	all := map[string]bool{"grt_early": true, "grt_old": true, "grt_new": true, "grt_gone": false, "grt_a": false}
	want(t, r, all)

	// A second Restore writes nothing twice.
	before, err := l.Next(ctx, "")
	must(t, err)
	must(t, l.Restore(ctx, ledger(map[string]time.Time{"grt_old": later, "grt_new": later}), time.Minute))
	b, err := l.Next(ctx, before.Cursor)
	must(t, err)
	if len(b.Ended) != 0 || b.Whole || b.Mark == before.Mark {
		t.Errorf("after a second Restore: got %+v, want another mark and nothing else", b)
	}
	for _, cursor := range []string{"", "x", "grt_old", "____", "9-9_9-9_1_", "AAAA.7", strings.Repeat("9", 1000)} {
		b, err := l.Next(ctx, cursor)
		if err != nil || !b.Whole || len(b.Ended) != 3 {
			t.Errorf("from the cursor %.20q: got %d entries, whole %v, %v; want the whole list", cursor, len(b.Ended), b.Whole, err)
		}
	}

	broken := errors.New("the ledger does not answer")
	if err := l.Restore(ctx, func(context.Context) (map[string]time.Time, error) { return nil, broken }, time.Minute); !errors.Is(err, broken) {
		t.Errorf("a ledger that does not answer: got %v", err)
	}

	many := map[string]time.Time{}
	for i := range 7001 {
		many[fmt.Sprintf("grt_%d", i)] = later
	}
	must(t, l.Restore(ctx, ledger(many), time.Minute))
	must(t, r.CatchUp(ctx))
	all["grt_0"], all["grt_7000"], all["grt_7001"] = true, true, false
	want(t, r, all)
	if got := r.Size(); got != 7004 {
		t.Errorf("got %d grants, want 7004", got)
	}
	late := revocation.NewReplica(revocation.ReplicaOptions{Feed: l})
	must(t, late.CatchUp(ctx))
	want(t, late, all)
}

func TestMemory(t *testing.T) { examine(t, revocation.NewMemory(nil)) }

func TestRedis(t *testing.T) {
	client, prefix := openRedis(t)
	examine(t, revocation.NewRedis(client, prefix, nil))
}

func TestMemoryGrowsStale(t *testing.T) {
	c := newClock()
	l := revocation.NewMemory(c.Now)
	unknown(t, l, "before the first Restore")
	must(t, l.Restore(ctx, ledger(map[string]time.Time{"grt_a": c.Now().Add(time.Hour)}), 30*time.Second))
	want(t, l, map[string]bool{"grt_a": true, "grt_b": false})
	c.step(31 * time.Second)
	unknown(t, l, "without a Restore in time")
	want(t, l, map[string]bool{"grt_a": true})
}

// Entries leave when no token of the grant can live any more, and not when a clock was wrong for a while (FT-17).
func TestEntriesLeave(t *testing.T) {
	source, here := newClock(), newClock()
	l := revocation.NewMemory(source.Now)
	r := revocation.NewReplica(revocation.ReplicaOptions{Feed: l, Now: here.Now})
	both := func(d time.Duration) { source.step(d); here.step(d) }
	must(t, l.Restore(ctx, nil, time.Hour))
	must(t, l.Add(ctx, "grt_a", source.Now().Add(time.Hour)))
	must(t, r.CatchUp(ctx))
	both(59 * time.Minute)
	must(t, l.Add(ctx, "grt_b", source.Now().Add(time.Hour)))
	must(t, r.CatchUp(ctx))
	if r.Size() != 2 {
		t.Errorf("within the hour: got %d grants, want both", r.Size())
	}
	both(2 * time.Minute)
	must(t, l.Restore(ctx, nil, 3*time.Hour))
	must(t, r.CatchUp(ctx))
	if b, _ := l.Next(ctx, ""); r.Size() != 1 || len(b.Ended) != 1 {
		t.Errorf("after it: got %d grants of %d, want the newer one", r.Size(), len(b.Ended))
	}
	here.step(24 * time.Hour) // nobody's tokens are good here today
	must(t, l.Add(ctx, "grt_c", source.Now().Add(time.Hour)))
	_ = r.CatchUp(ctx) // no mark is good today, either
	here.step(-24 * time.Hour)
	both(2 * time.Minute)
	must(t, r.CatchUp(ctx))
	if ended, _ := r.Ended(ctx, "grt_c"); !ended {
		t.Error("an end that was read while our clock was a day ahead is forgotten")
	}
}

// FT-15: a Redis that has forgotten everything is not taken for one in which no grant has ended, and replicas lose nothing by it.
func TestRedisIsEmptied(t *testing.T) {
	client, prefix := openRedis(t)
	l, c := revocation.NewRedis(client, prefix, nil), newClock()
	old := revocation.NewReplica(revocation.ReplicaOptions{Feed: l, Now: c.Now})
	later := time.Now().Add(time.Hour)
	must(t, l.Restore(ctx, nil, time.Minute))
	must(t, l.Add(ctx, "grt_a", later))
	must(t, old.CatchUp(ctx))
	must(t, l.Add(ctx, "grt_b", later)) // nobody reads it before it is lost
	flush(t, client, prefix)
	if err := old.CatchUp(ctx); !errors.Is(err, revocation.ErrUnknown) {
		t.Errorf("after a flush: got %v, want ErrUnknown", err)
	}
	want(t, old, map[string]bool{"grt_a": true})
	must(t, l.Add(ctx, "grt_c", later))
	young := revocation.NewReplica(revocation.ReplicaOptions{Feed: l})
	for _, r := range []*revocation.Replica{old, young} {
		if err := r.CatchUp(ctx); !errors.Is(err, revocation.ErrUnknown) {
			t.Errorf("before it is written anew: got %v, want ErrUnknown", err)
		}
	}
	unknown(t, young, "before it is written anew")
	c.step(11 * time.Second)
	unknown(t, old, "when it has not been known to be complete for eleven seconds")
	must(t, l.Restore(ctx, ledger(map[string]time.Time{"grt_a": later, "grt_b": later}), time.Minute))
	for _, r := range []*revocation.Replica{old, young} {
		must(t, r.CatchUp(ctx))
		want(t, r, map[string]bool{"grt_a": true, "grt_b": true, "grt_c": true, "grt_d": false})
	}

	// What happens in the middle of a Restore leaves no mark: the ledger is asked again.
	asked := 0
	must(t, l.Restore(ctx, func(context.Context) (map[string]time.Time, error) {
		if asked++; asked == 1 {
			flush(t, client, prefix)
			return map[string]time.Time{"grt_a": later}, nil
		}
		return map[string]time.Time{"grt_a": later, "grt_b": later}, nil
	}, time.Minute))
	fresh := revocation.NewReplica(revocation.ReplicaOptions{Feed: l})
	must(t, fresh.CatchUp(ctx))
	want(t, fresh, map[string]bool{"grt_a": true, "grt_b": true, "grt_c": false})
	if asked != 2 {
		t.Errorf("the ledger was asked %d times, want 2", asked)
	}
}

// FT-16: after a fail-over that lost the newest ends, marks from before vouch for nothing.
func TestRedisFallsBehind(t *testing.T) {
	client, prefix := openRedis(t)
	l := revocation.NewRedis(client, prefix, nil)
	later := time.Now().Add(time.Hour)
	r := revocation.NewReplica(revocation.ReplicaOptions{Feed: l, StaleAfter: time.Nanosecond})
	must(t, l.Restore(ctx, nil, time.Minute))
	must(t, l.Add(ctx, "grt_a", later))
	must(t, r.CatchUp(ctx))
	newest, err := client.XRevRangeN(ctx, prefix+"ended", "+", "-", 1).Result()
	must(t, err)
	must(t, client.XDel(ctx, prefix+"ended", newest[0].ID).Err())
	for range 2 {
		if err := r.CatchUp(ctx); !errors.Is(err, revocation.ErrUnknown) {
			t.Errorf("after the loss: got %v, want ErrUnknown", err)
		}
	}
	want(t, r, map[string]bool{"grt_a": true})
	must(t, l.Restore(ctx, ledger(map[string]time.Time{"grt_a": later}), time.Minute))
	must(t, r.CatchUp(ctx))
}

// FT-14, RV-05.
func TestRedisIsDown(t *testing.T) {
	client, prefix := openRedis(t)
	l := revocation.NewRedis(client, prefix, nil)
	client.Close()
	if _, err := l.Next(ctx, ""); !errors.Is(err, revocation.ErrUnknown) {
		t.Errorf("reading: got %v, want ErrUnknown", err)
	}
	if err := l.Add(ctx, "grt_x", time.Now().Add(time.Hour)); err == nil {
		t.Error("adding without Redis: got nil, want an error: what was not written must not be answered 200")
	}
	if err := l.Restore(ctx, nil, time.Minute); err == nil {
		t.Error("restoring without Redis: got nil")
	}
	if err := l.Add(ctx, "grt_x", time.Now().Add(3*time.Hour)); err == nil {
		t.Error("an end that reaches further than the list remembers: got nil, want an error")
	}
}

// The clocks of issuer, Redis and replica may be apart: a mark counts from when it was seen, an end by the time that the feed has.
func TestClocksApart(t *testing.T) {
	for _, ahead := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
		source, here := newClock(), newClock()
		here.step(ahead)
		l := revocation.NewMemory(source.Now)
		r := revocation.NewReplica(revocation.ReplicaOptions{Feed: l, Now: here.Now, StaleAfter: time.Minute})
		must(t, l.Restore(ctx, nil, 30*time.Second))
		must(t, l.Add(ctx, "grt_a", source.Now().Add(5*time.Minute)))
		must(t, r.CatchUp(ctx))
		want(t, r, map[string]bool{"grt_a": true, "grt_b": false})
		source.step(-time.Hour) // a mark must not live longer because its writer's clock was set back
		here.step(29 * time.Second)
		must(t, r.CatchUp(ctx))
		want(t, r, map[string]bool{"grt_a": true, "grt_b": false})
		here.step(2 * time.Second)
		if err := r.CatchUp(ctx); !errors.Is(err, revocation.ErrUnknown) {
			t.Errorf("%s: a mark of half a minute after 31 seconds: got %v, want ErrUnknown", ahead, err)
		}
		unknown(t, r, "after the mark's life")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
