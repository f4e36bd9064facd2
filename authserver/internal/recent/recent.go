// Package recent owns what was just read: a client, a tenant, a machine client's grant, each for a second.
//
// The token endpoint asks for the same rows again and again; three round trips to the database were half of its time. A second is what a change
// made through another process may take to count; a change made through these stores counts at once. That an ended grant's row is remembered does
// no harm: its tokens are refused by the list of ended grants, which nothing here stands in front of.
package recent

import (
	"context"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// life is how long a row is remembered, by the process's own clock. entries bounds each kind.
const (
	life    = time.Second
	entries = 10_000
)

// rows remembers rows of one kind. What was not found is never remembered.
type rows[V any] struct {
	mu   sync.RWMutex
	kept map[string]row[V]
	// dropped counts the removals, so that a row that was read before one is not remembered after it.
	dropped uint64
}

type row[V any] struct {
	value V
	until time.Time
}

// get returns the remembered row, or reads it.
func (r *rows[V]) get(key string, read func() (V, error)) (V, error) {
	now := time.Now()
	r.mu.RLock()
	found, ok := r.kept[key]
	before := r.dropped
	r.mu.RUnlock()
	if ok && now.Before(found.until) {
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
	r.kept[key] = row[V]{value, now.Add(life)}
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
	rows rows[client.Client]
}

// Client implements client.Store.
func (c *Clients) Client(ctx context.Context, id string) (client.Client, error) {
	return c.rows.get(id, func() (client.Client, error) { return c.Store.Client(ctx, id) })
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
	rows rows[tenant.Tenant]
}

// Tenant implements tenant.Store.
func (t *Tenants) Tenant(ctx context.Context, id string) (tenant.Tenant, error) {
	return t.rows.get(id, func() (tenant.Tenant, error) { return t.Store.Tenant(ctx, id) })
}

// Grants is a grant.Store that remembers machine clients' grants.
type Grants struct {
	grant.Store
	rows rows[grant.Grant]
}

// MachineGrant implements grant.Store.
func (g *Grants) MachineGrant(ctx context.Context, clientID, resource string) (grant.Grant, error) {
	return g.rows.get(clientID+" "+resource, func() (grant.Grant, error) { return g.Store.MachineGrant(ctx, clientID, resource) })
}

// EndGrant implements grant.Store, and forgets.
func (g *Grants) EndGrant(ctx context.Context, id string, at time.Time, reason string, e audit.Event) error {
	defer g.rows.drop() // also when it did not succeed: then nobody knows what is true
	return g.Store.EndGrant(ctx, id, at, reason, e)
}
