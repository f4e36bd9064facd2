// Package cache remembers rows that the token endpoint reads again and again: clients, tenants and
// the grants of machine clients.
//
// The database counts the changes of such rows itself, and each process reads that number once a
// second: a change by another process takes effect within a second, one through these stores at
// once. A remembered grant that was revoked does no harm: the list of revoked grants, which is not
// cached, refuses its tokens. Clients with a metadata document change too often to be counted:
// each is remembered for a second.
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

// lifetime is for how long the number of changes is valid. entries bounds the rows of each kind:
// all of them take some 200 MB.
const (
	lifetime = time.Second
	entries  = 150_000
)

// Watch knows the number of changes.
type Watch struct {
	// Changes reads the number from the database.
	Changes func(context.Context) (int64, error)

	mu   sync.Mutex
	last atomic.Pointer[count]
}

type count struct {
	n     int64
	until time.Time
}

// count is the number of changes, at most a second old.
func (w *Watch) count(ctx context.Context) (int64, error) {
	if c := w.last.Load(); c != nil && time.Now().Before(c.until) {
		return c.n, nil
	}
	w.mu.Lock() // one reads it for all that wait
	defer w.mu.Unlock()
	now := time.Now()
	if c := w.last.Load(); c != nil && now.Before(c.until) {
		return c.n, nil
	}
	n, err := w.Changes(ctx)
	if err == nil {
		w.last.Store(&count{n, now.Add(lifetime)})
	}
	return n, err
}

// rows remembers rows of one kind. Missing rows are not remembered.
type rows[V any] struct {
	mu   sync.RWMutex
	kept map[string]row[V]
	// dropped counts the calls of drop, so that a row that was read before one is not remembered
	// after it.
	dropped uint64
}

// row is valid until the number of changes is another or, without a Watch, until a time.
type row[V any] struct {
	value V
	n     int64
	until time.Time
}

// get returns the remembered row, or reads it. A nil watch means that the changes of such rows are
// not counted.
func (r *rows[V]) get(ctx context.Context, watch *Watch, key string, read func() (V, error)) (V, error) {
	now, fresh := time.Now(), row[V]{}
	if watch == nil {
		fresh.until = now.Add(lifetime)
	} else {
		n, err := watch.count(ctx) // before the row is read: a change after that is another number
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
		r.kept = map[string]row[V]{} // begin again: rows are only read again
	}
	fresh.value = value
	r.kept[key] = fresh
	return value, nil
}

// drop forgets all rows.
func (r *rows[V]) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = nil
	r.dropped++
}

// Clients is a client.Store with a cache.
type Clients struct {
	client.Store
	Watch *Watch // nil: a row is valid for a second
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

// Register implements client.Store, and empties the cache: it may delete another client.
func (c *Clients) Register(ctx context.Context, n client.Client, ceiling int64, e audit.Event) (client.Client, error) {
	defer c.rows.drop()
	return c.Store.Register(ctx, n, ceiling, e)
}

// UpdateClient implements client.Store, and empties the cache.
func (c *Clients) UpdateClient(ctx context.Context, n client.Client) error {
	defer c.rows.drop()
	return c.Store.UpdateClient(ctx, n)
}

// ReplaceSecret implements client.Store, and empties the cache.
func (c *Clients) ReplaceSecret(ctx context.Context, id, secretHash string, ends time.Time) error {
	defer c.rows.drop()
	return c.Store.ReplaceSecret(ctx, id, secretHash, ends)
}

// DeleteClient implements client.Store, and empties the cache.
func (c *Clients) DeleteClient(ctx context.Context, id string, at time.Time) error {
	defer c.rows.drop()
	return c.Store.DeleteClient(ctx, id, at)
}

// PutDocument implements client.Store, and empties the cache.
func (c *Clients) PutDocument(ctx context.Context, d client.Client) error {
	defer c.rows.drop()
	return c.Store.PutDocument(ctx, d)
}

// Tenants is a tenant.Store with a cache.
type Tenants struct {
	tenant.Store
	Watch *Watch // nil: a row is valid for a second
	rows  rows[tenant.Tenant]
}

// Tenant implements tenant.Store.
func (t *Tenants) Tenant(ctx context.Context, id string) (tenant.Tenant, error) {
	return t.rows.get(ctx, t.Watch, id, func() (tenant.Tenant, error) { return t.Store.Tenant(ctx, id) })
}

// Forget empties the cache, after changes that were not made through it.
func (t *Tenants) Forget() { t.rows.drop() }

// Forget empties the cache, after changes that were not made through it.
func (c *Clients) Forget() { c.rows.drop() }

// Forget empties the cache, after changes that were not made through it.
func (g *Grants) Forget() { g.rows.drop() }

// RenameTenant implements tenant.Store, and empties the cache.
func (t *Tenants) RenameTenant(ctx context.Context, id, name string) error {
	defer t.rows.drop()
	return t.Store.RenameTenant(ctx, id, name)
}

// PutPolicy implements tenant.Store, and empties the cache.
func (t *Tenants) PutPolicy(ctx context.Context, id string, p tenant.Policy) error {
	defer t.rows.drop()
	return t.Store.PutPolicy(ctx, id, p)
}

// Grants is a grant.Store with a cache of the grants of machine clients.
type Grants struct {
	grant.Store
	Watch *Watch // nil: a row is valid for a second
	rows  rows[grant.Grant]
}

// MachineGrant implements grant.Store.
func (g *Grants) MachineGrant(ctx context.Context, clientID, resource string) (grant.Grant, error) {
	return g.rows.get(ctx, g.Watch, clientID+" "+resource,
		func() (grant.Grant, error) { return g.Store.MachineGrant(ctx, clientID, resource) })
}

// RevokeGrant implements grant.Store, and empties the cache.
func (g *Grants) RevokeGrant(ctx context.Context, id string, at time.Time, reason string, e audit.Event) error {
	defer g.rows.drop() // also on an error, when it is unknown what is stored
	return g.Store.RevokeGrant(ctx, id, at, reason, e)
}
