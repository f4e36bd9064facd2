package issuer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/shared/jws"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// Leeway is how far apart the clocks of issuer and resource may be.
const Leeway = 30 * time.Second

// Introspection is what a token is worth now (RFC 7662 §2.2). The zero value is "not active", which
// is all that is said of a token that is not the asker's.
type Introspection struct {
	Active bool
	Type   string // "access_token" or "refresh_token"
	Claims token.Claims
}

// Introspect says what a token of the asking client is worth, or an access token for the protected
// server that the client is, whosever it is. Every other token, whatever is wrong with it, is not
// active (RFC 7662 §4, L14).
func (e *Engine) Introspect(ctx context.Context, c client.Client, raw string) (Introspection, error) {
	if claims, err := e.believe(ctx, raw, 0); err == nil {
		g, err := e.Grants.Grant(ctx, claims.GrantID)
		if errors.Is(err, grant.ErrNotFound) ||
			(err == nil && (e.ended(g) || e.Suspended(claims) || claims.ClientID != c.ID && !receives(c, claims))) {
			return Introspection{}, nil
		}
		if err != nil {
			return Introspection{}, fmt.Errorf("reading a grant: %w", err)
		}
		return Introspection{Active: true, Type: "access_token", Claims: claims}, nil
	}
	t, g, err := e.Store.RefreshToken(ctx, client.TokenHash(raw))
	if errors.Is(err, ErrNotFound) ||
		(err == nil && (t.ClientID != c.ID || !t.UsedAt.IsZero() || e.ended(g) || !e.now().Before(t.ExpiresAt))) {
		return Introspection{}, nil
	}
	if err != nil {
		return Introspection{}, fmt.Errorf("reading a refresh token: %w", err)
	}
	return Introspection{Active: true, Type: "refresh_token", Claims: token.Claims{
		Issuer: e.Issuer, Subject: g.UserID, Audience: g.Resource, ClientID: t.ClientID, TenantID: g.TenantID,
		GrantID: g.ID,
		Scope:   oauth.FormatScope(g.Scopes), Scopes: g.Scopes, IssuedAt: t.CreatedAt.Unix(),
		Expires: t.ExpiresAt.Unix(),
	}}, nil
}

// Revoke ends the grant of a token that the client presents (RFC 7009 §2.1): whichever token it is,
// the whole grant ends. An unknown token is no error (§2.2); another client's is an *oauth.Error,
// and stays alive.
func (e *Engine) Revoke(ctx context.Context, c client.Client, raw, hint string) error {
	x := &revocation{exchange: &exchange{engine: e, client: c, now: e.now()}, raw: raw}
	handler := &oauth2.TokenRevocationHandler{TokenRevocationStorage: x, RefreshTokenStrategy: x,
		AccessTokenStrategy: x}
	err := handler.RevokeToken(ctx, raw, fosite.TokenType(hint), x.fositeClient())
	if x.failed != nil {
		return fmt.Errorf("revoking: %w", x.failed)
	}
	if errors.Is(err, fosite.ErrUnauthorizedClient) {
		return oauth.InvalidGrant("the token was given to another client, which alone can end it")
	}
	if err != nil {
		return fromFosite(err)
	}
	return nil
}

// revocation is a revocation request as fosite sees it.
type revocation struct {
	*exchange
	raw    string
	failed error // what broke while looking or ending; fosite would hide it
}

func (x *revocation) found(clientID, grantID string) fosite.Requester {
	return &fosite.Request{ID: grantID, Client: &fosite.DefaultClient{ID: clientID}, Session: &session{}}
}

// GetRefreshTokenSession finds a refresh token of any client; the handler compares.
func (x *revocation) GetRefreshTokenSession(ctx context.Context, signature string, _ fosite.Session) (fosite.Requester,
	error) {
	t, _, err := x.engine.Store.RefreshToken(ctx, signature)
	if errors.Is(err, ErrNotFound) {
		return nil, fosite.ErrNotFound
	}
	if err != nil {
		x.failed = err
		return nil, err
	}
	return x.found(t.ClientID, t.GrantID), nil
}

// GetAccessTokenSession believes an access token by its signature; an expired one has nothing left
// to revoke.
func (x *revocation) GetAccessTokenSession(ctx context.Context, _ string, _ fosite.Session) (fosite.Requester, error) {
	claims, err := x.engine.believe(ctx, x.raw, Leeway)
	if err != nil {
		return nil, fosite.ErrNotFound
	}
	g, err := x.engine.Grants.Grant(ctx, claims.GrantID)
	if errors.Is(err, grant.ErrNotFound) {
		return nil, fosite.ErrNotFound
	}
	if err != nil {
		x.failed = err
		return nil, err
	}
	// a token that was exchanged hangs from another client's grant, which is not its client's to
	// end
	return x.found(g.ClientID, g.ID), nil
}

// RevokeRefreshToken ends the grant.
func (x *revocation) RevokeRefreshToken(ctx context.Context, grantID string) error {
	err := x.engine.Ledger.End(ctx, grant.Actor("client:"+x.client.ID), grantID, grant.ReasonClient)
	if err != nil && !errors.Is(err, grant.ErrNotFound) {
		x.failed = err
	}
	return err
}

// believe checks one of our own access tokens, for whichever of our resources it is, and whichever
// algorithm that resource had when it was issued.
func (e *Engine) believe(ctx context.Context, raw string, leeway time.Duration) (token.Claims, error) {
	r, _ := e.Resource(saidAudience(raw)) // none: the zero resource, which no token is for
	return e.believeFor(ctx, raw, r, leeway)
}

// saidAudience is whom a token says that it is for, believing nothing.
func saidAudience(raw string) string {
	_, payload, err := jws.Split(raw, token.MaxSize)
	var said struct {
		Audience string `json:"aud"`
	}
	if err != nil || strictjson.Unmarshal(payload, &said) != nil {
		return ""
	}
	return said.Audience
}

// believeFor is believe for one resource.
func (e *Engine) believeFor(ctx context.Context, raw string, r Resource, leeway time.Duration) (token.Claims, error) {
	rules := token.Rules{Issuer: e.Issuer, Audience: r.URI, Algorithms: []string{"ES256", "RS256", "EdDSA"},
		Leeway: leeway, Now: e.Now}
	return rules.Verify(ctx, raw, e.Keys)
}
