package audit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Buffer takes events that need not be on disk before the response is sent, and writes many at
// once. An event is stored a moment later; a killed process loses those of that moment. When it is
// full, as when the database does not answer, Record waits.
type Buffer struct {
	keep    func(ctx context.Context, events []Event) error
	queue   chan Event
	bring   sync.RWMutex // read-locked while an event is added, so that none is added after the last was taken
	closing chan struct{}
	brought chan struct{} // closed when nothing is added any more
	done    chan struct{}
	once    sync.Once
	log     *slog.Logger
}

// The buffer's times and bounds.
const (
	bufferSize  = 4096
	bufferBatch = 500
	linger      = 20 * time.Millisecond // how long it gathers before it writes
	retryAfter  = time.Second
	lastTries   = 3 // when it is closed
	writeTime   = 10 * time.Second
)

var errClosed = errors.New("the buffer of audit lines is closed")

// NewBuffer returns a buffer that passes its events to keep, which stores all of a call or none.
// Close it after use.
func NewBuffer(keep func(ctx context.Context, events []Event) error, log *slog.Logger) *Buffer {
	b := &Buffer{keep: keep, queue: make(chan Event, bufferSize), closing: make(chan struct{}),
		brought: make(chan struct{}), done: make(chan struct{}), log: log}
	go b.run()
	return b
}

// Record implements Log, except that the event is stored a moment later.
func (b *Buffer) Record(ctx context.Context, e Event) error {
	b.bring.RLock()
	defer b.bring.RUnlock()
	select {
	case <-b.closing:
		return errClosed
	default:
	}
	select {
	case b.queue <- e:
		return nil
	case <-b.closing:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close writes the remaining events.
func (b *Buffer) Close() {
	b.once.Do(func() {
		close(b.closing)
		b.bring.Lock() // waiting calls have got a place or an error
		close(b.brought)
		b.bring.Unlock()
	})
	<-b.done
}

func (b *Buffer) run() {
	defer close(b.done)
	for {
		select {
		case e := <-b.queue:
			b.write(b.gather(e))
		case <-b.closing:
			<-b.brought
			for {
				select {
				case e := <-b.queue:
					b.write(b.gather(e))
				default:
					return
				}
			}
		}
	}
}

// gather waits a moment for more events.
func (b *Buffer) gather(first Event) []Event {
	events := append(make([]Event, 0, bufferBatch), first)
	over := time.NewTimer(linger)
	defer over.Stop()
	for len(events) < bufferBatch {
		select {
		case e := <-b.queue:
			events = append(events, e)
			continue
		case <-over.C:
		case <-b.closing:
			select {
			case e := <-b.queue:
				events = append(events, e)
				continue
			default:
			}
		}
		break
	}
	return events
}

// write tries until it succeeds, or the buffer is closed and the last tries failed.
func (b *Buffer) write(events []Event) {
	for try, last := 1, 0; ; try++ {
		ctx, cancel := context.WithTimeout(context.Background(), writeTime)
		err := b.keep(ctx, events)
		cancel()
		if err == nil {
			return
		}
		if try == 1 {
			b.log.Error("audit lines cannot be written; tokens wait when there are too many", "lines", len(events),
				"error", err)
		}
		select {
		case <-b.closing:
			if last++; last == lastTries {
				b.log.Error("audit lines are lost", "lines", len(events), "error", err)
				return
			}
		case <-time.After(retryAfter):
		}
	}
}
