package upstream

import (
	"context"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/limit"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// breakers spare a server. That it cannot be reached is nobody's doing, and keeps everybody away
// for a while. What a request's own content may bring about, as an answer of 502, 503 or 504 or a
// connection that is broken off, keeps away only the party whose requests found it so: nobody shuts
// another out. Any other answer, fit to be passed on or not, is one of a server that is there.
type breakers struct {
	all *breaker

	mu        sync.Mutex
	parties   map[limit.Party]*breaker // those with failures
	strangers int                      // of them addresses
}

func partyOf(ctx context.Context, c mcp.Caller) limit.Party {
	if c.TenantID != "" {
		return limit.Party{Tenant: c.TenantID}
	}
	return limit.Party{Address: httpd.Source(ctx)}
}

// mostFailing bounds the parties whose failures are remembered, and mostStrangers the addresses
// among them; those of more are not counted.
const (
	mostFailing   = 10_000
	mostStrangers = mostFailing / 10
)

// enter says whether a request of a party's may go; if not, how long to wait. report takes how it
// found the server, and says the new state when that is another: for all, or for this party.
func (b *breakers) enter(p limit.Party) (report func(outcome) (all, own string), wait time.Duration, ok bool) {
	all, wait, ok := b.all.enter()
	if !ok {
		return nil, wait, false
	}
	own := func(outcome) string { return "" }
	failing := b.of(p, false)
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
				if first := b.of(p, true); first != nil {
					own = first.report
				}
			}
			return all(good), own(bad)
		case good:
			changed := own(good)
			b.forget(p)
			return all(good), changed
		}
		own(unknown)
		return all(unknown), ""
	}, 0, true
}

// of is the breaker of a party; nil: it has none, and none was wanted, or there is no place.
func (b *breakers) of(p limit.Party, wanted bool) *breaker {
	b.mu.Lock()
	defer b.mu.Unlock()
	of := b.parties[p]
	if of != nil || !wanted || len(b.parties) >= mostFailing || p.Tenant == "" && b.strangers >= mostStrangers {
		return of
	}
	if b.parties == nil {
		b.parties = map[limit.Party]*breaker{}
	}
	if p.Tenant == "" {
		b.strangers++
	}
	of = &breaker{most: b.all.most, cooldown: b.all.cooldown, now: b.all.now}
	b.parties[p] = of
	return of
}

// forget lets go of a party's breaker that has no failures any more.
func (b *breakers) forget(p limit.Party) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if of := b.parties[p]; of != nil && of.clean() {
		delete(b.parties, p)
		if p.Tenant == "" {
			b.strangers--
		}
	}
}

// describe is the state for all, or else that somebody is kept away.
func (b *breakers) describe() string {
	if state := b.all.describe(); state != stateOK {
		return state
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, of := range b.parties {
		if of.describe() != stateOK {
			return stateSome
		}
	}
	return stateOK
}
