package upstream

import (
	"context"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/limit"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// breakers are the circuit breakers of a server. That it cannot be reached affects all callers.
// What a request may have caused, a 502, 503 or 504 or a broken connection, counts for its party
// only, so that no one can shut out others. Any other response is one of a working server.
type breakers struct {
	all *breaker

	mu        sync.Mutex
	parties   map[limit.Party]*breaker // those with failures
	strangers int                      // how many of them are addresses
}

func partyOf(ctx context.Context, c mcp.Caller) limit.Party {
	if c.TenantID != "" {
		return limit.Party{Tenant: c.TenantID}
	}
	return limit.Party{Address: httpd.Source(ctx)}
}

// mostFailing bounds the parties whose failures are counted, and mostStrangers the addresses among
// them.
const (
	mostFailing   = 10_000
	mostStrangers = mostFailing / 10
)

// enter reports whether a request of a party may be sent, and otherwise how long to wait. report
// takes the outcome, and returns the new state for all or for this party when it changed.
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

// of returns the breaker of a party; nil when it has none and none is wanted, or the bound is
// reached.
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

// forget removes a party's breaker without failures.
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

// describe returns the state for all, or that it fails for some.
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
