package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/trustedissuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// Enterprise-managed authorization (ID-JAG; RFC 7523 §2.1 with the profile of Identity Assertion
// JWT Authorization Grants): an organisation's own identity provider lets a client in for one of
// its people, and nobody is asked here. Such an issuer is trusted for one tenant, and for that
// tenant's members alone.
//
// A grant that assertions made goes on for as long as they come. When somebody ends it, assertions
// of before are worth nothing; a later one begins anew, because the provider is asked each time
// whether the client may.

// loadAssertion brings the grant that an assertion makes, and what may be had from it.
func (x *exchange) loadAssertion(ctx context.Context, form url.Values) error {
	if x.client.AuthMethod == client.AuthNone {
		return oauth.UnauthorizedClient("assertions of identity are for clients that prove who they are")
	}
	raw := form.Get("assertion")
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
	userID, err := x.asserted(ctx, id)
	if err != nil {
		return err
	}
	if err := x.assertedTarget(form, id.Resource); err != nil {
		return err
	}
	granted, err := x.assertedScopes(ctx, form, id, userID)
	if err != nil {
		return err
	}
	x.keep = func(ctx context.Context) error { return x.assert(ctx, id, userID, granted) }
	return nil
}

// assert uses the assertion up and keeps what it makes.
func (x *exchange) assert(ctx context.Context, id trustedissuer.Identity, userID string, granted []string) (err error) {
	g := grant.Grant{
		ID: newID("grt_"), TenantID: id.TenantID, ClientID: x.client.ID, UserID: userID, Resource: x.resource.URI,
		Scopes: granted, CreatedAt: x.now,
		AssertedBy: id.Issuer, AssertedAt: x.now,
	}
	x.grant, err = x.engine.Store.Assert(ctx, id.Assertion, g, audit.Event{
		Time: x.now, Actor: "issuer:" + id.Issuer, Action: "grant.create", Target: g.ID, Tenant: g.TenantID,
		Client: g.ClientID, Grant: g.ID,
		Detail: "client " + g.ClientID + " for " + userID + ": " + oauth.FormatScope(granted),
	})
	switch {
	case errors.Is(err, trustedissuer.ErrUsed):
		return oauth.InvalidGrant("the assertion was used before; get a new one")
	case errors.Is(err, trustedissuer.ErrEnded):
		return oauth.InvalidGrant("this permission was ended after the assertion had been made; get a new one")
	case errors.Is(err, grant.ErrSuspended): // just now
		return errSuspended
	case errors.Is(err, trustedissuer.ErrNotFound):
		return oauth.InvalidGrant("the issuer of the assertion is trusted no more, or knows the person by another " +
			"subject")
	case err != nil:
		return fmt.Errorf("keeping what was asserted: %w", err)
	case x.engine.ended(x.grant): // its revocation was interrupted, and SQL does not know of it yet
		return oauth.InvalidGrant("this permission was ended; try again in a minute with a new assertion")
	}
	return nil
}

// asserted finds out who the subject is: whom it was before; or else, at its first time, a member
// of the very tenant whose verified address is here already. Nobody is made by an assertion.
func (x *exchange) asserted(ctx context.Context, id trustedissuer.Identity) (userID string, err error) {
	userID, err = x.engine.Trust.Subject(ctx, id.Issuer, id.Subject)
	if err == nil || !errors.Is(err, trustedissuer.ErrNotFound) {
		return userID, err
	}
	unknown := oauth.InvalidGrant("the person of the assertion has no account in this organisation; its " +
		"administrator can make one with the same e-mail address")
	email, err := user.Normalize(id.Email)
	if err != nil {
		return "", unknown
	}
	u, err := x.engine.Users.UserByEmail(ctx, email)
	if errors.Is(err, user.ErrNotFound) {
		return "", unknown
	}
	if err != nil {
		return "", fmt.Errorf("reading a person: %w", err)
	}
	memberships, err := x.engine.Users.Memberships(ctx, u.ID)
	if err != nil {
		return "", fmt.Errorf("reading memberships: %w", err)
	}
	if !slices.ContainsFunc(memberships, func(m user.Membership) bool { return m.TenantID == id.TenantID }) {
		return "", unknown
	}
	return u.ID, nil
}

// assertedTarget is the resource of the assertion, which the request may name once more. Without
// either it is the default one.
func (x *exchange) assertedTarget(form url.Values, asserted string) error {
	if asserted == "" {
		resource, relaxed, err := x.engine.target(form)
		x.resource = resource
		x.relax(relaxed)
		return err
	}
	uri, err := oauth.ParseResource(asserted)
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
	relaxed, err := checkTarget(form, resource)
	x.relax(relaxed)
	return err
}

// assertedScopes are what the grant allows: asserted ∩ what is allowed here today; and of these
// what is asked for, narrowed without a word.
func (x *exchange) assertedScopes(ctx context.Context, form url.Values, id trustedissuer.Identity,
	userID string) (granted []string, err error) {
	allowed, err := x.allow(ctx, Holder{id.TenantID, userID})
	if err != nil {
		return nil, err
	}
	granted = oauth.Intersect(x.resource.ScopeNames(), allowed)
	if id.HasScope {
		asserted, err := oauth.ParseScope(id.Scope)
		if err != nil {
			return nil, oauth.InvalidGrant("the assertion's scope is malformed")
		}
		granted = oauth.Intersect(granted, asserted)
	}
	asked, err := oauth.ParseScope(form.Get("scope"))
	if err != nil {
		return nil, oauth.InvalidScope(err.Error())
	}
	switch asked = withoutOffline(asked); {
	case len(asked) > 0:
		x.scopes = oauth.Intersect(granted, asked)
	case id.HasScope:
		x.scopes = granted
	default: // nobody named any: the resource's baseline, as everywhere
		x.scopes = oauth.Intersect(granted, x.resource.Baseline())
	}
	if len(x.scopes) == 0 {
		return nil, oauth.InvalidScope("nothing of what is asked for is in the assertion and allowed here")
	}
	return granted, nil
}
