package remote

import (
	"sync"
	"time"
)

// breakers spare a server. That it cannot be reached is nobody's doing, and keeps everybody away for a while. What a request's own content may bring about, as an answer of
// 502, 503 or 504 or a connection that is broken off, keeps away only the tenant whose requests found it so: nobody shuts another out. Any other answer, fit to be passed
// on or not, is one of a server that is there.
type breakers struct {
	all *breaker

	mu      sync.Mutex
	tenants map[string]*breaker // those with failures
}

// mostFailing bounds the tenants whose failures are remembered; those of more are not counted.
const mostFailing = 10_000

// enter says whether a request of a tenant's may go; if not, how long to wait. report takes how it found the server, and says the new state when that is another: for all,
// or for this tenant.
func (b *breakers) enter(tenant string) (report func(outcome) (all, own string), wait time.Duration, ok bool) {
	all, wait, ok := b.all.enter()
	if !ok {
		return nil, wait, false
	}
	own := func(outcome) string { return "" }
	failing := b.of(tenant, false)
	if failing != nil {
		if own, wait, ok = failing.enter(); !ok {
			all(unknown)
			return nil, wait, false
		}
	}
	return func(o outcome) (string, string) {
		switch o {
		case down:
			own(unknown)
			return all(bad), ""
		case bad:
			if failing == nil {
				if first := b.of(tenant, true); first != nil {
					own = first.report
				}
			}
			return all(good), own(bad)
		case good:
			changed := own(good)
			b.forget(tenant)
			return all(good), changed
		}
		own(unknown)
		return all(unknown), ""
	}, 0, true
}

// of is the breaker of a tenant; nil: it has none, and none was wanted, or there is no place.
func (b *breakers) of(tenant string, wanted bool) *breaker {
	b.mu.Lock()
	defer b.mu.Unlock()
	of := b.tenants[tenant]
	if of != nil || !wanted || len(b.tenants) >= mostFailing {
		return of
	}
	if b.tenants == nil {
		b.tenants = map[string]*breaker{}
	}
	of = &breaker{most: b.all.most, cooldown: b.all.cooldown, now: b.all.now}
	b.tenants[tenant] = of
	return of
}

// forget lets go of a tenant's breaker that has no failures any more.
func (b *breakers) forget(tenant string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if of := b.tenants[tenant]; of != nil && of.clean() {
		delete(b.tenants, tenant)
	}
}

// describe is the state for all, or else that somebody is kept away.
func (b *breakers) describe() string {
	if state := b.all.describe(); state != stateOK {
		return state
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, of := range b.tenants {
		if of.describe() != stateOK {
			return stateSome
		}
	}
	return stateOK
}
