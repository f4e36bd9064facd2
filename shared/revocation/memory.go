package revocation

import (
	"context"
	"sync"
	"time"
)

// Memory is a List for one process. Both wings share the value, so that an end is seen by the very next request.
type Memory struct {
	now      func() time.Time
	mu       sync.RWMutex
	ended    map[string]time.Time // grant id → until
	complete time.Time            // until when the list may be taken for complete
	swept    time.Time
}

// NewMemory makes an empty list, which is not complete before its first Restore. now may be nil: time.Now.
func NewMemory(now func() time.Time) *Memory {
	if now == nil {
		now = time.Now
	}
	return &Memory{now: now, ended: map[string]time.Time{}}
}

// Ended implements Reader.
func (m *Memory) Ended(_ context.Context, grantID string) (bool, error) {
	now := m.now()
	m.mu.RLock()
	defer m.mu.RUnlock()
	if until, listed := m.ended[grantID]; listed && now.Before(until) {
		return true, nil
	}
	if !now.Before(m.complete) {
		return false, ErrUnknown
	}
	return false, nil
}

// Add implements List.
func (m *Memory) Add(_ context.Context, grantID string, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(grantID, until)
	m.sweep()
	return nil
}

// Restore implements List.
func (m *Memory) Restore(_ context.Context, ended map[string]time.Time, life time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, until := range ended {
		m.add(id, until)
	}
	m.complete = m.now().Add(life)
	m.sweep()
	return nil
}

func (m *Memory) add(id string, until time.Time) {
	if until.After(m.ended[id]) {
		m.ended[id] = until
	}
}

// sweep forgets, once a minute, the grants whose tokens have all expired.
func (m *Memory) sweep() {
	now := m.now()
	if now.Sub(m.swept) < time.Minute {
		return
	}
	m.swept = now
	for id, until := range m.ended {
		if !now.Before(until) {
			delete(m.ended, id)
		}
	}
}
