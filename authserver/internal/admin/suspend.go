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

// DisableClient keeps a client from everything until EnableClient: it is not known to any endpoint,
// its tokens are refused, and so are those that others got on the strength of its grants. Its
// grants stay, and people can revoke them. Whoever does it again finishes what was cut short.
func (d *Door) DisableClient(ctx context.Context, id string) error {
	return d.ofClient(ctx, id, "client.disable", func(in *Door, c client.Client) error {
		since, err := in.Clients.DisableClient(ctx, c.ID, in.now())
		if err != nil {
			return fmt.Errorf("disabling client %s: %w", c.ID, err)
		}
		return in.suspend(ctx, revocation.Client(c.ID), since)
	})
}

// EnableClient lets a client act again that was disabled, with the grants and refresh tokens that
// it has.
func (d *Door) EnableClient(ctx context.Context, id string) error {
	return d.ofClient(ctx, id, "client.enable", func(in *Door, c client.Client) error {
		if err := in.Clients.EnableClient(ctx, c.ID); err != nil {
			return fmt.Errorf("enabling client %s: %w", c.ID, err)
		}
		return in.resume(ctx, revocation.Client(c.ID))
	})
}

// ofClient does something to a client that must be there, after its audit line.
func (d *Door) ofClient(ctx context.Context, id, action string, do func(in *Door, c client.Client) error) error {
	return d.Together(ctx, func(in *Door) error {
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

// SuspendTenant keeps everybody from everything that is for a tenant, until ResumeTenant: nothing
// is issued for it, its tokens are refused, its administrators' pages are closed. Its people,
// clients and grants stay; what people have in other tenants is not touched. Whoever does it again
// finishes what was cut short.
func (d *Door) SuspendTenant(ctx context.Context, id string) error {
	return d.ofTenant(ctx, id, "tenant.suspend", func(in *Door, t tenant.Tenant) error {
		since, err := in.Tenants.SuspendTenant(ctx, t.ID, in.now())
		if err != nil {
			return fmt.Errorf("suspending tenant %s: %w", t.ID, err)
		}
		return in.suspend(ctx, revocation.Tenant(t.ID), since)
	})
}

// ResumeTenant ends a tenant's suspension.
func (d *Door) ResumeTenant(ctx context.Context, id string) error {
	return d.ofTenant(ctx, id, "tenant.resume", func(in *Door, t tenant.Tenant) error {
		if err := in.Tenants.ResumeTenant(ctx, t.ID); err != nil {
			return fmt.Errorf("resuming tenant %s: %w", t.ID, err)
		}
		return in.resume(ctx, revocation.Tenant(t.ID))
	})
}

// DeleteTenant removes a tenant, with its memberships, roles, policy, clients, initial access
// tokens and trusted issuers, and then revokes every grant for it. Its people keep their accounts,
// the audit its records, and its id is never given again. What was cut short of the revoking, the
// server completes.
func (d *Door) DeleteTenant(ctx context.Context, id string) error {
	return d.ofTenant(ctx, id, "tenant.delete", func(in *Door, t tenant.Tenant) error {
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

// ofTenant does something to a tenant that must be there, after its audit line.
func (d *Door) ofTenant(ctx context.Context, id, action string, do func(in *Door, t tenant.Tenant) error) error {
	return d.Together(ctx, func(in *Door) error {
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

// suspend tells the list of a suspension, once it is committed.
func (d *Door) suspend(ctx context.Context, s revocation.Subject, since time.Time) error {
	return d.later.Do(ctx, func(ctx context.Context) error { return d.Ledger.Suspend(ctx, s, since) })
}

// resume tells the list that a suspension is over, once that is committed.
func (d *Door) resume(ctx context.Context, s revocation.Subject) error {
	return d.later.Do(ctx, func(ctx context.Context) error { return d.Ledger.Resume(ctx, s) })
}
