package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// Token exchange (RFC 8693): a client exchanges an access token of ours for one with fewer scopes,
// or for one that says who acts for whom.
//
// Two kinds of clients may: the one that the token was issued to, for the same server; and one that
// the operator made for a protected server, which received the token and calls another server for
// its caller. Both authenticate. The new token belongs to the same grant, has no other scopes, and
// expires no later.

// The token types of RFC 8693 section 3 that are supported.
const (
	TypeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	TypeJWT         = "urn:ietf:params:oauth:token-type:jwt"
)

// maxActors bounds the chain of actors. Package token accepts a few more.
const maxActors = 5

// exchangeGrant is the grant type of token exchange (RFC 8693 section 2.1).
type exchangeGrant struct {
	consumesNothing
	accessTokenOnly
	subject token.Claims
}

func (g *exchangeGrant) load(ctx context.Context, x *exchange) error {
	if requested := x.form.Get("requested_token_type"); requested != "" && requested != TypeAccessToken &&
		requested != TypeJWT {
		return oauth.InvalidRequest("requested_token_type is not offered; use " + TypeAccessToken)
	}
	subject, granted, err := x.presentedToken(ctx, "subject_token")
	if err != nil {
		return err
	}
	if err := x.mayExchange(subject); err != nil {
		return err
	}
	g.subject, x.grant, x.notAfter = subject, granted, subject.Expires
	x.actor, x.issuedType = subject.Actor, TypeAccessToken
	return g.setActor(ctx, x)
}

func (g *exchangeGrant) authorize(ctx context.Context, x *exchange) error {
	if err := x.exchangeTarget(g.subject.Audience); err != nil {
		return err
	}
	return g.setScopes(ctx, x)
}

// presentedToken verifies an access token of ours that the request presents, and loads its grant,
// which must not be revoked. Whatever is wrong with it is invalid_request (RFC 8693 section 2.2.2).
func (x *exchange) presentedToken(ctx context.Context, name string) (token.Claims, grant.Grant, error) {
	raw, kind := x.form.Get(name), x.form.Get(name+"_type")
	switch {
	case raw == "" || kind == "":
		return token.Claims{}, grant.Grant{}, oauth.InvalidRequest(name + " or " + name + "_type is missing")
	case kind != TypeAccessToken && kind != TypeJWT:
		return token.Claims{}, grant.Grant{},
			oauth.InvalidRequest(name + "_type is not offered; use " + TypeAccessToken)
	}
	claims, err := x.engine.verify(ctx, raw, 0)
	if err != nil {
		// the text is one of package token's
		return token.Claims{}, grant.Grant{},
			oauth.InvalidRequest(name + " is not a valid access token of this issuer: " + err.Error())
	}
	g, err := x.engine.Grants.Grant(ctx, claims.GrantID)
	if errors.Is(err, grant.ErrNotFound) || err == nil && (x.engine.revoked(g) || x.engine.Suspended(claims)) {
		return token.Claims{}, grant.Grant{},
			oauth.InvalidRequest("the permission behind " + name + " has been revoked")
	}
	if err != nil {
		return token.Claims{}, grant.Grant{}, fmt.Errorf("load the grant of %s: %w", name, err)
	}
	return claims, g, nil
}

// receives reports whether a client is the protected server that a token is for.
func receives(c client.Client, claims token.Claims) bool {
	return c.Resource != "" && c.Resource == claims.Audience
}

func (x *exchange) mayExchange(subject token.Claims) error {
	switch {
	case x.client.AuthMethod == client.AuthNone:
		return oauth.UnauthorizedClient("token exchange is for clients that authenticate")
	case subject.Audience == x.engine.identity.URI:
		return oauth.InvalidRequest("a token for the userinfo endpoint cannot be exchanged")
	case subject.ClientID == x.client.ID && subject.Confirmation.JKT != "" && subject.Confirmation.JKT != x.jkt():
		return oauth.InvalidRequest("the subject_token is bound to a key that the request does not prove: send a " +
			"DPoP proof of it")
	case subject.ClientID != x.client.ID && subject.Confirmation.JKT != "" && x.proof == nil:
		return oauth.InvalidRequest("the subject_token is bound to a key, so that what comes of it must be, too: " +
			"send a DPoP proof of a key of this client's")
	case subject.ClientID != x.client.ID && !receives(x.client, subject):
		return oauth.InvalidRequest("the subject_token is another client's, and not for a server that this client is")
	}
	return nil
}

// setActor sets who acts for the subject: whom the actor_token names; or the server that passes its
// caller on; or the same as before.
func (g *exchangeGrant) setActor(ctx context.Context, x *exchange) error {
	subject := g.subject
	next := &token.Actor{Subject: x.client.ID, ClientID: x.client.ID, Actor: subject.Actor}
	switch {
	case x.form.Has("actor_token") || x.form.Has("actor_token_type"):
		actor, _, err := x.presentedToken(ctx, "actor_token")
		if err != nil {
			return err
		}
		bound := actor.Confirmation.JKT
		switch {
		case actor.TenantID != subject.TenantID:
			return oauth.InvalidRequest("the actor_token is of another tenant than the subject_token")
		case actor.ClientID != x.client.ID:
			return oauth.InvalidRequest("the actor_token is not this client's own")
		case bound != "" && bound != x.jkt():
			return oauth.InvalidRequest("the actor_token is bound to a key that the request does not prove")
		}
		next.Subject, x.notAfter = actor.Subject, min(x.notAfter, actor.Expires)
	case subject.ClientID == x.client.ID:
		return nil
	}
	if next.Depth() > maxActors {
		return oauth.InvalidRequest("the token has been passed on too often")
	}
	x.actor = next
	return nil
}

// exchangeTarget sets the resource of the new token: the same, or for a server that passes its
// caller on, another of ours.
func (x *exchange) exchangeTarget(audience string) error {
	resource, served := x.engine.Resource(audience)
	if !served {
		return oauth.InvalidTarget("the resource of the subject_token is no longer served here")
	}
	// RFC 8693 section 2.1 has both; our resources are named by URI alone
	targets := append(slices.Clone(x.form["resource"]), x.form["audience"]...)
	for i, raw := range targets {
		named, _, err := x.engine.target(url.Values{"resource": {raw}})
		if err != nil {
			return err
		}
		if i > 0 && named.URI != resource.URI {
			return oauth.InvalidTarget("a token is for one resource; name one")
		}
		resource = named
	}
	passesOn := x.client.Resource == audience
	switch {
	case !passesOn && resource.URI != audience || resource.URI == x.engine.identity.URI:
		return oauth.InvalidTarget("this permission is for " + audience)
	case passesOn && resource.URI == audience:
		return oauth.InvalidTarget("a server passes its callers on to another one: name it as resource")
	}
	x.resource = resource
	return nil
}

// setScopes sets the scopes: those requested that the subject_token has and that are allowed today.
func (g *exchangeGrant) setScopes(ctx context.Context, x *exchange) error {
	requested, err := x.requested()
	if err != nil {
		return err
	}
	if len(requested) == 0 {
		requested = g.subject.Scopes
	}
	if !oauth.Subset(requested, g.subject.Scopes) {
		return oauth.InvalidScope("the scope is wider than the subject_token's: " + oauth.FormatScope(g.subject.Scopes))
	}
	allowed, err := x.allow(ctx, Holder{x.grant.TenantID, x.grant.UserID})
	var denied *oauth.Error
	if errors.As(err, &denied) {
		return oauth.InvalidRequest(denied.Description)
	}
	if err != nil {
		return err
	}
	if receives(x.client, g.subject) {
		allowed = oauth.Intersect(allowed, x.client.Scopes) // it may pass on the scopes that were named for it, or none
	}
	if x.scopes = oauth.Intersect(requested, allowed, x.resource.ScopeNames()); len(x.scopes) == 0 {
		return oauth.InvalidScope("none of these scopes may be passed on by this client to " + x.resource.URI)
	}
	return nil
}
