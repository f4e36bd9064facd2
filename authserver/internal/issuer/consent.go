package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// Offer is what a person could allow in one of their tenants.
type Offer struct {
	TenantID, TenantName, Role string
	Scopes                     []Scope       // may be empty
	AccessTokenLifetime        time.Duration // the policy's, or the resource's
	RefreshTokenLifetime       time.Duration // for how long the grant can be renewed
	RefreshTokenIdleTimeout    time.Duration // for how long it can be renewed when it is not used
	// why the tenant's policy denies the client, in plain words; empty: it allows it
	DenyReason string
}

// Consent is what a person allowed.
type Consent struct {
	SignedIn
	TenantID string
	Scopes   []string // ticked
	origin   string   // the earlier grant, when the person was not asked again
}

// Offers lists what the person could allow the client in each tenant: the requested scopes that
// the client, the policy of the tenant and the role of the person allow. A client that belongs to
// a tenant is offered in no other.
func (e *Engine) Offers(ctx context.Context, a *Authorization, userID string) ([]Offer, error) {
	memberships, err := e.Users.Memberships(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("load memberships: %w", err)
	}
	var offers []Offer
	for _, m := range memberships {
		if a.Client.TenantID != "" && a.Client.TenantID != m.TenantID {
			continue
		}
		t, err := e.Tenants.Tenant(ctx, m.TenantID)
		if err != nil {
			return nil, fmt.Errorf("load tenant: %w", err)
		}
		o := Offer{TenantID: m.TenantID, TenantName: t.Name, Role: m.Role,
			AccessTokenLifetime:     t.Life(a.Resource.AccessTokenLifetime),
			RefreshTokenLifetime:    t.Renewable(e.RefreshTokenLifetime),
			RefreshTokenIdleTimeout: e.RefreshTokenIdleTimeout}
		if o.DenyReason = e.denyReason(a, t); o.DenyReason != "" {
			offers = append(offers, o)
			continue
		}
		for _, name := range e.offer(a, m.Scopes, t.Scopes) {
			if s, ok := a.Resource.Scope(name); ok {
				o.Scopes = append(o.Scopes, s)
			}
		}
		offers = append(offers, o)
	}
	return offers, nil
}

// denyReason says why the policy of a tenant denies this request to everybody; empty: it does not.
func (e *Engine) denyReason(a *Authorization, t tenant.Tenant) string {
	if why := DenyReason(t, a.Client); why != "" {
		return why
	}
	asked := oauth.Intersect(a.Scopes, a.Resource.ScopeNames())
	if a.Resource.URI != e.identity.URI && len(oauth.Intersect(asked, t.Scopes)) == 0 {
		return "the policy of the organisation " + t.Name + " allows nothing of what this application asks for: " +
			oauth.FormatScope(asked) + "; ask its administrator"
	}
	return ""
}

// offer returns the requested scopes that a role and a tenant allow. Where they allow none of the
// resource, there is no offer of OpenID Connect alone.
func (e *Engine) offer(a *Authorization, role, tenant []string) []string {
	if a.Resource.URI == e.identity.URI {
		return a.Scopes
	}
	allowed := oauth.Intersect(a.Scopes, role, tenant)
	if len(allowed) == 0 {
		return nil
	}
	return oauth.Intersect(a.Scopes, append(allowed, IdentityScopes()...))
}

// Approve makes the grant and its code and returns the URL to redirect to. It checks the whole
// request again, because something may have changed since the page was shown. A scope that was not
// offered is an error.
func (e *Engine) Approve(ctx context.Context, form url.Values, c Consent) (string, error) {
	a, err := e.Authorize(ctx, form)
	if err != nil {
		return "", err
	}
	offered, err := e.offered(ctx, a, c)
	if err != nil {
		return "", err
	}
	if !a.grantsAny(c.Scopes) {
		return "", ErrNothingAllowed
	}
	if !oauth.Subset(c.Scopes, offered) {
		return "", &Refusal{Err: oauth.InvalidRequest("something was ticked that was not offered; start again from " +
			"your application")}
	}
	now := e.now()
	g := a.grant(c, oauth.Intersect(offered, c.Scopes), now)
	code := newToken(codePrefix)
	err = e.storeCode(ctx, g, Code{
		Hash: client.TokenHash(code), GrantID: g.ID, ClientID: a.Client.ID, RedirectURI: a.RedirectURI,
		Challenge: form.Get("code_challenge"), Nonce: form.Get("nonce"), JKT: form.Get("dpop_jkt"), CreatedAt: now,
		ExpiresAt: now.Add(e.AuthorizationCodeLifetime),
	}, "")
	if err != nil {
		return "", err
	}
	return e.redirectURL(a, url.Values{"code": {code}}), nil
}

// ErrNothingAllowed says that a person approved a request without allowing any of its scopes.
// Nothing is decided then.
var ErrNothingAllowed = errors.New("no scope was allowed")

// Denied is the error that the client gets when the person denied the request.
var Denied = oauth.AccessDenied("the person denied the request; do not ask again by yourself")

// Deny records that the person denied the request and returns the URL to redirect to.
func (e *Engine) Deny(ctx context.Context, form url.Values, who SignedIn) (string, error) {
	a, err := e.Authorize(ctx, form)
	if err != nil {
		return "", err
	}
	if err := e.recordDenial(ctx, who, a.Client.ID, a.Resource.URI, a.Scopes); err != nil {
		return "", err
	}
	return e.refuse(ctx, a, Denied).RedirectTo, nil
}

// recordDenial writes the audit event of a denied request.
func (e *Engine) recordDenial(ctx context.Context, who SignedIn, clientID, resource string, scopes []string) error {
	err := e.Audit.Record(ctx, audit.Event{
		Time: e.now(), Actor: "user:" + who.UserID, Action: "consent.deny", Target: clientID, Client: clientID,
		Outcome: audit.Refused,
		Detail:  oauth.FormatScope(scopes) + " for " + resource,
	})
	if err != nil {
		return fmt.Errorf("write the audit event of a denial: %w", err)
	}
	return nil
}

func (e *Engine) offered(ctx context.Context, a *Authorization, c Consent) ([]string, error) {
	offers, err := e.Offers(ctx, a, c.UserID)
	if err != nil {
		return nil, err
	}
	for _, o := range offers {
		if o.TenantID != c.TenantID {
			continue
		}
		if o.DenyReason != "" {
			return nil, e.RefuseOffers(ctx, a, o)
		}
		names := make([]string, len(o.Scopes))
		for i, s := range o.Scopes {
			names[i] = s.Name
		}
		return names, nil
	}
	return nil, &Refusal{Err: oauth.InvalidRequest("you do not belong to this tenant any more; start again from your " +
		"application")}
}

// grant returns a new grant of the scopes that a person allowed.
func (a *Authorization) grant(c Consent, granted []string, now time.Time) grant.Grant {
	return grant.Grant{
		ID: newID("grt_"), TenantID: c.TenantID, ClientID: a.Client.ID, UserID: c.UserID, Resource: a.Resource.URI,
		Scopes: granted, CreatedAt: now,
		SignedInAt: c.SignedInAt.UTC().Truncate(time.Second), DerivedFrom: c.origin,
	}
}

// storeCode stores a new grant, its code and the audit event, whose detail says how if it is not a
// redirect.
func (e *Engine) storeCode(ctx context.Context, g grant.Grant, code Code, how string) error {
	event := audit.Event{
		Time: g.CreatedAt, Actor: "user:" + g.UserID, Action: "grant.create", Target: g.ID, Tenant: g.TenantID,
		Client: g.ClientID, Grant: g.ID,
		Detail: "client " + g.ClientID + how + ": " + oauth.FormatScope(g.Scopes),
	}
	err := e.Store.PutCode(ctx, g, code, event)
	if errors.Is(err, user.ErrNotFound) { // disabled or deleted in the meantime
		return &Refusal{Err: oauth.InvalidRequest("your account cannot be used any more")}
	}
	if errors.Is(err, grant.ErrSuspended) { // in the meantime
		return errSuspended
	}
	if err != nil {
		return fmt.Errorf("store a code: %w", err)
	}
	return nil
}
