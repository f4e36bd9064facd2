package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

// DisableClient disables a client until EnableClient: every endpoint rejects it, and its tokens are
// refused, and those exchanged from its grants. Its grants stay, and people can revoke them.
// Repeating it finishes an interrupted call.
func (d *API) DisableClient(ctx context.Context, id string) error {
	return d.ofClient(ctx, id, "client.disable", func(in *API, c client.Client) error {
		since, err := in.Clients.DisableClient(ctx, c.ID, in.now())
		if err != nil {
			return fmt.Errorf("disabling client %s: %w", c.ID, err)
		}
		return in.suspend(ctx, revocation.Client(c.ID), since)
	})
}

// EnableClient enables a disabled client, with the grants and refresh tokens that it has.
func (d *API) EnableClient(ctx context.Context, id string) error {
	return d.ofClient(ctx, id, "client.enable", func(in *API, c client.Client) error {
		if err := in.Clients.EnableClient(ctx, c.ID); err != nil {
			return fmt.Errorf("enabling client %s: %w", c.ID, err)
		}
		return in.resume(ctx, revocation.Client(c.ID))
	})
}

// ofClient does something to an existing client, after its audit record.
func (d *API) ofClient(ctx context.Context, id, action string, do func(in *API, c client.Client) error) error {
	return d.Together(ctx, func(in *API) error {
		c, err := in.Clients.RegisteredClient(ctx, id)
		if err != nil {
			return unknown(err, client.ErrNotFound, "client", id)
		}
		if err := in.record(ctx, audit.Event{Action: action, Target: c.ID, Tenant: c.TenantID, Client: c.ID,
			Detail: c.Name}); err != nil {
			return err
		}
		return do(in, c)
	})
}

// SuspendTenant suspends a tenant until ResumeTenant: nothing is issued for it, its tokens are
// refused, and its administrators' pages are closed. Its members, clients and grants stay, and
// members' access to other tenants is not affected. Repeating it finishes an interrupted call.
func (d *API) SuspendTenant(ctx context.Context, id string) error {
	return d.ofTenant(ctx, id, "tenant.suspend", func(in *API, t tenant.Tenant) error {
		since, err := in.Tenants.SuspendTenant(ctx, t.ID, in.now())
		if err != nil {
			return fmt.Errorf("suspending tenant %s: %w", t.ID, err)
		}
		return in.suspend(ctx, revocation.Tenant(t.ID), since)
	})
}

// ResumeTenant ends a tenant's suspension.
func (d *API) ResumeTenant(ctx context.Context, id string) error {
	return d.ofTenant(ctx, id, "tenant.resume", func(in *API, t tenant.Tenant) error {
		if err := in.Tenants.ResumeTenant(ctx, t.ID); err != nil {
			return fmt.Errorf("resuming tenant %s: %w", t.ID, err)
		}
		return in.resume(ctx, revocation.Tenant(t.ID))
	})
}

// DeleteTenant deletes a tenant with its memberships, roles, policy, clients, initial access tokens
// and trusted issuers, and then revokes every grant for it. Accounts and audit records stay, and
// its id is never reused. The server completes an interrupted revocation.
func (d *API) DeleteTenant(ctx context.Context, id string) error {
	return d.ofTenant(ctx, id, "tenant.delete", func(in *API, t tenant.Tenant) error {
		now := in.now()
		if err := in.Tenants.DeleteTenant(ctx, t.ID, now); err != nil {
			return fmt.Errorf("deleting tenant %s: %w", t.ID, err)
		}
		if err := in.suspend(ctx, revocation.Tenant(t.ID), now); err != nil {
			return err
		}
		return in.endAll(ctx, grant.Filter{TenantID: t.ID}, grant.ReasonTenantGone)
	})
}

// ofTenant does something to an existing tenant, after its audit record.
func (d *API) ofTenant(ctx context.Context, id, action string, do func(in *API, t tenant.Tenant) error) error {
	return d.Together(ctx, func(in *API) error {
		t, err := in.tenant(ctx, id)
		if err != nil {
			return err
		}
		if err := in.record(ctx, audit.Event{Action: action, Target: t.ID, Tenant: t.ID, Detail: t.Name}); err != nil {
			return err
		}
		return do(in, t)
	})
}

// suspend puts a suspension on the list, after it is committed.
func (d *API) suspend(ctx context.Context, s revocation.Subject, since time.Time) error {
	return d.later.Do(ctx, func(ctx context.Context) error { return d.Ledger.Suspend(ctx, s, since) })
}

// resume tells the list that a suspension ended, after that is committed.
func (d *API) resume(ctx context.Context, s revocation.Subject) error {
	return d.later.Do(ctx, func(ctx context.Context) error { return d.Ledger.Resume(ctx, s) })
}
