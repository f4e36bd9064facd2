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

// Token exchange (RFC 8693): a client turns an access token of ours into one that can do less, or
// that says who acts for whom.
//
// Two kinds of clients may: one that was given the token itself, which stays at the same server;
// and one that the operator made for a protected server, which was shown the token there and calls
// another server for its caller. Whoever exchanges proves who they are. What comes out hangs from
// the grant of what went in, never has a scope more, and never lives longer.

// The token types of RFC 8693 §3 that are taken and given.
const (
	TypeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	TypeJWT         = "urn:ietf:params:oauth:token-type:jwt"
)

// mostActors bounds how many times a token is passed on. Package token believes no more than a few
// above it.
const mostActors = 5

// loadExchange brings the subject's grant and what may be had from it.
func (x *exchange) loadExchange(ctx context.Context, form url.Values) error {
	if requested := form.Get("requested_token_type"); requested != "" && requested != TypeAccessToken &&
		requested != TypeJWT {
		return oauth.InvalidRequest("requested_token_type is not offered; use " + TypeAccessToken)
	}
	subject, err := x.presented(ctx, form, "subject_token")
	if err != nil {
		return err
	}
	if err := x.mayExchange(subject.claims); err != nil {
		return err
	}
	x.grant, x.until, x.actor, x.issued = subject.grant, subject.claims.Expires, subject.claims.Actor, TypeAccessToken
	if err := x.act(ctx, form, subject.claims); err != nil {
		return err
	}
	if err := x.exchangeTarget(form, subject.claims.Audience); err != nil {
		return err
	}
	return x.shrink(ctx, form, subject.claims)
}

// shown is an access token that a request presents, believed, with its living grant.
type shown struct {
	claims token.Claims
	grant  grant.Grant
}

// presented believes a token of the request. Whatever is wrong with it is invalid_request (RFC 8693
// §2.2.2).
func (x *exchange) presented(ctx context.Context, form url.Values, name string) (shown, error) {
	kind := form.Get(name + "_type")
	switch {
	case form.Get(name) == "" || kind == "":
		return shown{}, oauth.InvalidRequest(name + " or " + name + "_type is missing")
	case kind != TypeAccessToken && kind != TypeJWT:
		return shown{}, oauth.InvalidRequest(name + "_type is not offered; use " + TypeAccessToken)
	}
	claims, err := x.engine.believe(ctx, form.Get(name), 0)
	if err != nil {
		// one of package token's sentences
		return shown{}, oauth.InvalidRequest(name + " is not a valid access token of this issuer: " + err.Error())
	}
	g, err := x.engine.Grants.Grant(ctx, claims.GrantID)
	if errors.Is(err, grant.ErrNotFound) || err == nil && (x.engine.ended(g) || x.engine.Suspended(claims)) {
		return shown{}, oauth.InvalidRequest("the permission behind " + name + " has ended")
	}
	if err != nil {
		return shown{}, fmt.Errorf("reading the grant of %s: %w", name, err)
	}
	return shown{claims, g}, nil
}

// receives says whether a client is the protected server that a token is for.
func receives(c client.Client, claims token.Claims) bool {
	return c.Resource != "" && c.Resource == claims.Audience
}

func (x *exchange) mayExchange(subject token.Claims) error {
	switch {
	case x.client.AuthMethod == client.AuthNone:
		return oauth.UnauthorizedClient("token exchange is for clients that prove who they are")
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

// act says in the new token who acts for the subject: whom the actor_token names; or the server
// that passes its caller on; or nobody new.
func (x *exchange) act(ctx context.Context, form url.Values, subject token.Claims) error {
	next := &token.Actor{Subject: x.client.ID, ClientID: x.client.ID, Actor: subject.Actor}
	switch {
	case form.Has("actor_token") || form.Has("actor_token_type"):
		actor, err := x.presented(ctx, form, "actor_token")
		if err != nil {
			return err
		}
		bound := actor.claims.Confirmation.JKT
		switch {
		case actor.claims.TenantID != subject.TenantID:
			return oauth.InvalidRequest("the actor_token is of another tenant than the subject_token")
		case actor.claims.ClientID != x.client.ID:
			return oauth.InvalidRequest("the actor_token is not this client's own")
		case bound != "" && bound != x.jkt():
			return oauth.InvalidRequest("the actor_token is bound to a key that the request does not prove")
		}
		next.Subject, x.until = actor.claims.Subject, min(x.until, actor.claims.Expires)
	case subject.ClientID == x.client.ID:
		return nil
	}
	if next.Depth() > mostActors {
		return oauth.InvalidRequest("the token has been passed on too often")
	}
	x.actor = next
	return nil
}

// exchangeTarget is the server that the new token is for: the same, or for a server that passes its
// caller on, another of ours.
func (x *exchange) exchangeTarget(form url.Values, audience string) error {
	resource, served := x.engine.Resource(audience)
	if !served {
		return oauth.InvalidTarget("the resource of the subject_token is no longer served here")
	}
	// RFC 8693 §2.1 has both; ours are named by URI alone
	targets := append(slices.Clone(form["resource"]), form["audience"]...)
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

// shrink finds the scopes: asked ∩ what the subject's token has ∩ what is allowed today. Never one
// more.
func (x *exchange) shrink(ctx context.Context, form url.Values, subject token.Claims) error {
	asked, relaxed, err := x.engine.asked(form, x.resource)
	if err != nil {
		return err
	}
	x.relax(relaxed)
	if len(asked) == 0 {
		asked = subject.Scopes
	}
	if !oauth.Subset(asked, subject.Scopes) {
		return oauth.InvalidScope("the scope is wider than the subject_token's: " + oauth.FormatScope(subject.Scopes))
	}
	allowed, err := x.allow(ctx, Holder{x.grant.TenantID, x.grant.UserID})
	var refused *oauth.Error
	if errors.As(err, &refused) {
		return oauth.InvalidRequest(refused.Description)
	}
	if err != nil {
		return err
	}
	if receives(x.client, subject) {
		allowed = oauth.Intersect(allowed, x.client.Scopes) // what it may pass on was named; nothing named is nothing
	}
	if x.scopes = oauth.Intersect(asked, allowed, x.resource.ScopeNames()); len(x.scopes) == 0 {
		return oauth.InvalidScope("none of these scopes may be passed on by this client to " + x.resource.URI)
	}
	return nil
}
