package revocation_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation/redislist"
)

// world is an issuer with its ledger, a list that can be lost, and replicas whose line to it can be
// cut, with what happened: a small model of which ends must be known where.
type world struct {
	t      *testing.T
	clock  *clock
	random *rand.Rand
	open   func() revocation.List // the issuer's list, after a restart
	lose   func()                 // forgets the list; nil: it is forgotten by a restart

	list     revocation.List // nil: the issuer is down
	written  time.Time       // when the issuer last wrote the list anew
	ledger   map[string]time.Time
	acked    map[string]time.Time // when an end was acknowledged
	replicas []*follower
	story    []string
}

// follower is a replica and its line.
type follower struct {
	*revocation.Replica
	world *world
	cut   bool
}

var errCut = errors.New("the line is cut")

// Next is the feed that the replica has.
func (f *follower) Next(ctx context.Context, cursor string) (revocation.Batch, error) {
	if f.cut || f.world.list == nil {
		return revocation.Batch{}, errCut
	}
	return f.world.list.Next(ctx, cursor)
}

const (
	modelStale = 10 * time.Second
	modelWrite = 5 * time.Second
	modelLife  = 30 * time.Second
)

func (w *world) follow() *follower {
	f := &follower{world: w}
	f.Replica = revocation.NewReplica(revocation.ReplicaOptions{Feed: f, StaleAfter: modelStale, Now: w.clock.Now})
	return f
}

// restore is the issuer's regular writing of the list.
func (w *world) restore() {
	must(w.t, w.list.Restore(ctx, func(context.Context) (map[string]time.Time, error) {
		return maps.Clone(w.ledger),
			nil
	}, modelLife))
	w.written = w.clock.Now()
}

// step does one thing at random.
func (w *world) step() {
	switch n := w.random.IntN(100); {
	case n < 20 && w.list != nil: // an end; the list first, then the ledger, then the answer
		id, until := fmt.Sprintf("grt_%d", len(w.ledger)), time.Now().Add(2*time.Hour-time.Minute)
		must(w.t, w.list.Add(ctx, id, until))
		w.ledger[id], w.acked[id] = until, w.clock.Now()
		w.tell("end %s", id)
	case n < 24 && w.list != nil: // an end that the issuer did not live to acknowledge
		must(w.t, w.list.Add(ctx, fmt.Sprintf("grt_unacknowledged_%d", len(w.story)), time.Now().Add(time.Hour)))
		w.list = nil
		w.tell("the issuer dies at an end")
	case n < 60:
		i := w.random.IntN(len(w.replicas))
		w.catchUp(i)
	case n < 66:
		f := w.replicas[w.random.IntN(len(w.replicas))]
		f.cut = !f.cut
		w.tell("a line is cut: %v", f.cut)
	case n < 70:
		w.replicas[w.random.IntN(len(w.replicas))] = w.follow()
		w.tell("a replica starts anew")
	case n < 74:
		if w.list == nil {
			w.list = w.open()
			w.restore()
			w.tell("the issuer starts")
			return
		}
		w.list = nil
		w.tell("the issuer stops")
	case n < 77 && w.lose != nil:
		w.lose()
		w.tell("the list is lost")
	default:
		d := time.Duration(w.random.IntN(4000)) * time.Millisecond
		w.clock.step(d)
		if w.list != nil && w.clock.Now().Sub(w.written) >= modelWrite {
			w.restore()
		}
		w.tell("%s pass", d)
	}
}

// catchUp: a replica that has caught up knows every end that was acknowledged.
func (w *world) catchUp(i int) {
	r := w.replicas[i]
	err := r.CatchUp(ctx)
	w.tell("replica %d reads: %v", i, err)
	if err != nil {
		return
	}
	for id := range w.acked {
		if ended, _ := r.Ended(ctx, id); !ended {
			w.fail("replica %d has caught up and does not know the end of %s", i, id)
		}
	}
}

// check is the law: once the bound is over, no replica that says it is fresh lets an ended grant
// pass.
func (w *world) check() {
	for i, r := range w.replicas {
		for id, at := range w.acked {
			ended, err := r.Ended(ctx, id)
			if !ended && err == nil && w.clock.Now().Sub(at) > modelStale {
				w.fail("replica %d lets %s pass, which ended %s ago", i, id, w.clock.Now().Sub(at))
			}
		}
		if ended, err := r.Ended(ctx, "grt_alive"); ended || err != nil && !errors.Is(err, revocation.ErrUnknown) {
			w.fail("replica %d of a living grant: %v %v", i, ended, err)
		}
	}
}

func (w *world) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%s  "+format, append([]any{w.clock.Now().Format("04:05.000")}, args...)...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf(format+"\n%s", append(args, strings.Join(w.story, "\n"))...)
}

// run lives through a random story, and ends well: when everything works again, everybody is fresh
// and knows everything.
func (w *world) run(steps int) {
	w.ledger, w.acked = map[string]time.Time{}, map[string]time.Time{}
	w.list = w.open()
	w.restore()
	w.replicas = []*follower{w.follow(), w.follow()}
	for range steps {
		w.step()
		w.check()
	}
	if w.list == nil {
		w.list = w.open()
	}
	w.restore()
	for i, r := range w.replicas {
		r.cut = false
		_ = r.CatchUp(ctx) // after a loss only the next mark counts
		w.restore()
		w.catchUp(i)
		if ended, err := r.Ended(ctx, "grt_alive"); ended || err != nil {
			w.fail("in the end replica %d does not know: %v", i, err)
		}
	}
}

// The law of revocation, over thousands of random stories of ends, restarts, cut lines and lost
// lists.
func TestModelMemory(t *testing.T) {
	for seed := range uint64(300) {
		w := &world{t: t, clock: newClock(), random: rand.New(rand.NewPCG(seed, 0))}
		w.clock.now = time.Now()
		w.open = func() revocation.List { return revocation.NewMemory(w.clock.Now) }
		w.run(200)
	}
}

func TestModelRedis(t *testing.T) {
	client, prefix := openRedis(t)
	for seed := range uint64(30) {
		own := fmt.Sprintf("%s%d:", prefix, seed)
		w := &world{t: t, clock: newClock(), random: rand.New(rand.NewPCG(seed, 1))}
		w.open = func() revocation.List { return redislist.New(client, own, nil) }
		w.lose = func() { flush(t, client, own) }
		w.run(200)
	}
}
