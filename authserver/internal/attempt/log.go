package attempt

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/outage"
)

// When what was gathered is written.
const (
	writeEvery = time.Second
	writeTime  = 10 * time.Second
	lastTime   = 5 * time.Second
)

// mostSources bounds the addresses that are counted at once; beyond it those of this minute are
// counted as one.
const mostSources = 10_000

// Log gathers what requests add, and writes it. It is safe for concurrent use.
type Log struct {
	store Store
	now   func() time.Time
	log   *slog.Logger
	most  int // that may wait

	writing sync.Mutex // one at a time, so that what came first is written first

	mu      sync.Mutex
	waiting map[string]Entry
	order   []string // of waiting
	dropped int64
	said    bool // in this minute
	minute  int64
	begun   map[string]int  // by address, in this minute
	known   map[string]bool // discoveries of this minute, which need no more than one row
}

// NewLog makes a log. Run it, or flush it when it was used.
func NewLog(s Store, now func() time.Time, log *slog.Logger) *Log {
	return &Log{store: s, now: now, log: log, most: mostWait, waiting: map[string]Entry{}, begun: map[string]int{},
		known: map[string]bool{}}
}

// Record takes what a request has to do with a client's way in. It never waits for the store. What
// finds no room is counted.
func (l *Log) Record(w *Way) {
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
		l.waiting[e.ID] = Entry{was.With(e.Record), was.Begins || e.Begins}
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

// Dropped is how many requests found no room since the start of this process.
func (l *Log) Dropped() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Flush writes what was gathered, some at a time. What cannot be written waits for the next time.
func (l *Log) Flush(ctx context.Context) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	for {
		some := l.take()
		if len(some) == 0 {
			return nil
		}
		if err := l.store.PutConnections(ctx, some); err != nil {
			l.back(some)
			return err
		}
	}
}

// take takes the first that wait, in the order of their ids: replicas that write the same rows wait
// for each other in one order.
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
	// What begins is nobody else's row, and takes up what began before it: that comes first, by its
	// step.
	begins := slices.DeleteFunc(slices.Clone(some), func(e Entry) bool { return !e.Begins })
	slices.SortStableFunc(begins, func(a, b Entry) int { return int(a.Step - b.Step) })
	return append(begins, slices.DeleteFunc(some, func(e Entry) bool { return e.Begins })...)
}

// back puts entries back that could not be written.
func (l *Log) back(some []Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range some {
		if now, there := l.waiting[e.ID]; there {
			l.waiting[e.ID] = Entry{e.With(now.Record), e.Begins || now.Begins}
			continue
		}
		if len(l.waiting) >= l.most {
			l.drop()
			continue
		}
		l.waiting[e.ID], l.order = e, append(l.order, e.ID)
	}
}

// Run writes from time to time until ctx ends; then it writes once more.
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

// flush is Flush, bounded in time.
func (l *Log) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	return l.Flush(ctx)
}
