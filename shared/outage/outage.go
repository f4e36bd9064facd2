// Package outage logs failures that repeat: one line when they begin, one a minute while they go
// on, and one when they end, each with how many there were.
package outage

import (
	"log/slog"
	"sync"
	"time"
)

// every is the time between two lines about continuing failures. Without a failure for that long
// they have ended.
const every = time.Minute

// Log logs failures. Each cause is a short constant text, such as the name of a background step,
// and has one line at a time. It is safe for concurrent use.
type Log struct {
	log *slog.Logger

	mu   sync.Mutex
	open map[string]*failures // by cause
}

// failures are those of one cause since they began.
type failures struct {
	began time.Time
	count int64 // since they began
	fresh int64 // since the last line
	last  error
	timer *time.Timer
}

// New makes a Log that writes to log.
func New(log *slog.Logger) *Log { return &Log{log: log, open: map[string]*failures{}} }

// Failed counts a failure. The first one is logged at once, at level ERROR.
func (l *Log) Failed(cause string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.open[cause]
	if f == nil {
		f = &failures{began: time.Now()}
		f.timer = time.AfterFunc(every, func() { l.look(cause, f) })
		l.open[cause] = f
		l.log.Error(cause+": failed", "error", err)
	} else {
		f.fresh++
	}
	f.count++
	f.last = err
}

// Succeeded ends the failures of a cause, if there are any.
func (l *Log) Succeeded(cause string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.open[cause]; f != nil {
		l.end(cause, f)
	}
}

// Report calls Succeeded without an error and Failed with one.
func (l *Log) Report(cause string, err error) {
	if err == nil {
		l.Succeeded(cause)
		return
	}
	l.Failed(cause, err)
}

// look logs that failures continue, or have ended.
func (l *Log) look(cause string, f *failures) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.open[cause] != f:
	case f.fresh == 0:
		l.end(cause, f)
	default:
		l.log.Error(cause+": still fails", "failures", f.count, "for", time.Since(f.began).Round(time.Second),
			"error", f.last)
		f.fresh = 0
		f.timer.Reset(every)
	}
}

// end logs that failures have ended. l.mu is held.
func (l *Log) end(cause string, f *failures) {
	f.timer.Stop()
	delete(l.open, cause)
	l.log.Info(cause+": no longer fails", "failures", f.count, "after", time.Since(f.began).Round(time.Second))
}
