package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// PolicySpec says what to change of a tenant's policy; see tenant.Policy. nil is unchanged.
type PolicySpec struct {
	Tenant                                          string
	Scopes, Clients, Registrations                  *[]string
	MaxAccessTokenLifetime, MaxRefreshTokenLifetime *time.Duration
	// AddScopes and RemoveScopes change the policy's scopes, instead of Scopes. A scope in both is
	// removed.
	AddScopes, RemoveScopes []string
	Force                   Force
}

// ShowPolicy returns a tenant's policy.
func (d *API) ShowPolicy(ctx context.Context, tenantID string) (tenant.Policy, error) {
	t, err := d.tenant(ctx, tenantID)
	return t.Policy, err
}

// SetPolicy changes and returns a tenant's policy. It applies from the next token and authorization
// request on.
func (d *API) SetPolicy(ctx context.Context, s PolicySpec) (p tenant.Policy, err error) {
	err = d.Together(ctx, func(in *API) error {
		t, err := in.tenant(ctx, s.Tenant)
		if err != nil {
			return err
		}
		if p, err = in.policy(ctx, t, s); err != nil {
			return err
		}
		if !s.Force {
			if err := in.leavesAdmins(ctx, t, p); err != nil {
				return err
			}
		}
		e := policySet(t.ID, p)
		e.Detail = s.Force.Detail(e.Detail)
		if err := in.record(ctx, e); err != nil {
			return err
		}
		return in.Tenants.PutPolicy(ctx, t.ID, p)
	})
	return p, err
}

// policy returns the tenant's policy with the changes.
func (d *API) policy(ctx context.Context, t tenant.Tenant, s PolicySpec) (tenant.Policy, error) {
	p := t.Policy
	all, _ := d.scopes()
	if s.Scopes != nil {
		if err := clientadmin.Known(*s.Scopes, all); err != nil {
			return p, err
		}
		if p.Scopes = once(*s.Scopes); len(p.Scopes) == 0 {
			return p, refuse("there are: "+oauth.FormatScope(all), "the policy would allow no scope")
		}
	}
	if len(s.AddScopes)+len(s.RemoveScopes) > 0 {
		if s.Scopes != nil {
			return p, refuse("give all scopes, or those to add and to remove",
				"scopes are set, and added or removed, at once")
		}
		if err := clientadmin.Known(s.AddScopes, all); err != nil {
			return p, err
		}
		p.Scopes = slices.DeleteFunc(once(slices.Concat(p.Scopes, s.AddScopes)),
			func(scope string) bool { return slices.Contains(s.RemoveScopes, scope) })
		if len(p.Scopes) == 0 {
			return p, refuse("there are: "+oauth.FormatScope(all), "the policy would allow no scope")
		}
	}
	if s.Registrations != nil {
		p.Registrations = once(*s.Registrations)
		for _, kind := range p.Registrations {
			if !slices.Contains(client.Kinds(), kind) {
				return p, refuse("", "clients do not become known as %.80q; the ways are: %s", kind,
					strings.Join(client.Kinds(), ", "))
			}
		}
	}
	if s.Clients != nil {
		p.Clients = once(*s.Clients)
		if err := d.nameable(ctx, t, p.Clients); err != nil {
			return p, err
		}
	}
	if s.MaxAccessTokenLifetime != nil {
		p.MaxAccessTokenLifetime = *s.MaxAccessTokenLifetime
	}
	if s.MaxRefreshTokenLifetime != nil {
		p.MaxRefreshTokenLifetime = *s.MaxRefreshTokenLifetime
	}
	return p, errors.Join(span("the life of tokens", p.MaxAccessTokenLifetime, tenant.MinTokenLife),
		span("the time of renewal", p.MaxRefreshTokenLifetime, tenant.MinRefreshLife))
}

// span checks a bound of the policy.
func span(what string, d, least time.Duration) error {
	if d != 0 && (d < least || d > tenant.MaxLife || d%time.Second != 0) {
		return refuse("", "%s can be bounded by whole seconds from %s to ten years, or by 0: as the issuer has it",
			what, least)
	}
	return nil
}

// nameable checks that a tenant's policy can name these clients: registered ones that are not
// another tenant's, and URLs of metadata documents.
func (d *API) nameable(ctx context.Context, t tenant.Tenant, ids []string) error {
	if len(ids) > tenant.MaxClients {
		return refuse("", "a policy can name %d clients", tenant.MaxClients)
	}
	for _, id := range ids {
		if client.IsDocumentURL(id) && client.CheckDocumentURL(id) == nil {
			continue
		}
		c, err := d.Clients.RegisteredClient(ctx, id)
		if errors.Is(err, client.ErrNotFound) || err == nil && c.TenantID != "" && c.TenantID != t.ID {
			return &Refusal{Reason: fmt.Sprintf("tenant %s cannot allow client %.80q: there is none that it could",
				t.ID, id), Hint: "gatehouse client list shows them", Err: client.ErrNotFound}
		}
		if err != nil {
			return fmt.Errorf("reading a client: %w", err)
		}
	}
	return nil
}

// leavesAdmins rejects a policy under which no administrator of the tenant could authorize any
// agent, if one can now.
func (d *API) leavesAdmins(ctx context.Context, t tenant.Tenant, p tenant.Policy) error {
	held, err := d.Users.HeldRoles(ctx, t.ID)
	if err != nil {
		return fmt.Errorf("reading which roles of %s somebody has: %w", t.ID, err)
	}
	roles, err := d.Users.Roles(ctx, t.ID)
	if err != nil {
		return fmt.Errorf("reading the roles of %s: %w", t.ID, err)
	}
	if adminsCan(held, roles, t.Scopes) && !adminsCan(held, roles, p.Scopes) {
		refused := wouldShutOut(t.ID, p)
		refused.Hint += clientadmin.ByForce
		return refused
	}
	return nil
}

// lookedAfter reports whether a role that a member has administers the tenant; held are the roles
// that members have.
func lookedAfter(held []string, roles []user.Role) bool {
	return slices.ContainsFunc(roles, func(role user.Role) bool {
		return role.Admin &&
			slices.Contains(held, role.Name)
	})
}

// adminsCan reports whether an administrator of the tenant could authorize an agent with these
// roles and policy scopes.
func adminsCan(held []string, roles []user.Role, scopes []string) bool {
	return slices.ContainsFunc(roles, func(role user.Role) bool {
		return role.Admin && slices.Contains(held, role.Name) && len(oauth.Intersect(role.Gives, scopes)) > 0
	})
}

func wouldShutOut(tenantID string, p tenant.Policy) *Refusal {
	return refuse("give a role of theirs one of these scopes first, or leave one in that they have (gatehouse role "+
		"list --tenant "+tenantID+" shows the roles)",
		"with the scopes %s, no administrator of tenant %s could authorize any agent", oauth.FormatScope(p.Scopes),
		tenantID)
}

// policySet returns the audit event of a changed policy.
func policySet(tenantID string, p tenant.Policy) audit.Event {
	return audit.Event{Action: "policy.set", Target: tenantID, Tenant: tenantID, Detail: describedPolicy(p)}
}

// describedPolicy returns a policy as audit records show it.
func describedPolicy(p tenant.Policy) string {
	parts := []string{"scopes " + oauth.FormatScope(p.Scopes)}
	if len(p.Clients) > 0 {
		parts = append(parts, "clients "+strings.Join(p.Clients, " "))
	}
	if len(p.Registrations) > 0 {
		parts = append(parts, "registrations "+strings.Join(p.Registrations, " "))
	}
	if p.MaxAccessTokenLifetime > 0 {
		parts = append(parts, "tokens live "+p.MaxAccessTokenLifetime.String())
	}
	if p.MaxRefreshTokenLifetime > 0 {
		parts = append(parts, "renewable for "+p.MaxRefreshTokenLifetime.String())
	}
	return strings.Join(parts, "; ")
}
