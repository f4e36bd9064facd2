package gateway

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/inventory"
)

// keep says whether a tool may be shown to a tenant, and says in the log what is wrong with it, once for each version of it.
func (m *member) keep(g *Gateway, rules *ruleset, tenant string, t inventory.Tool) bool {
	print := t.Fingerprint()
	m.seen.note(tenant, t.Name, print)
	var wrong []string
	if rules.approved != nil {
		switch rules.approved[t.Name] {
		case print:
		case "":
			wrong = append(wrong, "it was never approved")
		default:
			wrong = append(wrong, "it is not as it was approved")
		}
	}
	approved := rules.approved != nil && len(wrong) == 0
	if !approved { // what somebody has looked at and approved is not reported again
		wrong = append(wrong, inventory.Suspicions(t)...)
	}
	if others := g.names.others(t.Name, m.config.Name); len(others) > 0 && !approved {
		wrong = append(wrong, "upstream "+strings.Join(others, " and ")+" has a tool of this name, too")
	}
	if len(wrong) > 0 && m.seen.first(print) {
		g.deps.Log.Warn("a tool is not what it should be", "upstream", m.config.Name, "tenant", tenant, "tool", t.Name, "wrong", strings.Join(wrong, "; "), "held", rules.hold)
	}
	return !rules.hold || approved
}

// views is what was last seen of the tools of a server, by tenant. It is safe for concurrent use.
type views struct {
	mu       sync.Mutex
	tenants  map[string]*view
	reported map[string]bool // fingerprints
}

type view struct {
	asking sync.Mutex // one asks, all others wait for what it learns
	at     time.Time  // when all of it was seen; zero: never
	prints map[string]string
}

const (
	mostViews    = 10_000      // tenants that are remembered
	mostReported = 10_000      // versions of tools that are remembered as reported
	fresh        = time.Minute // so old may what was seen be for a call to go by it
)

func (v *views) view(tenant string) *view {
	if v.tenants == nil {
		v.tenants, v.reported = map[string]*view{}, map[string]bool{}
	}
	x := v.tenants[tenant]
	if x == nil {
		if len(v.tenants) >= mostViews {
			clear(v.tenants) // all are looked at again
		}
		x = &view{prints: map[string]string{}}
		v.tenants[tenant] = x
	}
	return x
}

// note remembers a tool as it was seen just now.
func (v *views) note(tenant, name, print string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.view(tenant).prints[name] = print
}

// first says whether a version of a tool was not reported yet.
func (v *views) first(print string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.reported[print] {
		return false
	}
	if len(v.reported) >= mostReported {
		clear(v.reported)
	}
	v.reported[print] = true
	return true
}

// of is the fingerprint of a tool as a tenant sees it now, or "". What was seen a while ago is looked at again with ask.
func (v *views) of(ctx context.Context, tenant, name string, now time.Time, ask func(context.Context) (map[string]string, error)) (string, error) {
	v.mu.Lock()
	x := v.view(tenant)
	v.mu.Unlock()
	x.asking.Lock()
	defer x.asking.Unlock()
	v.mu.Lock()
	print, old := x.prints[name], now.Sub(x.at) >= fresh
	v.mu.Unlock()
	if !old {
		return print, nil
	}
	prints, err := ask(ctx)
	if err != nil {
		return "", err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	x.at, x.prints = now, prints
	return prints[name], nil
}

// names knows which upstreams have a tool of a name. An agent that sees both may call the wrong one.
type names struct {
	mu  sync.Mutex
	has map[string][]string
}

const mostNames = 100_000

// others are the other upstreams that have a tool of this name.
func (n *names) others(tool, upstream string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.has == nil || len(n.has) >= mostNames {
		n.has = map[string][]string{}
	}
	var others []string
	known := false
	for _, u := range n.has[tool] {
		if u == upstream {
			known = true
			continue
		}
		others = append(others, u)
	}
	if !known {
		n.has[tool] = append(n.has[tool], upstream)
	}
	return others
}
