package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// ScopesAsked says whose scopes are wanted.
type ScopesAsked struct {
	Client string
	Tenant string
	// an id or an e-mail address; empty: the tenant's own client, or the member of the tenant who
	// may do most
	User string
}

// ScopesFound is the most that a client may get, and what limits it.
type ScopesFound struct {
	Scopes []string
	Limits []string // sentences
}

// ClientScopes returns the most that a client may get for a tenant now: bounded by the client, the
// tenant's policy and the person's role. A person may consent to less.
func (d *API) ClientScopes(ctx context.Context, a ScopesAsked) (ScopesFound, error) {
	c, err := d.Clients.RegisteredClient(ctx, a.Client)
	if errors.Is(err, client.ErrNotFound) {
		return ScopesFound{}, &Refusal{Reason: fmt.Sprintf("there is no client %.80q", a.Client),
			Hint: "gatehouse client list shows them", Err: err}
	}
	if err != nil {
		return ScopesFound{}, fmt.Errorf("reading a client: %w", err)
	}
	t, err := d.tenant(ctx, a.Tenant)
	if err != nil {
		return ScopesFound{}, err
	}
	if c.TenantID != "" && c.TenantID != t.ID {
		return ScopesFound{}, refuse("", "client %s belongs to tenant %s alone", c.ID, c.TenantID)
	}
	f := ScopesFound{Limits: d.limits(c, t)}
	if why := issuer.DenyReason(t, c); why != "" {
		f.Limits = append(f.Limits, why)
		return f, nil
	}
	if a.User != "" {
		f.Scopes, err = d.personScopes(ctx, c, t, a.User)
		f.Limits = append(f.Limits, "within the person's role there is: "+oauth.FormatScope(f.Scopes))
		return f, err
	}
	if c.TenantID == "" {
		f.Limits = append(f.Limits, "a person's role can make it less; name one with --user")
	}
	if c.TenantID == "" && len(c.Scopes) == 0 { // without a bound of its own, a person's grant is not limited
		f.Scopes = t.Scopes
		return f, nil
	}
	allowed, err := issuer.Allowed(ctx, d.Tenants, d.Users, c, issuer.Holder{TenantID: t.ID})
	f.Scopes = allowed.Scopes
	return f, err
}

func (d *API) personScopes(ctx context.Context, c client.Client, t tenant.Tenant, who string) ([]string, error) {
	u, err := d.user(ctx, who)
	if err != nil {
		return nil, err
	}
	allowed, err := issuer.Allowed(ctx, d.Tenants, d.Users, c, issuer.Holder{TenantID: t.ID, UserID: u.ID})
	var refused *oauth.Error
	if errors.As(err, &refused) {
		return nil, refuse("gatehouse member put brings them into it",
			"%s does not belong to tenant %s, or is disabled", who, t.ID)
	}
	return allowed.Scopes, err
}

// limits says which scopes the client and the tenant's policy leave out.
func (d *API) limits(c client.Client, t tenant.Tenant) (limits []string) {
	all, _ := d.scopes()
	missing := func(of []string) string {
		return oauth.FormatScope(slices.DeleteFunc(slices.Clone(all),
			func(s string) bool { return slices.Contains(of, s) }))
	}
	if left := missing(c.Scopes); left != "" && (len(c.Scopes) > 0 || c.TenantID != "") {
		limits = append(limits, "the client may not have: "+left)
	}
	if left := missing(t.Scopes); left != "" {
		limits = append(limits, "the tenant's policy leaves out: "+left)
	}
	return limits
}
