package issuer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/shared/jws"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// Leeway is by how much the clocks of the issuer and a resource server may differ.
const Leeway = 30 * time.Second

// Introspection is the state of a token (RFC 7662 section 2.2). The zero value is "not active",
// which is the answer for tokens that the client may not ask about, too.
type Introspection struct {
	Active bool
	Type   string // "access_token" or "refresh_token"
	Claims token.Claims
}

// Introspect returns the state of a token of the client, or of any access token for the protected
// server that the client is. All other tokens are not active (RFC 7662 section 4).
func (e *Engine) Introspect(ctx context.Context, c client.Client, raw string) (Introspection, error) {
	if claims, err := e.verify(ctx, raw, 0); err == nil {
		g, err := e.Grants.Grant(ctx, claims.GrantID)
		if errors.Is(err, grant.ErrNotFound) ||
			(err == nil && (e.revoked(g) || e.Suspended(claims) || claims.ClientID != c.ID && !receives(c, claims))) {
			return Introspection{}, nil
		}
		if err != nil {
			return Introspection{}, fmt.Errorf("load grant: %w", err)
		}
		return Introspection{Active: true, Type: "access_token", Claims: claims}, nil
	}
	t, g, err := e.Store.RefreshToken(ctx, client.TokenHash(raw))
	if errors.Is(err, ErrNotFound) ||
		(err == nil && (t.ClientID != c.ID || !t.UsedAt.IsZero() || e.revoked(g) || !e.now().Before(t.ExpiresAt))) {
		return Introspection{}, nil
	}
	if err != nil {
		return Introspection{}, fmt.Errorf("load refresh token: %w", err)
	}
	return Introspection{Active: true, Type: "refresh_token", Claims: token.Claims{
		Issuer: e.Issuer, Subject: g.UserID, Audience: g.Resource, ClientID: t.ClientID, TenantID: g.TenantID,
		GrantID: g.ID,
		Scope:   oauth.FormatScope(g.Scopes), Scopes: g.Scopes, IssuedAt: t.CreatedAt.Unix(),
		Expires: t.ExpiresAt.Unix(),
	}}, nil
}

// Revoke revokes the grant of a token that the client presents (RFC 7009 section 2.1): whichever
// token it is, everything that belongs to the grant is revoked. An unknown or expired token is no
// error (section 2.2); another client's is an *oauth.Error, and stays valid. token_type_hint does
// not matter: a token is found by its value.
func (e *Engine) Revoke(ctx context.Context, c client.Client, raw string) error {
	owner, grantID, err := e.presented(ctx, raw)
	if err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	if grantID == "" {
		return nil
	}
	if owner != c.ID {
		return oauth.InvalidGrant("the token was given to another client, which alone can revoke it")
	}
	err = e.Ledger.Revoke(ctx, grant.Actor("client:"+c.ID), grantID, grant.ReasonClient)
	if err != nil && !errors.Is(err, grant.ErrNotFound) {
		return fmt.Errorf("revoke: %w", err)
	}
	return nil
}

// presented finds the client and the grant of a token; both are empty when there is none.
func (e *Engine) presented(ctx context.Context, raw string) (clientID, grantID string, err error) {
	t, _, err := e.Store.RefreshToken(ctx, client.TokenHash(raw))
	if err == nil {
		return t.ClientID, t.GrantID, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return "", "", err
	}
	claims, err := e.verify(ctx, raw, Leeway)
	if err != nil {
		return "", "", nil
	}
	g, err := e.Grants.Grant(ctx, claims.GrantID)
	if errors.Is(err, grant.ErrNotFound) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	// A token that was exchanged belongs to another client's grant, which is not its client's to
	// revoke.
	return g.ClientID, g.ID, nil
}

// verify verifies an access token of ours, for whichever of our resources it is and with any
// algorithm that the resource may have had.
func (e *Engine) verify(ctx context.Context, raw string, leeway time.Duration) (token.Claims, error) {
	r, _ := e.Resource(claimedAudience(raw)) // none: the zero resource, which no token is for
	return e.verifyFor(ctx, raw, r, leeway)
}

// claimedAudience is the aud claim of a token that is not verified.
func claimedAudience(raw string) string {
	_, payload, err := jws.Split(raw, token.MaxSize)
	var said struct {
		Audience string `json:"aud"`
	}
	if err != nil || strictjson.Unmarshal(payload, &said) != nil {
		return ""
	}
	return said.Audience
}

// verifyFor is verify for one resource.
func (e *Engine) verifyFor(ctx context.Context, raw string, r Resource, leeway time.Duration) (token.Claims, error) {
	rules := token.Rules{Issuer: e.Issuer, Audience: r.URI, Algorithms: []string{"ES256", "RS256", "EdDSA"},
		Leeway: leeway, Now: e.Now}
	return rules.Verify(ctx, raw, e.Keys)
}
