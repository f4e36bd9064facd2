package gateway

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/callerassertion"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/toolcatalog"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

// Approval compares what the upstreams offer now with what was approved.
type Approval struct {
	// Changes has one line for each tool that is new, changed or gone, with what is suspicious
	// about it.
	Changes []string
	lock    toolcatalog.Lock
	path    string
}

// Write approves what the upstreams offered when it was compared.
func (a *Approval) Write() error { return a.lock.Write(a.path) }

// LookAt reads the tools of all upstreams of a file, as a tenant sees them, and compares them with
// the approved ones. It approves nothing.
func LookAt(ctx context.Context, path, tenant string, d Deps) (*Approval, error) {
	f, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	d.fill()
	g := &Gateway{path: path, file: f, deps: d}
	defer g.Close()
	key, err := f.AssertionKey.read(d.Getenv)
	if err != nil {
		return nil, fmt.Errorf("assertion_key: %w", err)
	}
	if g.signer, err = callerassertion.New(config.Secret(key)); err != nil {
		return nil, err
	}
	a := &Approval{path: LockPath(path)}
	if a.lock, err = toolcatalog.ReadLock(a.path); err != nil {
		return nil, err
	}
	type place struct{ host, tool string } // names collide at one address
	owners, otherwise := map[place][]string{}, map[place]bool{}
	for i := range f.Upstreams {
		u := &f.Upstreams[i]
		offer, err := g.look(ctx, u, tenant)
		if err != nil {
			return nil, fmt.Errorf("upstream %q: %w", u.Name, err)
		}
		for _, name := range offer.Unread {
			a.Changes = append(a.Changes, fmt.Sprintf("%s %s: cannot be read, and is left out of lists", u.Name,
				show(name)))
		}
		tools := offer.Tools
		for _, t := range tools {
			at := place{hostOf(u.Resource), t.Name}
			owners[at] = append(owners[at], u.Name)
			if a.lock.Upstreams[u.Name][t.Name] != t.Fingerprint() {
				otherwise[place{hostOf(u.Resource), t.Name}] = true
			}
		}
		a.compare(u.Name, tools)
	}
	byName := func(a, b place) int { return cmp.Or(strings.Compare(a.tool, b.tool), strings.Compare(a.host, b.host)) }
	for _, at := range slices.SortedFunc(maps.Keys(owners), byName) {
		if of := owners[at]; len(of) > 1 && otherwise[at] { // the other tools are approved already
			a.Changes = append(a.Changes, fmt.Sprintf("%s: several upstreams have a tool of this name: %s",
				show(at.tool), strings.Join(of, ", ")))
		}
	}
	return a, nil
}

// look reads an upstream's tools with all its scopes: a server may list by scopes, and a tool that
// is not listed loses its approval.
func (g *Gateway) look(ctx context.Context, u *Upstream, tenant string) (toolcatalog.Offer, error) {
	m := &upstream{config: *u}
	var err error
	if m.server, err = g.reach(m); err != nil {
		return toolcatalog.Offer{}, err
	}
	g.upstreams = append(g.upstreams, m)
	var scopes []string
	for _, s := range u.Scopes {
		scopes = append(scopes, s.Name)
	}
	c := mcp.Caller{Scopes: scopes, Subject: "gatehouse-gateway", TenantID: tenant, ClientID: "gatehouse-gateway",
		GrantID: "gatehouse-gateway"}
	offer, err := toolcatalog.Tools(ctx,
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.server.Serve(w, r, c) }))
	if err != nil {
		return offer, m.met.cause(ctx, m.server, c, err)
	}
	return offer, nil
}

// compare notes how an upstream's tools differ from the approved ones, and approves them if the
// whole is written.
func (a *Approval) compare(upstream string, tools []toolcatalog.Tool) {
	before := a.lock.Upstreams[upstream]
	say := func(tool, what string) { a.Changes = append(a.Changes, upstream+" "+show(tool)+": "+what) }
	now := map[string]bool{}
	for _, t := range tools {
		now[t.Name] = true
		switch before[t.Name] {
		case t.Fingerprint():
			continue
		case "":
			say(t.Name, "new: "+oneLine(t.Description))
		default:
			say(t.Name, "changed: "+oneLine(t.Description))
		}
		for _, s := range toolcatalog.Suspicions(t) {
			say(t.Name, "LOOK TWICE: "+s)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if !now[name] {
			say(name, "gone: the server does not list it now; no longer approved")
		}
	}
	a.lock.Approve(upstream, tools)
}

// show returns a tool's name for a person, with all characters visible.
func show(name string) string {
	if clean := oneLine(name); clean == name {
		return name
	}
	return fmt.Sprintf("%+q", name)
}
