package upstream

import "sync"

// lane bounds what is under way, of all and of each tenant, so that one tenant cannot take it all.
// All who have none share one tenant's places, of which no address takes more than half.
type lane struct {
	most, each int

	mu      sync.Mutex
	all     int
	parties map[party]int
}

func newLane(most, each int) *lane { return &lane{most: most, each: each, parties: map[party]int{}} }

// enter takes a place, unless there is none.
func (l *lane) enter(p party) (leave func(), ok bool) {
	shared := party{tenant: p.tenant}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= l.most || l.parties[shared] >= l.each || p != shared && l.parties[p] >= max(1, l.each/2) {
		return nil, false
	}
	l.all++
	l.parties[shared]++
	if p != shared {
		l.parties[p]++
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all--
		l.leave(shared)
		if p != shared {
			l.leave(p)
		}
	}, true
}

func (l *lane) leave(p party) {
	if l.parties[p]--; l.parties[p] == 0 {
		delete(l.parties, p)
	}
}
