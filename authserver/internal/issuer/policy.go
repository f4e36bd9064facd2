package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// What a client may do today. Whatever a grant allowed once, each token is checked against the
// client's scopes, the tenant's policy and the person's role anew.

// Holder is for whom a client acts.
type Holder struct {
	TenantID string
	UserID   string // empty: for the tenant itself, as a machine client does
}

// Allowance is what a client may do for a holder at most, and the policy of the tenant.
type Allowance struct {
	Scopes []string
	Policy tenant.Policy
}

// Allowed returns what a client may do for a holder at most, today: the scopes that the client,
// the policy of the tenant and the role of the person have in common. The error is an *oauth.Error
// when the tenant denies the client, or the person does not belong to it.
func Allowed(ctx context.Context, tenants tenant.Store, users user.Store, c client.Client, h Holder) (Allowance,
	error) {
	t, err := tenants.Tenant(ctx, h.TenantID)
	if errors.Is(err, tenant.ErrNotFound) {
		return Allowance{}, oauth.InvalidGrant("the tenant of this permission is gone; ask the person again")
	}
	if err != nil {
		return Allowance{}, err
	}
	if why := DenyReason(t, c); why != "" {
		return Allowance{}, oauth.InvalidGrant(why)
	}
	a := Allowance{Policy: t.Policy}
	if h.UserID == "" {
		a.Scopes = oauth.Intersect(c.Scopes, t.Scopes)
		return a, nil
	}
	memberships, err := users.Memberships(ctx, h.UserID)
	if err != nil {
		return Allowance{}, err
	}
	i := slices.IndexFunc(memberships, func(m user.Membership) bool { return m.TenantID == h.TenantID })
	if i < 0 {
		return Allowance{},
			oauth.InvalidGrant("the person who gave this permission no longer belongs to the tenant; ask somebody " +
				"who does")
	}
	a.Scopes = withinClient(oauth.Intersect(memberships[i].Scopes, t.Scopes), c)
	return a, nil
}

// withinClient keeps the scopes that a client is limited to. A client without a limit may have all
// that a person allows.
func withinClient(scopes []string, c client.Client) []string {
	if len(c.Scopes) == 0 {
		return scopes
	}
	return oauth.Intersect(scopes, c.Scopes)
}

// DenyReason says in plain words why a tenant denies a client, by its policy or because it is
// suspended; empty: it does not. A protected server is not asked about: it acts for the client
// that called it, and the policy is asked about that.
func DenyReason(t tenant.Tenant, c client.Client) string {
	if !t.SuspendedAt.IsZero() {
		return "the organisation " + t.Name + " is suspended; ask its administrator"
	}
	if c.Resource != "" {
		return ""
	}
	why := t.Refuses(c.ID, c.Kind())
	if why == "" {
		return ""
	}
	return "the organisation " + t.Name + " does not allow this application: " + why + "; ask its administrator"
}

// allow returns the scopes that the client of the request may have for a holder, and sets the
// policy, without which Token issues nothing.
func (x *exchange) allow(ctx context.Context, h Holder) ([]string, error) {
	a, err := Allowed(ctx, x.engine.Tenants, x.engine.Users, x.client, h)
	if err != nil {
		return nil, err
	}
	if x.grant.ClientID != "" && x.grant.ClientID != x.client.ID && a.Policy.Picks() {
		if err := x.agentAllowed(ctx, h.TenantID); err != nil {
			return nil, err
		}
	}
	x.policy = &a.Policy
	return a.Scopes, nil
}

// agentAllowed checks the policy for the client of the grant, when another client passes its token
// on.
func (x *exchange) agentAllowed(ctx context.Context, tenantID string) error {
	agent, err := x.engine.Clients.Client(ctx, x.grant.ClientID)
	if errors.Is(err, client.ErrNotFound) {
		return oauth.InvalidGrant("the client of this permission is gone")
	}
	if err != nil {
		return fmt.Errorf("load the client of a grant: %w", err)
	}
	t, err := x.engine.Tenants.Tenant(ctx, tenantID)
	if err != nil {
		return fmt.Errorf("load tenant: %w", err)
	}
	if why := DenyReason(t, agent); why != "" {
		return oauth.InvalidGrant(why)
	}
	return nil
}

func overdue(p tenant.Policy) string {
	return "the organisation lets a permission be renewed for " + p.MaxRefreshTokenLifetime.String() +
		"; ask the person again"
}

// checkTenant refuses a client of a tenant that denies it. For clients of no tenant that is
// checked after the sign-in: see Offers.
func (e *Engine) checkTenant(ctx context.Context, c client.Client) error {
	if c.TenantID == "" {
		return nil
	}
	t, err := e.Tenants.Tenant(ctx, c.TenantID)
	if errors.Is(err, tenant.ErrNotFound) {
		return oauth.AccessDenied("the organisation of this client is gone")
	}
	if err != nil {
		return fmt.Errorf("load the tenant of a client: %w", err)
	}
	if why := DenyReason(t, c); why != "" {
		return oauth.AccessDenied(why)
	}
	return nil
}

// RefuseOffers refuses a request that none of these tenants allows.
func (e *Engine) RefuseOffers(ctx context.Context, a *Authorization, offers ...Offer) *Refusal {
	var why []string
	for _, o := range offers {
		why = append(why, o.DenyReason)
	}
	refused := &oauth.Error{Code: "access_denied", Description: strings.Join(why, ". "), Status: http.StatusForbidden}
	if a.RedirectURI == "" { // of a device
		return &Refusal{Err: refused}
	}
	return e.refuse(ctx, a, refused)
}
