package revocation

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Replica is a Reader with the list in memory, which follows a Feed. When the list was last known
// to be complete too long ago, it answers ErrUnknown except for the revocations that it knows.
type Replica struct {
	options ReplicaOptions
	ended   *set
	fresh   atomic.Pointer[span]

	mu      sync.Mutex // serializes reading the feed
	cursor  string
	mark    string
	vouched time.Time // until when the issuer's last mark is valid, by our clock
	swept   time.Time
	stale   bool // as last logged
}

// ReplicaOptions configure a Replica. Feed is required.
type ReplicaOptions struct {
	Feed Feed
	// Every is how often the feed is read: a revocation is known here that much later at most.
	// Default 250 ms.
	Every time.Duration
	// StaleAfter is how long the list is valid after it was last known to be complete. Default 10
	// seconds.
	StaleAfter time.Duration
	Now        func() time.Time // default time.Now
	Log        *slog.Logger     // default: nothing is logged
}

// The defaults of ReplicaOptions.
const (
	DefaultEvery      = 250 * time.Millisecond
	DefaultStaleAfter = 10 * time.Second
)

// patience bounds one request to the feed.
const patience = 2 * time.Second

// span is the time during which a list counts as complete. Its end is kept by the monotonic and by
// the wall clock, because only the latter advances while a machine sleeps.
type span struct {
	known time.Time // when the list was complete
	end   time.Time
	wall  int64 // end, in Unix nanoseconds
}

func (s *span) holds(now time.Time) bool {
	return now.Before(s.end) && now.UnixNano() < s.wall
}

// NewReplica returns an empty replica, which knows nothing before CatchUp.
func NewReplica(o ReplicaOptions) *Replica {
	if o.Every <= 0 {
		o.Every = DefaultEvery
	}
	if o.StaleAfter <= 0 {
		o.StaleAfter = DefaultStaleAfter
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Replica{options: o, ended: newSet(o.Now()), swept: o.Now()}
	r.fresh.Store(&span{})
	return r
}

// Ended implements Reader. It does no I/O and does not allocate.
func (r *Replica) Ended(_ context.Context, grantID string) (bool, error) {
	// read first: a list that was fresh then contains what is looked up after
	fresh := r.fresh.Load().holds(r.options.Now())
	switch {
	case r.ended.has(grantID):
		return true, nil
	case !fresh:
		return false, ErrUnknown
	}
	return false, nil
}

// Suspended implements Reader. It does no I/O and does not allocate.
func (r *Replica) Suspended(s Subject, issuedAt int64) bool { return r.ended.suspends(s, issuedAt) }

// Hear adds a revocation that this process has just written, ahead of the feed.
func (r *Replica) Hear(grantID string, until time.Time) {
	now := r.options.Now()
	r.ended.add(Entry{grantID, until}, until.Sub(now), now)
}

// Knows reports whether the grant is on the list as far as this process knows, complete or not.
func (r *Replica) Knows(grantID string) bool { return r.ended.has(grantID) }

// Entries returns the ids of all entries.
func (r *Replica) Entries() []string { return r.ended.ids() }

// Age returns how long ago the list was last known to be complete; ok is false when it never was.
func (r *Replica) Age() (age time.Duration, ok bool) {
	known := r.fresh.Load().known
	return r.options.Now().Sub(known), !known.IsZero()
}

// Size returns the number of entries.
func (r *Replica) Size() int { return r.ended.size() }

// Run follows the feed until ctx ends.
func (r *Replica) Run(ctx context.Context) {
	t := time.NewTicker(r.options.Every)
	defer t.Stop()
	for {
		r.tell(ctx, r.CatchUp(ctx))
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// tell logs once that the list became stale, and once that it is fresh again.
func (r *Replica) tell(ctx context.Context, err error) {
	stale := !r.fresh.Load().holds(r.options.Now())
	if stale == r.stale || ctx.Err() != nil {
		return
	}
	r.stale = stale
	if !stale {
		r.options.Log.Info("the list of ended grants is complete again", "grants", r.Size())
		return
	}
	age := "ever"
	if known, ok := r.Age(); ok {
		age = known.Round(time.Second).String()
	}
	r.options.Log.Error("the list of ended grants is not known to be complete", "for", age, "error", err)
}

// Follow returns a Replica that has read its feed once, so that the first request finds the list.
// If the feed does not answer, the server starts all the same: until it does, the list is unknown
// and readers fail closed. Run follows it from then on.
func Follow(ctx context.Context, o ReplicaOptions) *Replica {
	r := NewReplica(o)
	if err := r.CatchUp(ctx); err != nil {
		r.options.Log.Warn("which grants have ended is not known yet", "error", err)
	}
	return r
}

// CatchUp reads the feed to its end.
func (r *Replica) CatchUp(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		asked := r.options.Now() // what was acknowledged before is in the response
		b, err := r.next(ctx)
		if err != nil {
			return err
		}
		r.take(b, asked)
		if b.More && b.Cursor == r.cursor {
			return errors.New("the feed of ended grants does not move on")
		}
		r.cursor = b.Cursor
		if !b.More {
			return r.believe(b, asked)
		}
	}
}

func (r *Replica) next(ctx context.Context) (Batch, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return r.options.Feed.Next(ctx, r.cursor)
}

// take adds a part of the list. A list that begins again is added to what is there: a revocation is
// never undone.
func (r *Replica) take(b Batch, now time.Time) {
	for _, e := range b.Ended {
		if left := e.Until.Sub(b.Now); left > 0 || now.Before(e.Until) {
			r.ended.add(e, left, now)
		}
	}
	if since := now.Sub(r.swept); since < 0 || since >= sweepEvery {
		r.swept = now
		r.ended.sweep(now)
	}
}

// believe marks the list complete as of asked, when the issuer's mark is valid. A mark counts from
// when it was first seen, by our own clock, so that setting a clock back cannot extend it.
func (r *Replica) believe(b Batch, asked time.Time) error {
	if b.Mark != r.mark {
		r.mark, r.vouched = b.Mark, asked.Add(b.Life)
	}
	if b.Mark == "" || !asked.Before(r.vouched) {
		return ErrUnknown
	}
	end := asked.Add(r.options.StaleAfter)
	if r.vouched.Before(end) {
		end = r.vouched
	}
	r.fresh.Store(&span{known: asked, end: end, wall: end.UnixNano()})
	return nil
}
