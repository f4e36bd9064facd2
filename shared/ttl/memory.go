package ttl

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"
)

// ErrFull says that a bounded memory holds as much as it may. Nothing was kept and nothing was pushed out: an attacker who fills it must not be
// able to make it forget.
var ErrFull = errors.New("short memory is full")

// Options of a Memory.
type Options struct {
	Now        func() time.Time // nil: time.Now
	MaxEntries int              // 0: 100,000
}

// Memory is a Store in this process: right for one replica. It is also the test double.
type Memory struct {
	now   func() time.Time
	max   int
	mu    sync.Mutex
	items map[string]item
	swept time.Time
}

type item struct {
	value   []byte
	expires time.Time
}

// sweepEvery is how often a write looks for what has expired; a full memory is looked through more often, but not at every write.
const (
	sweepEvery     = 30 * time.Second
	sweepFullEvery = time.Second
)

// NewMemory makes an empty Memory.
func NewMemory(o Options) *Memory {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = 100_000
	}
	return &Memory{now: o.Now, max: o.MaxEntries, items: map[string]item{}, swept: o.Now()}
}

// Put implements Store.
func (m *Memory) Put(_ context.Context, key string, value []byte, life time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.set(key, value, life)
}

// Get implements Store.
func (m *Memory) Get(_ context.Context, key string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	it, ok := m.live(key)
	return slices.Clone(it.value), ok, nil
}

// PutIfAbsent implements Store.
func (m *Memory) PutIfAbsent(_ context.Context, key string, value []byte, life time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.live(key); ok {
		return false, nil
	}
	if err := m.set(key, value, life); err != nil {
		return false, err
	}
	return true, nil
}

// Take implements Store.
func (m *Memory) Take(_ context.Context, key string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	it, ok := m.live(key)
	delete(m.items, key)
	return it.value, ok, nil
}

// Add implements Store.
func (m *Memory) Add(_ context.Context, key string, delta int64, life time.Duration) (int64, time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	it, ok := m.live(key)
	if !ok {
		return delta, life, m.set(key, binary.BigEndian.AppendUint64(nil, uint64(delta)), life)
	}
	sum := int64(binary.BigEndian.Uint64(it.value)) + delta
	it.value = binary.BigEndian.AppendUint64(nil, uint64(sum))
	m.items[key] = it
	return sum, it.expires.Sub(m.now()), nil
}

func (m *Memory) live(key string) (item, bool) {
	it, ok := m.items[key]
	if !ok || !m.now().Before(it.expires) {
		return item{}, false
	}
	return it, true
}

func (m *Memory) set(key string, value []byte, life time.Duration) error {
	now := m.now()
	if since := now.Sub(m.swept); since >= sweepEvery || len(m.items) >= m.max && since >= sweepFullEvery {
		m.swept = now
		for k, it := range m.items {
			if !now.Before(it.expires) {
				delete(m.items, k)
			}
		}
	}
	if _, there := m.items[key]; !there && len(m.items) >= m.max {
		return ErrFull
	}
	m.items[key] = item{slices.Clone(value), now.Add(life)}
	return nil
}
