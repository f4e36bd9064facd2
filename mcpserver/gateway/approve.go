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

// Approval is what the upstreams offer now, beside what was approved.
type Approval struct {
	// Changes are what is otherwise, one line each: a tool that is new, changed or gone, with what
	// is wrong with it.
	Changes []string
	lock    toolcatalog.Lock
	path    string
}

// Write approves: what the upstreams offer now is what was looked at.
func (a *Approval) Write() error { return a.lock.Write(a.path) }

// LookAt reads the tools of all upstreams of a file, as somebody of a tenant sees them, and says
// what is otherwise than approved. Nothing is approved by it.
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
	type place struct{ host, tool string } // names meet at one address
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
		if of := owners[at]; len(of) > 1 && otherwise[at] { // somebody has looked at the others and approved them
			a.Changes = append(a.Changes, fmt.Sprintf("%s: several upstreams have a tool of this name: %s",
				show(at.tool), strings.Join(of, ", ")))
		}
	}
	return a, nil
}

// look reads an upstream's tools, as somebody with all of its scopes sees them: a server may list
// by scopes, and what is not seen is approved no more.
func (g *Gateway) look(ctx context.Context, u *Upstream, tenant string) (toolcatalog.Offer, error) {
	m := &member{config: *u}
	var err error
	if m.server, err = g.reach(m); err != nil {
		return toolcatalog.Offer{}, err
	}
	g.members = append(g.members, m)
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

// compare notes what is otherwise about an upstream's tools, and takes them for approved if the
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
			say(name, "gone: the server does not list it now; approved no more")
		}
	}
	a.lock.Approve(upstream, tools)
}

// show is a tool's name for a person: nothing in it is there without being seen.
func show(name string) string {
	if clean := oneLine(name); clean == name {
		return name
	}
	return fmt.Sprintf("%+q", name)
}
