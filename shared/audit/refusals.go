package audit

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Refusals records denied requests without letting anyone fill the database by being denied: a few
// per source and minute, some more of all sources, and the number of the others. It is safe for
// concurrent use.
type Refusals struct {
	Log Log
	Now func() time.Time
	// Each bounds the records of one source in a minute, All those of all.
	Each, All int

	mu     sync.Mutex
	minute time.Time
	kept   int
	of     map[string]*tally // by source, at most All
	rest   int               // of sources beyond All
}

// tally counts one source in a minute.
type tally struct {
	kept, more int
	last       Event
}

// Record stores an event, or counts it. source is whom it is counted against.
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

// Flush writes the counts of a past minute.
func (r *Refusals) Flush(ctx context.Context) error {
	r.mu.Lock()
	var sums []Event
	if r.Now().Sub(r.minute) >= time.Minute {
		sums = r.close()
	}
	r.mu.Unlock()
	return r.write(ctx, sums)
}

// Close writes the counts of the current minute too.
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

// close ends a minute and returns its counts.
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
