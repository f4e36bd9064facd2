package ttl

import (
	"container/heap"
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

// Options configure a Memory.
type Options struct {
	Now        func() time.Time // nil: time.Now
	MaxEntries int              // 0: 100,000
}

// Memory is a Store in this process, for one replica.
type Memory struct {
	now    func() time.Time
	max    int
	mu     sync.Mutex
	items  map[string]*item
	owners map[string]*owner
	most   ranking
	turn   uint64 // counts entries as they are made
	swept  time.Time
}

// item is an entry, in the order of its owner's.
type item struct {
	key        string
	value      []byte
	expires    time.Time
	once       bool
	made       uint64
	owner      *owner
	prev, next *item
}

// owner is whom entries count against.
type owner struct {
	name        string
	count       int
	first, last *item
	floor       time.Time // marks of this owner that would expire no later may have been used before
	rank        int       // in the ranking
}

// sweepEvery is how often a write removes expired entries; in a full memory more often, but not at
// every write.
const (
	sweepEvery     = 30 * time.Second
	sweepFullEvery = time.Second
)

// NewMemory returns an empty Memory.
func NewMemory(o Options) *Memory {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = 100_000
	}
	return &Memory{now: o.Now, max: o.MaxEntries, items: map[string]*item{}, owners: map[string]*owner{},
		swept: o.Now()}
}

// Put implements Store.
func (m *Memory) Put(_ context.Context, owner, key string, value []byte, life time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.set(owner, key, value, life, false)
}

// Get implements Store.
func (m *Memory) Get(_ context.Context, key string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	it := m.live(key)
	if it == nil {
		return nil, false, nil
	}
	return slices.Clone(it.value), true, nil
}

// PutIfAbsent implements Store.
func (m *Memory) PutIfAbsent(_ context.Context, owner, key string, value []byte, life time.Duration) (bool, error) {
	return m.absent(owner, key, value, life, false)
}

// Once implements Store.
func (m *Memory) Once(_ context.Context, owner, key string, life time.Duration) (bool, error) {
	return m.absent(owner, key, nil, life, true)
}

func (m *Memory) absent(owner, key string, value []byte, life time.Duration, once bool) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live(key) != nil {
		return false, nil
	}
	if err := m.set(owner, key, value, life, once); err != nil {
		return false, err
	}
	return true, nil
}

// Take implements Store.
func (m *Memory) Take(_ context.Context, key string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	it := m.live(key)
	if it == nil {
		return nil, false, nil
	}
	m.drop(it)
	return it.value, true, nil
}

// Add implements Store.
func (m *Memory) Add(_ context.Context, owner, key string, delta int64, life time.Duration) (int64, time.Duration,
	error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	it := m.live(key)
	if it == nil {
		return delta, life, m.set(owner, key, binary.BigEndian.AppendUint64(nil, uint64(delta)), life, false)
	}
	sum := int64(binary.BigEndian.Uint64(it.value)) + delta
	binary.BigEndian.PutUint64(it.value, uint64(sum))
	return sum, it.expires.Sub(m.now()), nil
}

func (m *Memory) live(key string) *item {
	if it := m.items[key]; it != nil && m.now().Before(it.expires) {
		return it
	}
	return nil
}

func (m *Memory) set(name, key string, value []byte, life time.Duration, once bool) error {
	now := m.now()
	if since := now.Sub(m.swept); since >= sweepEvery || len(m.items) >= m.max && since >= sweepFullEvery {
		m.sweep(now)
	}
	if there := m.items[key]; there != nil {
		if now.Before(there.expires) {
			there.value, there.expires = slices.Clone(value), now.Add(life)
			return nil
		}
		m.drop(there)
	}
	expires := now.Add(life)
	if o := m.owners[name]; once && o != nil && !expires.After(o.floor) {
		return ErrFull
	}
	if len(m.items) >= m.max && !m.makeRoom(once) {
		return ErrFull
	}
	o := m.owners[name]
	if o == nil {
		o = &owner{name: name}
		m.owners[name] = o
		heap.Push(&m.most, o)
	}
	m.turn++
	it := &item{key: key, value: slices.Clone(value), expires: expires, once: once, made: m.turn, owner: o,
		prev: o.last}
	if o.last == nil {
		o.first = it
	} else {
		o.last.next = it
	}
	o.last = it
	o.count++
	m.items[key] = it
	heap.Fix(&m.most, o.rank)
	return nil
}

// makeRoom drops the oldest entry of the owner with the most. For a mark nothing is dropped when
// every owner has one entry, because the floors to be remembered would have no bound.
func (m *Memory) makeRoom(once bool) bool {
	if len(m.most) == 0 || m.most[0].count == 0 || once && m.most[0].count == 1 {
		return false
	}
	it := m.most[0].first
	if it.once && it.expires.After(it.owner.floor) {
		it.owner.floor = it.expires
	}
	m.drop(it)
	return true
}

func (m *Memory) drop(it *item) {
	o := it.owner
	if it.prev == nil {
		o.first = it.next
	} else {
		it.prev.next = it.next
	}
	if it.next == nil {
		o.last = it.prev
	} else {
		it.next.prev = it.prev
	}
	o.count--
	delete(m.items, it.key)
	if o.count > 0 || m.now().Before(o.floor) {
		heap.Fix(&m.most, o.rank)
		return
	}
	heap.Remove(&m.most, o.rank)
	delete(m.owners, o.name)
}

// sweep drops expired entries, and owners without any state.
func (m *Memory) sweep(now time.Time) {
	m.swept = now
	for _, it := range m.items {
		if !now.Before(it.expires) {
			m.drop(it)
		}
	}
	for name, o := range m.owners {
		if o.count == 0 && !now.Before(o.floor) {
			heap.Remove(&m.most, o.rank)
			delete(m.owners, name)
		}
	}
}

// ranking orders owners by the number of entries and, for equal ones, by the age of the first
// entry.
type ranking []*owner

func (r ranking) Len() int { return len(r) }

func (r ranking) Less(i, j int) bool {
	if r[i].count != r[j].count {
		return r[i].count > r[j].count
	}
	return r[i].first != nil && r[j].first != nil && r[i].first.made < r[j].first.made
}

func (r ranking) Swap(i, j int) {
	r[i], r[j] = r[j], r[i]
	r[i].rank, r[j].rank = i, j
}

// Push implements heap.Interface.
func (r *ranking) Push(x any) {
	o := x.(*owner)
	o.rank = len(*r)
	*r = append(*r, o)
}

// Pop implements heap.Interface.
func (r *ranking) Pop() any {
	old := *r
	o := old[len(old)-1]
	old[len(old)-1] = nil
	*r = old[:len(old)-1]
	return o
}
