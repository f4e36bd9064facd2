package audit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Buffer takes lines that need not be on disk before the answer is out, and writes many of them at
// once. What it has taken is kept a moment later; a process that is killed loses the lines of that
// moment. When it is full, which it is soon when the ledger does not answer, who brings a line
// waits for a place.
type Buffer struct {
	keep    func(ctx context.Context, events []Event) error
	queue   chan Event
	bring   sync.RWMutex // held by who brings a line, so that none is brought after the last was taken
	closing chan struct{}
	brought chan struct{} // closed when nobody brings any more
	done    chan struct{}
	once    sync.Once
	log     *slog.Logger
}

// The buffer's measures.
const (
	bufferSize  = 4096
	bufferBatch = 500
	linger      = 20 * time.Millisecond // so long it gathers before it writes
	retryAfter  = time.Second
	lastTries   = 3 // when it is closed
	writeTime   = 10 * time.Second
)

var errClosed = errors.New("the buffer of audit lines is closed")

// NewBuffer begins a buffer whose lines go to keep, all of a call or none. Close it after use.
func NewBuffer(keep func(ctx context.Context, events []Event) error, log *slog.Logger) *Buffer {
	b := &Buffer{keep: keep, queue: make(chan Event, bufferSize), closing: make(chan struct{}),
		brought: make(chan struct{}), done: make(chan struct{}), log: log}
	go b.run()
	return b
}

// Record implements Log, but for the moment between.
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

// Close writes what is there, and ends.
func (b *Buffer) Close() {
	b.once.Do(func() {
		close(b.closing)
		b.bring.Lock() // who waited for a place has got one, or was told
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

// gather waits a little for more.
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

// write tries until it is done, or the buffer is closed and the last tries were in vain.
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
