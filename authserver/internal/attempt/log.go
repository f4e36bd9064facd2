package attempt

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/outage"
)

// When gathered entries are written.
const (
	writeEvery = time.Second
	writeTime  = 10 * time.Second
	lastTime   = 5 * time.Second
)

// mostSources bounds the addresses that are counted separately; beyond it, the further addresses of
// this minute are counted as one.
const mostSources = 10_000

// Log gathers what requests add, and writes it. It is safe for concurrent use.
type Log struct {
	store Store
	now   func() time.Time
	log   *slog.Logger
	most  int // bound of waiting entries

	writing sync.Mutex // held while writing, so that entries are written in their order

	mu      sync.Mutex
	waiting map[string]Entry
	order   []string // ids of waiting entries
	dropped int64
	said    bool // the bound was logged in this minute
	minute  int64
	begun   map[string]int  // attempts begun in this minute, by address
	known   map[string]bool // discoveries of this minute, which need one row only
}

// NewLog returns a log. Call Run, or Flush after using it.
func NewLog(s Store, now func() time.Time, log *slog.Logger) *Log {
	return &Log{store: s, now: now, log: log, most: mostWait, waiting: map[string]Entry{}, begun: map[string]int{},
		known: map[string]bool{}}
}

// Record adds what a request contributes. It never waits for the store; an entry that does not fit
// is dropped and counted.
func (l *Log) Record(w *Trace) {
	e, ok := w.Entry(l.now())
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if minute := e.UpdatedAt.Unix() / 60; minute != l.minute {
		l.minute, l.said = minute, false
		clear(l.begun)
		clear(l.known)
	}
	if was, there := l.waiting[e.ID]; there {
		l.waiting[e.ID] = Entry{was.With(e.Attempt), was.Begins || e.Begins}
		return
	}
	if e.Step == Discovery {
		if l.known[e.ID] || len(l.known) >= mostSources {
			return
		}
		l.known[e.ID] = true
	}
	source := e.Source
	if _, there := l.begun[source]; !there && len(l.begun) >= mostSources {
		source = ""
	}
	if len(l.waiting) >= l.most || l.begun[source] >= mostSource {
		l.drop()
		return
	}
	l.begun[source]++
	l.waiting[e.ID], l.order = e, append(l.order, e.ID)
}

func (l *Log) drop() {
	l.dropped++
	if !l.said {
		l.said = true
		l.log.Warn("some attempts are left out of the connections: too many at once, or too many of one address")
	}
}

// Dropped returns how many entries were dropped since this process started.
func (l *Log) Dropped() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Flush writes the gathered entries in batches. Entries that cannot be written stay for the next
// call.
func (l *Log) Flush(ctx context.Context) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	for {
		some := l.take()
		if len(some) == 0 {
			return nil
		}
		if err := l.store.PutAttempts(ctx, some); err != nil {
			l.back(some)
			return err
		}
	}
}

// take removes the first waiting entries, ordered by id, so that replicas writing the same rows
// lock them in one order.
func (l *Log) take() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.order), atOnce)
	ids := slices.Sorted(slices.Values(l.order[:n]))
	l.order = slices.Delete(l.order, 0, n)
	some := make([]Entry, 0, n)
	for _, id := range ids {
		some = append(some, l.waiting[id])
		delete(l.waiting, id)
	}
	// Entries that begin an attempt are first and ordered by step, because each takes over what an
	// earlier step began.
	begins := slices.DeleteFunc(slices.Clone(some), func(e Entry) bool { return !e.Begins })
	slices.SortStableFunc(begins, func(a, b Entry) int { return int(a.Step - b.Step) })
	return append(begins, slices.DeleteFunc(some, func(e Entry) bool { return e.Begins })...)
}

// back returns entries that could not be written.
func (l *Log) back(some []Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range some {
		if now, there := l.waiting[e.ID]; there {
			l.waiting[e.ID] = Entry{e.With(now.Attempt), e.Begins || now.Begins}
			continue
		}
		if len(l.waiting) >= l.most {
			l.drop()
			continue
		}
		l.waiting[e.ID], l.order = e, append(l.order, e.ID)
	}
}

// Run writes periodically until ctx ends, and then once more.
func (l *Log) Run(ctx context.Context) {
	write := time.NewTicker(writeEvery)
	defer write.Stop()
	failing := outage.New(l.log)
	for {
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
			defer cancel()
			if err := l.Flush(ctx); err != nil {
				l.log.Error("connections of the last seconds are lost", "error", err)
			}
			return
		case <-write.C:
			if err := l.flush(ctx); err != nil && ctx.Err() == nil {
				failing.Failed("writing connections", err)
			}
		}
	}
}

// flush is Flush with a time limit.
func (l *Log) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	return l.Flush(ctx)
}
