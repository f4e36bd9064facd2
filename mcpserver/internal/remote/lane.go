package remote

import "sync"

// lane bounds what is under way, of all and of each tenant, so that one tenant cannot take it all.
type lane struct {
	most, each int

	mu     sync.Mutex
	all    int
	tenant map[string]int
}

func newLane(most, each int) *lane { return &lane{most: most, each: each, tenant: map[string]int{}} }

// enter takes a place, unless there is none.
func (l *lane) enter(tenant string) (leave func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= l.most || l.tenant[tenant] >= l.each {
		return nil, false
	}
	l.all++
	l.tenant[tenant]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all--
		if l.tenant[tenant]--; l.tenant[tenant] == 0 {
			delete(l.tenant, tenant)
		}
	}, true
}
