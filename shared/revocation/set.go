package revocation

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// shards divide a set to reduce contention. A power of two.
const shards = 64

// set is the entries as they are looked up at every request: without allocating, waiting at most
// for a write to one shard.
type set struct {
	seed  maphash.Seed
	start time.Time
	parts [shards]shard

	mu        sync.RWMutex
	suspended map[Subject]Suspension
	some      atomic.Bool // whether there is any
}

type shard struct {
	mu   sync.RWMutex
	ends map[string]end
	_    [32]byte // padding: a shard has its own cache line
}

// end says when an entry may be removed: when our clock has reached until, in Unix milliseconds,
// and the set is older than age. Both are needed because a clock may be set ahead and back: an
// entry removed in between would accept a revoked grant.
type end struct {
	until int64
	age   time.Duration
}

func newSet(now time.Time) *set {
	s := &set{seed: maphash.MakeSeed(), start: now}
	for i := range s.parts {
		s.parts[i].ends = map[string]end{}
	}
	return s
}

func (s *set) part(id string) *shard { return &s.parts[maphash.String(s.seed, id)%shards] }

// has reports whether a grant is in the set.
func (s *set) has(id string) bool {
	p := s.part(id)
	p.mu.RLock()
	_, there := p.ends[id]
	p.mu.RUnlock()
	return there
}

// add stores an entry for left, and reports whether it is new.
func (s *set) add(e Entry, left time.Duration, now time.Time) bool {
	news := s.put(e, left, now)
	if told, ok := readSuspension(e.GrantID); ok { // without the shard's lock: forget holds s.mu and locks the shards
		return s.suspend(told) || news
	}
	return news
}

func (s *set) put(e Entry, left time.Duration, now time.Time) bool {
	p := s.part(e.GrantID)
	p.mu.Lock()
	defer p.mu.Unlock()
	until := e.Until.UnixMilli()
	old, there := p.ends[e.GrantID]
	if there && until <= old.until {
		return false
	}
	p.ends[e.GrantID] = end{until, max(old.age, now.Sub(s.start)+left)}
	return true
}

// suspend stores a suspension, unless a later one of its subject is known, and reports whether it
// is new: suspending, resuming and suspending within a second repeats an entry.
func (s *set) suspend(told Suspension) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, there := s.suspended[told.Subject]
	if there && (told.At.Before(known.At) || told == known) {
		return false
	}
	if s.suspended == nil {
		s.suspended = map[Subject]Suspension{}
	}
	s.suspended[told.Subject] = told
	s.some.Store(true)
	return true
}

// suspends reports whether a suspension rejects the subject's tokens that were issued at this time.
func (s *set) suspends(of Subject, issuedAt int64) bool {
	if !s.some.Load() {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	known, there := s.suspended[of]
	return there && issuedAt < known.Before.Unix()
}

// forget removes suspensions whose entries were removed.
func (s *set) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for of, known := range s.suspended {
		if !s.has(known.ID()) {
			delete(s.suspended, of)
		}
	}
	s.some.Store(len(s.suspended) > 0)
}

// sweep removes the entries whose tokens have all expired.
func (s *set) sweep(now time.Time) {
	age, wall := now.Sub(s.start), now.UnixMilli()
	for i := range s.parts {
		p := &s.parts[i]
		p.mu.Lock()
		for id, e := range p.ends {
			if age >= e.age && wall >= e.until {
				delete(p.ends, id)
			}
		}
		p.mu.Unlock()
	}
	s.forget()
}

// size counts the grants in the set.
func (s *set) size() int {
	n := 0
	for i := range s.parts {
		p := &s.parts[i]
		p.mu.RLock()
		n += len(p.ends)
		p.mu.RUnlock()
	}
	return n
}

// ids returns the ids of all that is in the set.
func (s *set) ids() []string {
	var all []string
	for i := range s.parts {
		p := &s.parts[i]
		p.mu.RLock()
		for id := range p.ends {
			all = append(all, id)
		}
		p.mu.RUnlock()
	}
	return all
}
