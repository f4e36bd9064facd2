package issuer

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// codeGrant is the grant type authorization_code (RFC 6749 section 4.1.3).
type codeGrant struct {
	consumesNothing
	code Code
}

func (g *codeGrant) load(ctx context.Context, x *exchange) error {
	raw := x.form.Get("code")
	if raw == "" {
		return oauth.InvalidRequest("code is missing; send the one that came with the redirect")
	}
	if x.form.Get("redirect_uri") == "" {
		return oauth.InvalidGrant("redirect_uri is missing: send the one of the authorization request")
	}
	code, stored, err := x.engine.Store.Code(ctx, client.TokenHash(raw))
	// No code is made without a challenge; if there were one, no verifier could match it (RFC 9700
	// section 4.8.2).
	if errors.Is(err, ErrNotFound) ||
		(err == nil && (code.ClientID != x.client.ID || code.RedirectURI == deviceRedirect || code.Challenge == "")) {
		return oauth.InvalidGrant("the code is unknown, or was given to another client; ask the person again")
	}
	if err != nil {
		return fmt.Errorf("load code: %w", err)
	}
	x.grant = stored
	return g.present(ctx, x, code)
}

// present checks a code of the client: the key that it is bound to, and that it was not used
// before.
func (g *codeGrant) present(ctx context.Context, x *exchange, code Code) error {
	g.code = code
	x.trace.Challenge, x.trace.Used, x.nonce = code.Challenge, !code.UsedAt.IsZero(), code.Nonce
	if err := x.checkKey(code.JKT); err != nil {
		return err
	}
	if !code.UsedAt.IsZero() {
		return x.reused(ctx, "The authorization code has already been used.")
	}
	return nil
}

func (g *codeGrant) authorize(ctx context.Context, x *exchange) error {
	if err := x.checkGrant(ctx); err != nil {
		return err
	}
	if err := x.narrow(); err != nil {
		return err
	}
	return g.checkExpiry(x)
}

func (g *codeGrant) checkExpiry(x *exchange) error {
	if !x.now.Before(g.code.ExpiresAt) {
		return oauth.InvalidGrant("the code has expired: redeem it at once; begin a new authorization")
	}
	return nil
}

func (g *codeGrant) decide(ctx context.Context, x *exchange) error {
	return g.ask(ctx, x, x.form.Get("redirect_uri"), x.form.Get("code_verifier"))
}

func (g *codeGrant) ask(ctx context.Context, x *exchange, redirectURI, verifier string) (err error) {
	r := x.request()
	r.RedirectURI, r.Challenge = g.code.RedirectURI, g.code.Challenge
	x.renewable, err = x.engine.fosite.Code(ctx, r, redirectURI, verifier)
	return err
}

func (g *codeGrant) store(ctx context.Context, x *exchange) error {
	if !x.renewable {
		return x.engine.Store.Redeem(ctx, g.code.Hash, x.now, nil, x.event())
	}
	x.refreshToken = newToken(refreshPrefix)
	first := x.newRefreshToken(x.now.Add(x.engine.RefreshTokenLifetime), "")
	return x.engine.Store.Redeem(ctx, g.code.Hash, x.now, &first, x.event())
}
