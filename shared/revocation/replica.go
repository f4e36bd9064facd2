package revocation

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Replica is a Reader with the list in its own memory, which follows a Feed. It knows how long ago
// the list was last known to be complete, and when that is too long it knows nothing (ErrUnknown)
// but the ends that it has heard of.
type Replica struct {
	options ReplicaOptions
	ended   *set
	fresh   atomic.Pointer[span]

	mu      sync.Mutex // one reads the feed at a time
	cursor  string
	mark    string
	vouched time.Time // until when the issuer's last mark holds, by our clock
	swept   time.Time
	stale   bool // as it was last logged
}

// ReplicaOptions are what a Replica needs to know. Feed is required.
type ReplicaOptions struct {
	Feed Feed
	// Every is how often the feed is asked: what the issuer has acknowledged is known here that
	// much later at most. Default 250 ms.
	Every time.Duration
	// StaleAfter is how long the list counts after it was last known to be complete. Default 10
	// seconds.
	StaleAfter time.Duration
	Now        func() time.Time // default time.Now
	Log        *slog.Logger     // default: nothing is logged
}

// What a Replica is like when nobody says otherwise.
const (
	DefaultEvery      = 250 * time.Millisecond
	DefaultStaleAfter = 10 * time.Second
)

// patience bounds one question to the feed.
const patience = 2 * time.Second

// span is from when to when a list counts as complete. The end is kept twice: as time passes, and
// as the clock on the wall shows it. A process that slept with its machine knows only by the
// latter.
type span struct {
	known time.Time // when the list was complete
	end   time.Time
	wall  int64 // end, in Unix nanoseconds
}

func (s *span) holds(now time.Time) bool {
	return now.Before(s.end) && now.UnixNano() < s.wall
}

// NewReplica makes an empty replica, which knows nothing before it has caught up.
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

// Ended implements Reader. It asks nobody, and allocates nothing.
func (r *Replica) Ended(_ context.Context, grantID string) (bool, error) {
	// asked first: a list that was fresh then holds what is looked up after
	fresh := r.fresh.Load().holds(r.options.Now())
	switch {
	case r.ended.has(grantID):
		return true, nil
	case !fresh:
		return false, ErrUnknown
	}
	return false, nil
}

// Suspended implements Reader. It asks nobody, and allocates nothing.
func (r *Replica) Suspended(s Subject, issuedAt int64) bool { return r.ended.suspends(s, issuedAt) }

// Hear puts an end on the list that somebody in this process has just written, ahead of the feed.
func (r *Replica) Hear(grantID string, until time.Time) {
	now := r.options.Now()
	r.ended.add(Entry{grantID, until}, until.Sub(now), now)
}

// Knows says whether this process has heard that the grant is on the list, be the list complete or
// not.
func (r *Replica) Knows(grantID string) bool { return r.ended.has(grantID) }

// Entries returns the ids of all that is on the list here.
func (r *Replica) Entries() []string { return r.ended.ids() }

// Age is how long ago the list was last known to be complete; ok is false when it never was.
func (r *Replica) Age() (age time.Duration, ok bool) {
	known := r.fresh.Load().known
	return r.options.Now().Sub(known), !known.IsZero()
}

// Size is how many grants are on the list here.
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

// tell logs that the list has become stale, and that it is fresh again: once each.
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

// Follow makes a Replica that knows already what its feed says now, so that the first request finds
// it. A feed that does not answer yet is no reason not to start: until it does, the list is not
// known, and whoever asks fails closed. Run follows it from then on.
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
		asked := r.options.Now() // what was acknowledged before is in the answer
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

// take puts a part of the list into memory. What begins anew is put beside what is there: an end is
// never taken back.
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

// believe takes the list for complete as of asked, when somebody vouches for it. A mark counts from
// when we first saw it, by our own clock: nobody's clock that is set back can lengthen it.
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
