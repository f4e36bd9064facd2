// Package cache owns what was read before: clients, tenants, machine clients' grants, as long as
// nothing of the kind has changed.
//
// The token endpoint asks for the same rows again and again; three round trips to the database were
// half of its time. The database counts the changes to such rows itself, and each process asks for
// that number once a second: a second is what a change made through another process may take to
// count. A change made through these stores counts at once. That an ended grant's row is remembered
// does no harm: its tokens are refused by the list of ended grants, which nothing here stands in
// front of. Clients that a document describes change too often to be counted: they are remembered
// for a second each.
package cache

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// life is how long an answer is believed, by the process's own clock. entries bounds each kind:
// with all of them, some 200 MB.
const (
	life    = time.Second
	entries = 150_000
)

// Watch knows how many changes there were.
type Watch struct {
	// Changes asks the database.
	Changes func(context.Context) (int64, error)

	mu   sync.Mutex
	last atomic.Pointer[count]
}

type count struct {
	n     int64
	until time.Time
}

// count is the number of changes as it was at most a second ago.
func (w *Watch) count(ctx context.Context) (int64, error) {
	if c := w.last.Load(); c != nil && time.Now().Before(c.until) {
		return c.n, nil
	}
	w.mu.Lock() // one asks for all who wait
	defer w.mu.Unlock()
	now := time.Now()
	if c := w.last.Load(); c != nil && now.Before(c.until) {
		return c.n, nil
	}
	n, err := w.Changes(ctx)
	if err == nil {
		w.last.Store(&count{n, now.Add(life)})
	}
	return n, err
}

// rows remembers rows of one kind. What was not found is never remembered.
type rows[V any] struct {
	mu   sync.RWMutex
	kept map[string]row[V]
	// dropped counts the removals, so that a row that was read before one is not remembered after
	// it.
	dropped uint64
}

// row is worth something until the number of changes is another, or, when nobody counts, until a
// time.
type row[V any] struct {
	value V
	n     int64
	until time.Time
}

// get returns the remembered row, or reads it. watch nil: nobody counts the changes to such rows.
func (r *rows[V]) get(ctx context.Context, watch *Watch, key string, read func() (V, error)) (V, error) {
	now, fresh := time.Now(), row[V]{}
	if watch == nil {
		fresh.until = now.Add(life)
	} else {
		n, err := watch.count(ctx) // before the row is read: what changes afterwards is another number
		if err != nil {
			return fresh.value, err
		}
		fresh.n = n
	}
	r.mu.RLock()
	found, ok := r.kept[key]
	before := r.dropped
	r.mu.RUnlock()
	if ok && found.n == fresh.n && (watch != nil || now.Before(found.until)) {
		return found.value, nil
	}
	value, err := read()
	if err != nil {
		return value, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dropped != before {
		return value, nil
	}
	if r.kept == nil || len(r.kept) >= entries {
		r.kept = map[string]row[V]{} // a full memory begins anew: it is only read again
	}
	fresh.value = value
	r.kept[key] = fresh
	return value, nil
}

// drop forgets everything.
func (r *rows[V]) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = nil
	r.dropped++
}

// Clients is a client.Store that remembers.
type Clients struct {
	client.Store
	Watch *Watch // nil: a row is remembered for a second
	rows  rows[client.Client]
}

// Client implements client.Store.
func (c *Clients) Client(ctx context.Context, id string) (client.Client, error) {
	watch := c.Watch
	if client.IsDocumentURL(id) {
		watch = nil
	}
	return c.rows.get(ctx, watch, id, func() (client.Client, error) { return c.Store.Client(ctx, id) })
}

// Register implements client.Store, and forgets: another client may have gone for it.
func (c *Clients) Register(ctx context.Context, n client.Client, ceiling int64, e audit.Event) (client.Client, error) {
	defer c.rows.drop()
	return c.Store.Register(ctx, n, ceiling, e)
}

// UpdateClient implements client.Store, and forgets.
func (c *Clients) UpdateClient(ctx context.Context, n client.Client) error {
	defer c.rows.drop()
	return c.Store.UpdateClient(ctx, n)
}

// ReplaceSecret implements client.Store, and forgets.
func (c *Clients) ReplaceSecret(ctx context.Context, id, secretHash string, ends time.Time) error {
	defer c.rows.drop()
	return c.Store.ReplaceSecret(ctx, id, secretHash, ends)
}

// DeleteClient implements client.Store, and forgets.
func (c *Clients) DeleteClient(ctx context.Context, id string, at time.Time) error {
	defer c.rows.drop()
	return c.Store.DeleteClient(ctx, id, at)
}

// PutDocument implements client.Store, and forgets.
func (c *Clients) PutDocument(ctx context.Context, d client.Client) error {
	defer c.rows.drop()
	return c.Store.PutDocument(ctx, d)
}

// Tenants is a tenant.Store that remembers.
type Tenants struct {
	tenant.Store
	Watch *Watch // nil: a row is remembered for a second
	rows  rows[tenant.Tenant]
}

// Tenant implements tenant.Store.
func (t *Tenants) Tenant(ctx context.Context, id string) (tenant.Tenant, error) {
	return t.rows.get(ctx, t.Watch, id, func() (tenant.Tenant, error) { return t.Store.Tenant(ctx, id) })
}

// Forget forgets everything, after changes that did not pass through here.
func (t *Tenants) Forget() { t.rows.drop() }

// Forget forgets everything, after changes that did not pass through here.
func (c *Clients) Forget() { c.rows.drop() }

// Forget forgets everything, after changes that did not pass through here.
func (g *Grants) Forget() { g.rows.drop() }

// RenameTenant implements tenant.Store, and forgets.
func (t *Tenants) RenameTenant(ctx context.Context, id, name string) error {
	defer t.rows.drop()
	return t.Store.RenameTenant(ctx, id, name)
}

// PutPolicy implements tenant.Store, and forgets.
func (t *Tenants) PutPolicy(ctx context.Context, id string, p tenant.Policy) error {
	defer t.rows.drop()
	return t.Store.PutPolicy(ctx, id, p)
}

// Grants is a grant.Store that remembers machine clients' grants.
type Grants struct {
	grant.Store
	Watch *Watch // nil: a row is remembered for a second
	rows  rows[grant.Grant]
}

// MachineGrant implements grant.Store.
func (g *Grants) MachineGrant(ctx context.Context, clientID, resource string) (grant.Grant, error) {
	return g.rows.get(ctx, g.Watch, clientID+" "+resource,
		func() (grant.Grant, error) { return g.Store.MachineGrant(ctx, clientID, resource) })
}

// EndGrant implements grant.Store, and forgets.
func (g *Grants) EndGrant(ctx context.Context, id string, at time.Time, reason string, e audit.Event) error {
	defer g.rows.drop() // also when it did not succeed: then nobody knows what is true
	return g.Store.RevokeGrant(ctx, id, at, reason, e)
}
