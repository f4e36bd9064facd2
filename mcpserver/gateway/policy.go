package gateway

import (
	"fmt"
	"maps"
	"reflect"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/toolcatalog"
)

// policy is all of an upstream that may change while the gateway runs. It is immutable.
type policy struct {
	views    map[string]*tenantView // by tenant; "" is the view without changes
	hold     bool                   // tools that are not approved are neither listed nor called
	approved map[string]string      // approved fingerprints by tool; nil: there is no approval
	named    map[string]bool        // tools that a rule names exactly, or that a tenant changes
	starred  []string               // patterns of rules
}

// of returns the view of a tenant.
func (r *policy) of(tenant string) *tenantView {
	for _, name := range []string{tenant, everyTenant} {
		if s := r.views[name]; name != "" && s != nil {
			return s
		}
	}
	return r.views[""]
}

// lists reports whether the tenant's clients see the same tools with another policy, whatever the
// server offers.
func (r *policy) lists(other *policy, tenant string) (same bool) {
	if r.hold != other.hold || r.hold && !maps.Equal(r.approved, other.approved) {
		return false
	}
	return reflect.DeepEqual(r.of(tenant).made, other.of(tenant).made)
}

// policies compiles the rules of all upstreams of a file and its lock file.
func (g *Gateway) policies(f *File) ([]*policy, error) {
	lock, err := toolcatalog.ReadLock(LockPath(g.path))
	if err != nil {
		return nil, err
	}
	var all []*policy
	for i := range f.Upstreams {
		u := &f.Upstreams[i]
		views, err := u.views(g.counts)
		if err != nil {
			return nil, fmt.Errorf("upstream %q: %w", u.Name, err)
		}
		r := &policy{views: views, hold: u.Hold, approved: lock.Upstreams[u.Name], named: u.named(),
			starred: u.starred()}
		for _, s := range views {
			s.of = r
			s.table = s.table.WithView(&protected{g, g.upstreams[i], s})
		}
		if u.Hold && r.approved == nil {
			return nil, fmt.Errorf("upstream %q holds tools for approval, and nothing is approved: run "+
				"gatehouse gateway approve", u.Name)
		}
		all = append(all, r)
	}
	return all, nil
}

// named returns the tools that the file names exactly.
func (u *Upstream) named() map[string]bool {
	names := map[string]bool{}
	for _, r := range u.Tools {
		if !guard.Rule(r).IsPattern() {
			names[r.Name] = true
		}
	}
	for _, tools := range u.Tenants {
		for _, t := range tools {
			names[t.Name] = true
		}
	}
	return names
}

// starred returns the patterns of the rules, in their order.
func (u *Upstream) starred() (names []string) {
	for _, r := range u.Tools {
		if guard.Rule(r).IsPattern() {
			names = append(names, r.Name)
		}
	}
	return names
}
