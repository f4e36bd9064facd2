package calls

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/auditstore"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// Limits of the queue.
const (
	queueSize  = 4096
	batchSize  = 500
	linger     = 10 * time.Millisecond // how long a record waits for others; with the write, less than 20 ms
	beginWait  = 3 * time.Second       // how long a call waits for its record
	writeWait  = 3 * time.Second       // for one write
	retryAfter = 250 * time.Millisecond
	lastTries  = 3 // when it is closed
)

// Log writes records of calls. It is safe for concurrent use. Close it after use.
type Log struct {
	book    *auditstore.DB
	now     func() time.Time
	log     *slog.Logger
	queue   chan *entry
	hurry   chan struct{} // a call waits for its record; capacity 1
	written chan struct{} // closed when all records are written
	stop    chan struct{} // closed when no more records are accepted
	run     string        // id of this process's row; empty: it only reads
	beats   sync.WaitGroup

	settings atomic.Pointer[map[string]string] // of tenants; see Setting
	down     atomic.Bool                       // the last write failed

	bring  sync.RWMutex // held while a record is queued, so that none is queued after the close
	closed bool

	mu         sync.Mutex
	gap        gap
	lost       int64 // records, since the start
	unrecorded int64 // calls that were answered 503
}

// entry is a queued record.
type entry struct {
	event audit.Event
	at    time.Time   // when it was queued, by the machine's clock
	done  chan error  // gets the result; nil: no call waits
	left  atomic.Bool // the call was refused and no longer waits
}

// gap is a number of lost records.
type gap struct {
	since time.Time // zero: no gap
	lost  int64
	error string // error of the store; empty: it did not fail
}

// New returns the log of a database. If it serves, it records calls, and records which processes
// before it were killed; otherwise it only reads.
func New(ctx context.Context, b *auditstore.DB, serves bool, now func() time.Time, log *slog.Logger) *Log {
	l := &Log{
		book: b, now: now, log: log, queue: make(chan *entry, queueSize), hurry: make(chan struct{}, 1),
		written: make(chan struct{}), stop: make(chan struct{}),
	}
	l.settings.Store(&map[string]string{})
	l.note(l.Refresh(ctx))
	if serves {
		l.enter(ctx)
	}
	go l.work()
	return l
}

// note logs an error of the background.
func (l *Log) note(err error) {
	if err != nil {
		l.log.Error("records of tools' calls", "error", err)
	}
}

// put queues a record without waiting.
func (l *Log) put(e *entry) error {
	l.bring.RLock()
	defer l.bring.RUnlock()
	if l.closed {
		return errClosed
	}
	e.at = time.Now()
	select {
	case l.queue <- e:
		return nil
	default:
		return errFull
	}
}

// wait queues a record and returns when it is written.
func (l *Log) wait(ctx context.Context, e audit.Event) error {
	if l.down.Load() {
		return errDown
	}
	w := &entry{event: e, done: make(chan error, 1)}
	if err := l.put(w); err != nil {
		return err
	}
	select {
	case l.hurry <- struct{}{}:
	default: // the writer is notified already
	}
	over := time.NewTimer(beginWait)
	defer over.Stop()
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		w.left.Store(true)
		return ctx.Err()
	case <-over.C:
		w.left.Store(true)
		return errSlow
	}
}

// offer queues a record, or counts it as lost.
func (l *Log) offer(e audit.Event) {
	if err := l.put(&entry{event: e}); err != nil {
		l.lose(1, err)
	}
}

// lose counts lost records, and logs the first of a gap.
func (l *Log) lose(n int64, why error) {
	l.mu.Lock()
	l.lost += n
	l.gap.lost += n
	first := l.gap.since.IsZero()
	if first {
		l.gap.since = l.now()
	}
	l.mu.Unlock()
	if first {
		l.log.Error("records of tools' calls are lost", "error", why)
	}
}

// work writes queued records until the queue is closed and empty.
func (l *Log) work() {
	defer close(l.written)
	for first := range l.queue {
		l.write(l.gather(first))
	}
	l.write(nil) // the last lost records
}

// gather waits a little for more records, but not while a call waits. It wakes up once for all of
// them.
func (l *Log) gather(first *entry) []*entry {
	if first.done == nil {
		over := time.NewTimer(time.Until(first.at.Add(linger)))
		defer over.Stop()
		select {
		case <-over.C:
		case <-l.hurry:
		case <-l.stop:
		}
	}
	batch := append(make([]*entry, 0, min(batchSize, len(l.queue)+1)), first)
	for len(batch) < batchSize {
		select {
		case e, ok := <-l.queue:
			if !ok {
				return batch
			}
			batch = append(batch, e)
		default:
			return batch
		}
	}
	return batch
}

// write retries until the batch is written, or the log is closed and the last retries failed. Calls
// that wait get the first error: they are not forwarded.
func (l *Log) write(batch []*entry) {
	for last := 0; ; {
		batch = slices.DeleteFunc(batch, func(e *entry) bool { return e.left.Load() })
		events := make([]audit.Event, 0, len(batch)+1)
		for _, e := range batch {
			events = append(events, e.event)
		}
		events, gap := l.missing(events)
		err := l.add(events)
		if err == nil {
			l.succeed(batch, gap)
			return
		}
		batch = l.fail(batch, err)
		select {
		case <-l.stop:
			if last++; last == lastTries {
				l.lose(int64(len(batch)), err)
				return
			}
		case <-time.After(retryAfter):
		}
	}
}

// add appends events to the chain, all or none.
func (l *Log) add(events []audit.Event) error {
	ctx, cancel := context.WithTimeout(context.Background(), writeWait)
	defer cancel()
	return l.book.Calls().Add(ctx, events)
}

// missing adds the record of the gap, if there is one, and returns the recorded gap.
func (l *Log) missing(events []audit.Event) ([]audit.Event, gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gap.since.IsZero() {
		return events, l.gap
	}
	why := "too many calls came at once"
	if l.gap.error != "" {
		why = "the store did not take them: " + l.gap.error
	}
	return append(events, audit.Event{
		Time: l.now(), Actor: "system", Action: ActionGap, Outcome: audit.Failed,
		Detail: fmt.Sprintf("%d records of calls since %s are lost; %s", l.gap.lost,
			l.gap.since.UTC().Format(time.RFC3339), why),
	}), l.gap
}

// succeed notifies the calls that wait, and removes the recorded gap.
func (l *Log) succeed(batch []*entry, recorded gap) {
	for _, e := range batch {
		if e.done != nil {
			e.done <- nil
		}
	}
	if recorded.since.IsZero() {
		return
	}
	l.mu.Lock()
	if more := l.gap.lost - recorded.lost; more > 0 {
		l.gap = gap{since: l.now(), lost: more}
	} else {
		l.gap = gap{}
	}
	l.mu.Unlock()
	l.down.Store(false)
	l.log.Warn("records of tools' calls are written again", "lost", recorded.lost, "since", recorded.since)
}

// fail refuses the calls that wait, and returns the records to retry.
func (l *Log) fail(batch []*entry, err error) []*entry {
	l.mu.Lock()
	if l.gap.since.IsZero() {
		l.gap.since = l.now()
	}
	l.gap.error = err.Error()
	l.mu.Unlock()
	if !l.down.Swap(true) {
		l.log.Error("records of tools' calls cannot be written: calls that change something are answered 503, "+
			"records of others wait, and are lost when too many do", "error", err)
	}
	return slices.DeleteFunc(batch, func(e *entry) bool {
		if e.done != nil {
			e.done <- fmt.Errorf("%w: %w", errDown, err)
		}
		return e.done != nil
	})
}

// State is the state of a Log.
type State struct {
	Down       bool  // the last write failed
	Waiting    int   // records that are not written yet
	Lost       int64 // records, since the start
	Unrecorded int64 // calls that were answered 503 because they could not be recorded
}

// State returns the state.
func (l *Log) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return State{Down: l.down.Load(), Waiting: len(l.queue), Lost: l.lost, Unrecorded: l.unrecorded}
}

// Close writes the queued records.
func (l *Log) Close() {
	l.bring.Lock()
	first := !l.closed
	l.closed = true
	l.bring.Unlock()
	if !first {
		<-l.written
		return
	}
	close(l.stop)
	close(l.queue)
	<-l.written
	l.beats.Wait()
	l.leave()
}
