package revocation_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation/redislist"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl/redisttl"
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
	client, err := redisttl.Open(ctx, url)
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

// examine holds for every List and anyone who follows it.
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
	must(t, l.Restore(ctx, ledger(map[string]time.Time{"grt_old": later, "grt_gone": time.Now().Add(-time.Hour)}),
		time.Minute))
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
	for _, cursor := range []string{"", "x", "grt_old", "____", "9-9_9-9_1_", "AAAA.1", "AAAA.7",
		strings.Repeat("9", 1000)} {
		b, err := l.Next(ctx, cursor)
		if err != nil || !b.Whole || len(b.Ended) != 3 {
			t.Errorf("from the cursor %.20q: got %d entries, whole %v, %v; want the whole list", cursor, len(b.Ended),
				b.Whole, err)
		}
	}

	broken := errors.New("the ledger does not answer")
	if err := l.Restore(ctx, func(context.Context) (map[string]time.Time, error) { return nil, broken },
		time.Minute); !errors.Is(err, broken) {
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
	examine(t, redislist.New(client, prefix, nil))
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

// Entries leave when no token of the grant can live any more, and not when a clock was wrong for a
// while (FT-17).
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
	before, err := l.Next(ctx, "")
	must(t, err)
	both(2 * time.Minute)
	must(t, l.Restore(ctx, nil, 3*time.Hour))
	must(t, r.CatchUp(ctx))
	if b, _ := l.Next(ctx, ""); r.Size() != 1 || len(b.Ended) != 1 {
		t.Errorf("after it: got %d grants of %d, want the newer one", r.Size(), len(b.Ended))
	}
	must(t, l.Add(ctx, "grt_b", source.Now().Add(90*time.Minute))) // ended once more: it stays so much longer
	if b, _ := l.Next(ctx, before.Cursor); b.Whole || len(b.Ended) != 1 {
		t.Errorf("going on after what has left: got %+v, want the one that is new", b)
	}
	must(t, r.CatchUp(ctx))
	both(80 * time.Minute)
	must(t, l.Add(ctx, "grt_d", source.Now().Add(time.Minute)))
	must(t, r.CatchUp(ctx))
	if ended, _ := r.Ended(ctx, "grt_b"); !ended {
		t.Error("an end that was made longer has left when it would have before")
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

// FT-15: a Redis that has forgotten everything is not taken for one in which no grant has ended,
// and replicas lose nothing by it.
func TestRedisIsEmptied(t *testing.T) {
	client, prefix := openRedis(t)
	l, c := redislist.New(client, prefix, nil), newClock()
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

// An id of the stream alone does not say that it is the same stream.
func TestRedisIsBegunAnewAtTheSameMoment(t *testing.T) {
	client, prefix := openRedis(t)
	l := redislist.New(client, prefix, nil)
	later, asked := time.Now().Add(time.Hour), 0
	must(t, l.Restore(ctx, func(context.Context) (map[string]time.Time, error) {
		if asked++; asked == 1 {
			last, err := client.XRevRangeN(ctx, prefix+"ended", "+", "-", 1).Result()
			must(t, err)
			flush(t, client, prefix)
			must(t, client.XAdd(ctx, &redis.XAddArgs{Stream: prefix + "ended", ID: last[0].ID,
				Values: []string{"grant", "grt_a", "until", "1"}}).Err())
		}
		return map[string]time.Time{"grt_b": later}, nil
	}, time.Minute))
	if asked != 2 {
		t.Errorf("the ledger was asked %d times, want 2", asked)
	}
}

// FT-16: after a fail-over that lost the newest ends, marks from before vouch for nothing.
func TestRedisFallsBehind(t *testing.T) {
	client, prefix := openRedis(t)
	l := redislist.New(client, prefix, nil)
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
	l := redislist.New(client, prefix, nil)
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

// The clocks of issuer, Redis and replica may be apart: a mark counts from when it was seen, an end
// by the time that the feed has.
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

// fixed is a feed that says one thing.
type fixed revocation.Batch

func (f fixed) Next(context.Context, string) (revocation.Batch, error) {
	return revocation.Batch(f), nil
}

// An end that the feed's clock has over, and ours has not, may be of a token that we still take.
func TestAnEndThatIsOverElsewhere(t *testing.T) {
	here := newClock()
	ahead := here.Now().Add(10 * time.Minute)
	r := revocation.NewReplica(revocation.ReplicaOptions{Now: here.Now, Feed: fixed{
		Ended: []revocation.Entry{{GrantID: "grt_a", Until: ahead.Add(-time.Second)}}, Cursor: "1", Mark: "1",
		Life: time.Minute, Now: ahead,
	}})
	must(t, r.CatchUp(ctx))
	want(t, r, map[string]bool{"grt_a": true, "grt_b": false})
	here.step(2 * time.Minute)
	_ = r.CatchUp(ctx) // its mark is over; what may leave leaves
	if ended, _ := r.Ended(ctx, "grt_a"); !ended {
		t.Error("it has left before our clock is where its tokens end")
	}
	stuck := revocation.NewReplica(revocation.ReplicaOptions{Feed: fixed{Cursor: "", More: true}})
	if err := stuck.CatchUp(ctx); err == nil {
		t.Error("a feed that goes round: got nil, want an error")
	}
}

// A replica that starts does not take a mark for younger than it is.
func TestAMarkFromBefore(t *testing.T) {
	client, prefix := openRedis(t)
	now, err := client.Time(ctx).Result()
	must(t, err)
	id := fmt.Sprintf("%d-1", now.Add(-20*time.Second).UnixMilli())
	must(t, client.XAdd(ctx,
		&redis.XAddArgs{Stream: prefix + "ended", ID: id, Values: []string{"complete", "30000", "word", "x"}}).Err())
	b, err := redislist.New(client, prefix, nil).Next(ctx, "")
	must(t, err)
	if b.Mark != id || b.Life > 10*time.Second || b.Life < 5*time.Second {
		t.Errorf("a mark of half a minute, 20 seconds old: got %s for %s, want 10s", b.Mark, b.Life)
	}
}

// What goes over HTTP comes back, and never says that an end is over sooner, or that a list is
// complete for longer.
func TestDocument(t *testing.T) {
	now := time.Unix(1_800_000_000, 700_000_000)
	b := revocation.NewDocument(revocation.Batch{
		Ended: []revocation.Entry{{GrantID: "grt_a", Until: now}}, Cursor: "c", More: true, Whole: true, Mark: "m",
		Life: 29900 * time.Millisecond, Now: now,
	}).Batch()
	want := revocation.Batch{
		Ended: []revocation.Entry{{GrantID: "grt_a", Until: time.Unix(1_800_000_001, 0)}}, Cursor: "c", More: true,
		Whole: true, Mark: "m", Life: 29 * time.Second,
		Now: time.Unix(1_800_000_000, 0),
	}
	if !reflect.DeepEqual(b, want) {
		t.Errorf("got %+v, want %+v", b, want)
	}
}

// An answer that is none is no list (MC-29: nor does it say where it came from, beyond our log).
func TestHTTPAnswersThatAreNone(t *testing.T) {
	answers := map[string]string{
		"html": "<html>", "nothing": "", "empty": "{}", "no clock": `{"cursor":"c","mark":"m","complete_for":30}`,
		"too large": `{"cursor":"c","now":1}` + strings.Repeat(" ", 2<<20),
	}
	for name, body := range answers {
		s := httptest.NewServer(
			http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }))
		h := &revocation.HTTP{URL: s.URL, ClientID: "cli_a", ClientSecret: "s3cret", Client: s.Client()}
		if _, err := h.Next(ctx, "c"); !errors.Is(err, revocation.ErrUnknown) ||
			strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v, want ErrUnknown", name, err)
		}
		s.Close()
	}
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	if _, err := (&revocation.HTTP{URL: s.URL, Client: s.Client()}).Next(ctx, ""); !errors.Is(err,
		revocation.ErrUnknown) {
		t.Errorf("404: got %v, want ErrUnknown", err)
	}
}

// Ends, restorings and readings at once, with a list that is lost in between: in the end everybody
// knows everything.
func TestManyAtOnce(t *testing.T) {
	client, prefix := openRedis(t)
	memory := revocation.NewMemory(nil)
	for name, issuers := range map[string][]revocation.List{
		"memory": {memory, memory}, "redis": {redislist.New(client, prefix, nil),
			redislist.New(client, prefix, nil)},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			known := map[string]time.Time{}
			ledger := func(context.Context) (map[string]time.Time, error) {
				mu.Lock()
				defer mu.Unlock()
				return maps.Clone(known), nil
			}
			replicas := []*revocation.Replica{revocation.NewReplica(revocation.ReplicaOptions{Feed: issuers[0]}),
				revocation.NewReplica(revocation.ReplicaOptions{Feed: issuers[1]})}
			until := time.Now().Add(time.Hour)
			var wg sync.WaitGroup
			for i, l := range issuers {
				wg.Go(func() {
					for n := range 300 {
						id := fmt.Sprintf("grt_%d_%d", i, n)
						if err := l.Add(ctx, id, until); err != nil {
							t.Error(err)
						}
						mu.Lock()
						known[id] = until
						mu.Unlock()
					}
				})
				wg.Go(func() {
					for range 30 {
						// one that loses its list three times over gives up until its next turn
						_ = l.Restore(ctx, ledger, time.Minute)
					}
				})
				wg.Go(func() {
					for range 100 {
						_ = replicas[i].CatchUp(ctx)
						if _, err := replicas[i].Ended(ctx, "grt_0_0"); err != nil &&
							!errors.Is(err, revocation.ErrUnknown) {
							t.Error(err)
						}
					}
				})
			}
			if name == "redis" {
				wg.Go(func() {
					for range 5 {
						flush(t, client, prefix)
					}
				})
			}
			wg.Wait()
			must(t, issuers[0].Restore(ctx, ledger, time.Minute))
			for _, r := range replicas {
				_ = r.CatchUp(ctx)
			}
			must(t, issuers[1].Restore(ctx, ledger, time.Minute))
			for i, r := range replicas {
				must(t, r.CatchUp(ctx))
				for id := range known {
					if ended, err := r.Ended(ctx, id); !ended || err != nil {
						t.Fatalf("replica %d does not know the end of %s: %v", i, id, err)
					}
				}
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
