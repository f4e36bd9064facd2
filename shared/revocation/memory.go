package revocation

import (
	"context"
	"crypto/rand"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// sweepEvery is how often expired entries are removed.
const sweepEvery = time.Minute

// Memory is a List in one process. Servers in the same process share it, so that a revocation is
// seen by the very next request; other servers follow it through the issuer.
type Memory struct {
	now      func() time.Time
	name     string // random; begins this memory's cursors
	ended    *set
	complete atomic.Pointer[time.Time] // until when the list counts as complete

	mu       sync.Mutex
	log      []Entry // in the order of writing
	dropped  int     // number of entries removed from the log's start
	restored int
	swept    time.Time
}

// NewMemory returns an empty list, which is not complete before its first Restore. now may be nil:
// time.Now.
func NewMemory(now func() time.Time) *Memory {
	if now == nil {
		now = time.Now
	}
	m := &Memory{now: now, name: rand.Text(), ended: newSet(now()), swept: now()}
	m.complete.Store(&time.Time{})
	return m
}

// Ended implements Reader.
func (m *Memory) Ended(_ context.Context, grantID string) (bool, error) {
	// read first: what was complete then contains what is looked up after
	complete := m.now().Before(*m.complete.Load())
	switch {
	case m.ended.has(grantID):
		return true, nil
	case !complete:
		return false, ErrUnknown
	}
	return false, nil
}

// Suspended implements Reader.
func (m *Memory) Suspended(s Subject, issuedAt int64) bool { return m.ended.suspends(s, issuedAt) }

// Add implements List.
func (m *Memory) Add(_ context.Context, grantID string, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(Entry{grantID, until})
	m.sweep()
	return nil
}

// Restore implements List.
func (m *Memory) Restore(ctx context.Context, ledger func(context.Context) (map[string]time.Time, error),
	life time.Duration) error {
	known, err := Sorted(ctx, ledger)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range known {
		m.add(e)
	}
	complete := m.now().Add(life)
	m.complete.Store(&complete)
	m.restored++
	m.sweep()
	return nil
}

// Next implements Feed.
func (m *Memory) Next(_ context.Context, cursor string) (Batch, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	name, number, _ := strings.Cut(cursor, ".")
	from, err := strconv.Atoi(number)
	b := Batch{Now: now, Life: m.complete.Load().Sub(now)}
	if err != nil || name != m.name || from < m.dropped || from > m.dropped+len(m.log) {
		b.Whole, from = true, m.dropped
	}
	news := m.log[from-m.dropped:]
	b.Ended = slices.Clone(news[:min(MaxBatch, len(news))])
	b.More = len(news) > MaxBatch
	b.Cursor = m.name + "." + strconv.Itoa(from+len(b.Ended))
	if m.restored > 0 {
		b.Mark = m.name + "." + strconv.Itoa(m.restored)
	}
	return b, nil
}

func (m *Memory) add(e Entry) {
	now := m.now()
	if left := e.Until.Sub(now); left > 0 && m.ended.add(e, left, now) {
		m.log = append(m.log, e)
	}
}

// sweep removes, once a minute, the entries whose tokens have all expired.
func (m *Memory) sweep() {
	now := m.now()
	if since := now.Sub(m.swept); since >= 0 && since < sweepEvery {
		return
	}
	m.swept = now
	m.ended.sweep(now)
	gone := 0
	for gone < len(m.log) && !now.Before(m.log[gone].Until) {
		gone++
	}
	m.log, m.dropped = slices.Clone(m.log[gone:]), m.dropped+gone
}
