package issuer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/trustedissuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// Enterprise-managed authorization (ID-JAG; RFC 7523 section 2.1 with the profile of Identity
// Assertion JWT Authorization Grants): the identity provider of an organisation allows a client for
// one of its people, who is not asked here. Such an issuer is trusted for one tenant, and for the
// members of that tenant alone.
//
// A grant by assertions lasts as long as new ones come. When it is revoked, assertions of before
// are invalid; a later one makes a new grant, because the identity provider decides each time.

// assertionGrant is the grant type of JWT assertions (RFC 7523 section 2.1), for ID-JAGs.
type assertionGrant struct {
	accessTokenOnly
	identity trustedissuer.Identity
	userID   string
	scopes   []string // of the grant
}

func (g *assertionGrant) load(ctx context.Context, x *exchange) error {
	if x.client.AuthMethod == client.AuthNone {
		return oauth.UnauthorizedClient("assertions of identity are for clients that authenticate")
	}
	raw := x.form.Get("assertion")
	if raw == "" {
		return oauth.InvalidRequest("assertion is missing")
	}
	id, err := x.engine.Identities.Identity(ctx, raw)
	if errors.Is(err, trustedissuer.ErrNotAccepted) {
		httpd.Note(ctx, "error", err)
		var known interface{ InvalidReason() string }
		if errors.As(err, &known) {
			return errors.Join(oauth.InvalidGrant("the signature of the assertion holds, but "+known.InvalidReason()),
				err)
		}
		return errors.Join(oauth.InvalidGrant("the assertion is not an ID-JAG that a trusted issuer made for this "+
			"server, now: typ oauth-id-jag+jwt, aud "+x.engine.Issuer+", exp within an hour"), err)
	}
	if err != nil {
		return err
	}
	if id.ClientID != x.client.ID {
		return oauth.InvalidGrant("the assertion is for another client")
	}
	if x.client.TenantID != "" && x.client.TenantID != id.TenantID {
		return oauth.InvalidGrant("this client belongs to another organisation than the assertion's")
	}
	g.identity = id
	g.userID, err = x.engine.assertedUser(ctx, id)
	return err
}

func (g *assertionGrant) authorize(ctx context.Context, x *exchange) error {
	if err := g.setTarget(x); err != nil {
		return err
	}
	return g.setScopes(ctx, x)
}

// consume uses the assertion up and keeps the grant that it makes.
func (g *assertionGrant) consume(ctx context.Context, x *exchange) (err error) {
	id := g.identity
	made := grant.Grant{
		ID: newID("grt_"), TenantID: id.TenantID, ClientID: x.client.ID, UserID: g.userID, Resource: x.resource.URI,
		Scopes: g.scopes, CreatedAt: x.now, AssertedBy: id.Issuer, AssertedAt: x.now,
	}
	x.grant, err = x.engine.Store.Assert(ctx, id.Assertion, made, audit.Event{
		Time: x.now, Actor: "issuer:" + id.Issuer, Action: "grant.create", Target: made.ID, Tenant: made.TenantID,
		Client: made.ClientID, Grant: made.ID,
		Detail: "client " + made.ClientID + " for " + g.userID + ": " + oauth.FormatScope(g.scopes),
	})
	switch {
	case errors.Is(err, trustedissuer.ErrUsed):
		return oauth.InvalidGrant("the assertion was used before; get a new one")
	case errors.Is(err, trustedissuer.ErrEnded):
		return oauth.InvalidGrant("this permission was revoked after the assertion had been made; get a new one")
	case errors.Is(err, grant.ErrSuspended): // in the meantime
		return errSuspended
	case errors.Is(err, trustedissuer.ErrNotFound):
		return oauth.InvalidGrant("the issuer of the assertion is no longer trusted, or knows the person by another " +
			"subject")
	case err != nil:
		return fmt.Errorf("store the grant of an assertion: %w", err)
	case x.engine.revoked(x.grant): // its revocation was interrupted, and SQL does not know of it yet
		return oauth.InvalidGrant("this permission was revoked; try again in a minute with a new assertion")
	}
	return nil
}

// assertedUser finds the user of an assertion's subject: the one that it was before; or else, the
// first time, a member of the tenant with the same verified address. An assertion makes no account.
func (e *Engine) assertedUser(ctx context.Context, id trustedissuer.Identity) (userID string, err error) {
	userID, err = e.Trust.Subject(ctx, id.Issuer, id.Subject)
	if err == nil || !errors.Is(err, trustedissuer.ErrNotFound) {
		return userID, err
	}
	unknown := oauth.InvalidGrant("the person of the assertion has no account in this organisation; its " +
		"administrator can make one with the same e-mail address")
	email, err := user.Normalize(id.Email)
	if err != nil {
		return "", unknown
	}
	u, err := e.Users.UserByEmail(ctx, email)
	if errors.Is(err, user.ErrNotFound) {
		return "", unknown
	}
	if err != nil {
		return "", fmt.Errorf("load user: %w", err)
	}
	memberships, err := e.Users.Memberships(ctx, u.ID)
	if err != nil {
		return "", fmt.Errorf("load memberships: %w", err)
	}
	if !slices.ContainsFunc(memberships, func(m user.Membership) bool { return m.TenantID == id.TenantID }) {
		return "", unknown
	}
	return u.ID, nil
}

// setTarget sets the resource of the assertion, which the request may name once more. Without
// either it is the default one.
func (g *assertionGrant) setTarget(x *exchange) error {
	if g.identity.Resource == "" {
		return x.setTarget()
	}
	uri, err := oauth.ParseResource(g.identity.Resource)
	if err != nil {
		return oauth.InvalidGrant("the assertion's resource is not the URI of one")
	}
	resource, alias, ok := x.engine.named(uri)
	if !ok || resource.URI == x.engine.identity.URI {
		return oauth.InvalidGrant("the assertion is for a resource that is not served here; expected " +
			x.engine.Resources.All()[0].URI)
	}
	if alias {
		x.relax(RelaxedResourceAlias)
	}
	x.resource = resource
	relaxed, err := checkTarget(x.form, resource)
	x.relax(relaxed)
	return err
}

// setScopes sets the scopes of the grant, which are those asserted that are allowed today, and
// those of the token: of these the requested ones. Others are left out without an error.
func (g *assertionGrant) setScopes(ctx context.Context, x *exchange) error {
	allowed, err := x.allow(ctx, Holder{g.identity.TenantID, g.userID})
	if err != nil {
		return err
	}
	g.scopes = oauth.Intersect(x.resource.ScopeNames(), allowed)
	if g.identity.HasScope {
		asserted, err := oauth.ParseScope(g.identity.Scope)
		if err != nil {
			return oauth.InvalidGrant("the assertion's scope is malformed")
		}
		g.scopes = oauth.Intersect(g.scopes, asserted)
	}
	requested, err := oauth.ParseScope(x.form.Get("scope"))
	if err != nil {
		return oauth.InvalidScope(err.Error())
	}
	switch requested = withoutOffline(requested); {
	case len(requested) > 0:
		x.scopes = oauth.Intersect(g.scopes, requested)
	case g.identity.HasScope:
		x.scopes = g.scopes
	default: // neither names any: the resource's baseline, as everywhere
		x.scopes = oauth.Intersect(g.scopes, x.resource.Baseline())
	}
	if len(x.scopes) == 0 {
		return oauth.InvalidScope("none of the requested scopes is in the assertion and allowed here")
	}
	return nil
}
