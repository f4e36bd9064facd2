package audit

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Refusals keeps the lines of what is refused, and lets nobody fill the ledger by being refused: of
// each source a few in a minute are kept whole, of all together some more, and of the rest how many
// there were. It is safe for concurrent use.
type Refusals struct {
	Log Log
	Now func() time.Time
	// Each bounds the lines of one source in a minute, All those of all.
	Each, All int

	mu     sync.Mutex
	minute time.Time
	kept   int
	of     map[string]*tally // by source, at most All
	rest   int               // of sources that have no place there
}

// tally is what came from one source in a minute.
type tally struct {
	kept, more int
	last       Event
}

// Record keeps a line, or counts it. source is whom it is counted against.
func (r *Refusals) Record(ctx context.Context, source string, e Event) error {
	before, keep := r.count(source, e)
	if err := r.write(ctx, before); err != nil {
		return err
	}
	if !keep {
		return nil
	}
	return r.Log.Record(ctx, e)
}

// Flush writes how many more there were in a minute that is over.
func (r *Refusals) Flush(ctx context.Context) error {
	r.mu.Lock()
	var sums []Event
	if r.Now().Sub(r.minute) >= time.Minute {
		sums = r.close()
	}
	r.mu.Unlock()
	return r.write(ctx, sums)
}

// Close writes what was counted in the minute that is under way, too: nobody counts after it.
func (r *Refusals) Close(ctx context.Context) error {
	r.mu.Lock()
	sums := r.close()
	r.mu.Unlock()
	return r.write(ctx, sums)
}

func (r *Refusals) count(source string, e Event) (before []Event, keep bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Now().Sub(r.minute) >= time.Minute {
		before = r.close()
		r.minute = r.Now()
	}
	t := r.of[source]
	switch {
	case t == nil && r.kept >= r.All:
		r.rest++
		return before, false
	case t == nil:
		t = &tally{}
		r.of[source] = t
	}
	if t.kept >= r.Each || r.kept >= r.All {
		t.more++
		t.last = e
		return before, false
	}
	t.kept++
	r.kept++
	return before, true
}

// close ends a minute and says what was counted in it.
func (r *Refusals) close() (sums []Event) {
	since := r.minute
	for _, t := range r.of {
		if t.more == 0 {
			continue
		}
		e := t.last
		e.Detail = fmt.Sprintf("%d more in the minute from %s, the last: %s", t.more, since.UTC().Format(time.TimeOnly),
			e.Detail)
		sums = append(sums, e)
	}
	if r.rest > 0 {
		sums = append(sums, Event{
			Time: r.Now(), Actor: "system", Action: "refusals.count", Outcome: Refused,
			Detail: fmt.Sprintf("%d more from others in the minute from %s", r.rest, since.UTC().Format(time.TimeOnly)),
		})
	}
	slices.SortFunc(sums, func(a, b Event) int { return a.Time.Compare(b.Time) })
	r.kept, r.rest, r.of = 0, 0, map[string]*tally{}
	return sums
}

func (r *Refusals) write(ctx context.Context, sums []Event) error {
	for i, e := range sums {
		if err := r.Log.Record(ctx, e); err != nil {
			return fmt.Errorf("%d counts of refusals are lost: %w", len(sums)-i, err)
		}
	}
	return nil
}
