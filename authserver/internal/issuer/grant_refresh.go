package issuer

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// RelaxedReplay names that a spent refresh token was answered with its successor again, because the
// first response may have been lost.
const RelaxedReplay = "a spent refresh token brought its successor again"

// refreshGrant is the grant type refresh_token with rotation (RFC 6749 section 6, RFC 9700 section
// 4.14).
type refreshGrant struct {
	consumesNothing
	raw    string // as presented
	token  RefreshToken
	replay bool // it was used within the replay window: it gets the same successor again
}

func (g *refreshGrant) load(ctx context.Context, x *exchange) error {
	g.raw = x.form.Get("refresh_token")
	if g.raw == "" {
		return oauth.InvalidRequest("refresh_token is missing; send the newest that you were given")
	}
	token, stored, err := x.engine.Store.RefreshToken(ctx, client.TokenHash(g.raw))
	if errors.Is(err, ErrNotFound) || (err == nil && token.ClientID != x.client.ID) {
		return oauth.InvalidGrant("the refresh token is unknown, or was given to another client; ask the person again")
	}
	if err != nil {
		return fmt.Errorf("load refresh token: %w", err)
	}
	g.token, x.grant, x.action = token, stored, "token.refresh"
	if err := x.checkKey(token.JKT); err != nil {
		return err
	}
	if token.UsedAt.IsZero() {
		return nil
	}
	return g.handleReuse(ctx, x)
}

// handleReuse allows a spent refresh token within the replay window, and revokes its grant
// otherwise. It comes before the policy: while that denies the client, a stolen token still revokes
// what the thief has.
func (g *refreshGrant) handleReuse(ctx context.Context, x *exchange) error {
	next, ok, err := x.engine.successorOf(ctx, g.raw, x.client.ID)
	if err != nil {
		return err
	}
	if !ok {
		return x.reused(ctx, "The refresh token was already used.")
	}
	g.replay = true
	return x.checkKey(next.JKT) // a successor may be bound to a key although its parent was not
}

func (g *refreshGrant) authorize(ctx context.Context, x *exchange) error {
	if err := x.checkGrant(ctx); err != nil {
		return err
	}
	if err := x.narrow(); err != nil {
		return err
	}
	if err := x.checkRenewal(ctx); err != nil {
		return err
	}
	if !x.now.Before(g.token.ExpiresAt) {
		return oauth.InvalidGrant("the refresh token has expired; ask the person again")
	}
	return nil
}

// checkRenewal refuses a grant that the tenant's policy does not let be renewed any more.
func (x *exchange) checkRenewal(ctx context.Context) error {
	if x.policy.MaxRefreshTokenLifetime == 0 {
		return nil
	}
	since, err := x.engine.allowedSince(ctx, x.grant)
	if err != nil {
		return err
	}
	if !x.now.Before(since.Add(x.policy.MaxRefreshTokenLifetime)) {
		return oauth.InvalidGrant(overdue(*x.policy))
	}
	return nil
}

// allowedSince is when a person allowed the grant on the consent page: a grant that was derived
// from another is as old as that one.
func (e *Engine) allowedSince(ctx context.Context, g grant.Grant) (time.Time, error) {
	if g.DerivedFrom == "" {
		return g.CreatedAt, nil
	}
	origin, err := e.Grants.Grant(ctx, g.DerivedFrom)
	if err != nil {
		return time.Time{}, fmt.Errorf("load the grant that another is derived from: %w", err)
	}
	return origin.CreatedAt, nil
}

func (g *refreshGrant) decide(ctx context.Context, x *exchange) error {
	return x.engine.fosite.Refresh(ctx, x.request())
}

// store rotates the refresh token. If another request was first with it, within the replay window,
// this one gets the same successor, as after a lost response.
func (g *refreshGrant) store(ctx context.Context, x *exchange) error {
	x.refreshToken = x.engine.successor(g.raw)
	if !g.replay {
		err := x.engine.Store.Rotate(ctx, g.token.Hash, x.now, x.newRefreshToken(g.token.ChainEnds, g.token.JKT),
			x.event())
		if !errors.Is(err, ErrSpent) {
			return err
		}
		next, ok, err := x.engine.successorOf(ctx, g.raw, x.client.ID)
		if err != nil {
			return err
		}
		if !ok {
			return ErrSpent
		}
		if err := x.checkKey(next.JKT); err != nil {
			return err
		}
	}
	x.relax(RelaxedReplay)
	event := x.event()
	event.Detail += " (once more: " + RelaxedReplay + ")"
	return x.recorded(x.engine.Audit.Record(ctx, event))
}

// successorOf returns the successor that a spent refresh token may be answered with again: the
// token was spent within the replay window, and the successor is not used yet. That covers a lost
// response and two processes that share a token, and never makes a second chain.
func (e *Engine) successorOf(ctx context.Context, raw, clientID string) (next RefreshToken, ok bool, err error) {
	parent, g, err := e.Store.RefreshToken(ctx, client.TokenHash(raw))
	if err != nil {
		return RefreshToken{}, false, fmt.Errorf("load a spent refresh token: %w", err)
	}
	if g.Revoked() || parent.UsedAt.IsZero() || !e.now().Before(parent.UsedAt.Add(e.ReplayWindow)) {
		return RefreshToken{}, false, nil
	}
	next, _, err = e.Store.RefreshToken(ctx, client.TokenHash(e.successor(raw)))
	if errors.Is(err, ErrNotFound) || (err == nil && (!next.UsedAt.IsZero() || next.ClientID != clientID)) {
		return RefreshToken{}, false, nil
	}
	if err != nil {
		return RefreshToken{}, false, fmt.Errorf("load a successor: %w", err)
	}
	return next, true, nil
}

// successor derives the next refresh token. It is always the same for the same token, so that a
// lost response can be repeated although only its hash is stored; without the issuer's secret it
// cannot be guessed.
func (e *Engine) successor(parent string) string {
	mac := hmac.New(sha256.New, e.Secret)
	mac.Write([]byte("refresh token successor\x00" + parent))
	return refreshPrefix + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// newRefreshToken is the row of the refresh token that the response has. A public client's is bound
// to the key that the request proves, or to parentKey, its predecessor's. A client that
// authenticates has its tokens bound to that, and may change its key (RFC 9449 section 5).
func (x *exchange) newRefreshToken(chainEnds time.Time, parentKey string) RefreshToken {
	key := parentKey
	if key == "" && x.client.AuthMethod == client.AuthNone {
		key = x.jkt()
	}
	expires := x.now.Add(x.engine.RefreshTokenIdleTimeout)
	if expires.After(chainEnds) {
		expires = chainEnds
	}
	return RefreshToken{
		Hash: client.TokenHash(x.refreshToken), GrantID: x.grant.ID, ClientID: x.client.ID, JKT: key, CreatedAt: x.now,
		ExpiresAt: expires, ChainEnds: chainEnds,
	}
}
