package gateway

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/toolcatalog"
)

// ruleset is all of an upstream that may change while the gateway runs. It is made whole, and never
// changes.
type ruleset struct {
	shapes   map[string]*shape // by tenant; "" is what the server's tools are by themselves
	hold     bool              // what is not approved is neither listed nor called
	approved map[string]string // fingerprints by tool; nil: nobody has approved anything
	named    map[string]bool   // tools that a rule names without a star, or that are otherwise for a tenant
	starred  []string          // names with a star that rules are about
}

// of is how a tenant sees the tools.
func (r *ruleset) of(tenant string) *shape {
	for _, name := range []string{tenant, everyTenant} {
		if s := r.shapes[name]; name != "" && s != nil {
			return s
		}
	}
	return r.shapes[""]
}

// lists says whether a tenant's clients see the same tools by other rules, whatever the server
// offers.
func (r *ruleset) lists(other *ruleset, tenant string) (same bool) {
	if r.hold != other.hold || r.hold && !maps.Equal(r.approved, other.approved) {
		return false
	}
	return reflect.DeepEqual(r.of(tenant).made, other.of(tenant).made)
}

// rulesets makes the rules of all upstreams of a file ready, with what its lock file says.
func (g *Gateway) rulesets(f *File) ([]*ruleset, error) {
	lock, err := toolcatalog.ReadLock(LockPath(g.path))
	if err != nil {
		return nil, err
	}
	var all []*ruleset
	for i := range f.Upstreams {
		u := &f.Upstreams[i]
		shapes, err := u.shapes(g.counts)
		if err != nil {
			return nil, fmt.Errorf("upstream %q: %w", u.Name, err)
		}
		r := &ruleset{shapes: shapes, hold: u.Hold, approved: lock.Upstreams[u.Name], named: u.named(),
			starred: u.starred()}
		for _, s := range shapes {
			s.of = r
			s.table = s.table.WithHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				g.serve(g.members[i], s, w, r)
			}))
		}
		if u.Hold && r.approved == nil {
			return nil, fmt.Errorf("upstream %q holds what was not approved, and nothing was: run gatehouse gateway "+
				"approve", u.Name)
		}
		all = append(all, r)
	}
	return all, nil
}

// named are the tools that the file names one by one.
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

// starred are the names with a star that the file's rules are about, in their order.
func (u *Upstream) starred() (names []string) {
	for _, r := range u.Tools {
		if guard.Rule(r).IsPattern() {
			names = append(names, r.Name)
		}
	}
	return names
}
