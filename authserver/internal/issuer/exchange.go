package issuer

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/pkce"
	"github.com/ory/fosite/storage"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// Prefixes make our tokens easy to find for scanners that look for leaked secrets.
const (
	codePrefix    = "ghc_"
	refreshPrefix = "ghr_"
)

// exchange is one request as fosite sees it: its stores and its strategies in one value. What the
// request presented was loaded before by our rules; what it is to change is gathered here and
// written by Commit in one transaction, guarded by a row count.
type exchange struct {
	engine   *Engine
	client   client.Client
	resource Resource
	grant    grant.Grant
	scopes   []string // of the access token; never more than the grant's
	now      time.Time
	proof    *dpop.Proof // of the client's key; nil: none

	code    *Code         // presented, or about to be kept
	refresh *RefreshToken // presented
	next    *RefreshToken // about to be kept
	raw     string        // the refresh token as presented
	replay  bool          // a spent refresh token within its window: the same successor again
	// when what was presented ends, in Unix seconds; what comes of it ends then at the latest. 0:
	// it does not matter
	until     int64
	actor     *token.Actor                // who acts for the subject; nil: the client that was let in
	tokenID   string                      // the access token's jti, once it is signed
	grantType string                      // as the client sent it
	issued    string                      // the token type to be said in the answer (RFC 8693 §2.2.1); empty: none
	policy    *tenant.Policy              // the tenant's, as it was asked; nil: not yet
	keep      func(context.Context) error // what is to be kept before the access token is signed; nil: nothing
	openid    bool                        // an id token goes with it
	idToken   string                      // about to be sent
	relaxed   []string                    // by name
	ended     error                       // why ending the grant of a reused code or token did not succeed
}

var (
	_ oauth2.CoreStorage            = (*exchange)(nil)
	_ oauth2.TokenRevocationStorage = (*exchange)(nil)
	_ oauth2.CoreStrategy           = (*exchange)(nil)
	_ pkce.PKCERequestStorage       = (*exchange)(nil)
	_ storage.Transactional         = (*exchange)(nil)
	_ fosite.Storage                = (*exchange)(nil)
)

// relax notes a relaxation that this exchange took.
func (x *exchange) relax(name string) {
	if name != "" {
		x.relaxed = append(x.relaxed, name)
	}
}

// GetClient gives fosite the client that the door has authenticated or, at the authorization
// endpoint, found. No other is known here.
func (x *exchange) GetClient(_ context.Context, id string) (fosite.Client, error) {
	if id != x.client.ID {
		return nil, fosite.ErrNotFound
	}
	return x.fositeClient(), nil
}

// ClientAssertionJWTValid and SetClientAssertionJWT refuse: no assertion is ever taken through
// fosite.
func (x *exchange) ClientAssertionJWTValid(context.Context, string) error {
	return fosite.ErrInvalidClient
}

func (x *exchange) SetClientAssertionJWT(context.Context, string, time.Time) error {
	return fosite.ErrInvalidClient
}

func (x *exchange) fositeClient() fosite.Client {
	redirects, grantTypes := x.client.RedirectURIs, x.client.GrantTypes
	switch {
	// what it is registered for, our rules have found; to fosite a code is a code, and a client
	// that proves itself one that may ask
	case x.code != nil && x.code.RedirectURI == deviceRedirect:
		grantTypes = append(slices.Clone(grantTypes), client.GrantCode)
	case x.code == nil && x.refresh == nil:
		grantTypes = append(slices.Clone(grantTypes), client.GrantCredentials)
	}
	if x.code != nil {
		redirects = []string{x.code.RedirectURI} // our matcher has decided; fosite compares the exact string
	}
	return &fosite.DefaultClient{
		ID: x.client.ID, RedirectURIs: redirects, GrantTypes: grantTypes, ResponseTypes: []string{"code"},
		Scopes: append(x.resource.ScopeNames(), IdentityScopes()...), Audience: []string{x.resource.URI},
		Public: x.client.AuthMethod == client.AuthNone,
	}
}

// stored is the request that the presented code or refresh token came from, under the grant's id.
func (x *exchange) stored() fosite.Requester {
	form := url.Values{}
	if x.code != nil {
		form.Set("redirect_uri", x.code.RedirectURI)
		form.Set("code_challenge", x.code.Challenge)
		form.Set("code_challenge_method", "S256")
	}
	return &fosite.Request{
		ID: x.grant.ID, RequestedAt: x.now, Client: x.fositeClient(), Form: form, Session: &session{},
		RequestedScope: x.scopes, GrantedScope: x.scopes,
		RequestedAudience: fosite.Arguments{x.resource.URI}, GrantedAudience: fosite.Arguments{x.resource.URI},
	}
}

// Codes.

func (x *exchange) CreateAuthorizeCodeSession(_ context.Context, signature string, _ fosite.Requester) error {
	x.code.Hash = signature
	return nil
}

func (x *exchange) GetAuthorizeCodeSession(_ context.Context, signature string, _ fosite.Session) (fosite.Requester,
	error) {
	if x.code == nil || x.code.Hash != signature {
		return nil, fosite.ErrNotFound
	}
	if !x.code.UsedAt.IsZero() {
		return x.stored(), fosite.ErrInvalidatedAuthorizeCode
	}
	return x.stored(), nil
}

// InvalidateAuthorizeCodeSession is part of Commit's one statement.
func (x *exchange) InvalidateAuthorizeCodeSession(context.Context, string) error { return nil }

func (x *exchange) CreatePKCERequestSession(_ context.Context, _ string, r fosite.Requester) error {
	x.code.Challenge = r.GetRequestForm().Get("code_challenge")
	return nil
}

func (x *exchange) GetPKCERequestSession(ctx context.Context, signature string, s fosite.Session) (fosite.Requester,
	error) {
	r, err := x.GetAuthorizeCodeSession(ctx, signature, s)
	if errors.Is(err, fosite.ErrInvalidatedAuthorizeCode) {
		return r, nil
	}
	return r, err
}

// DeletePKCERequestSession keeps the challenge: it lives and dies with its code. Deleting it before
// the verifier is checked is how plain fosite lets a second attempt pass without a verifier.
func (x *exchange) DeletePKCERequestSession(context.Context, string) error { return nil }

// Access tokens are never stored.

func (x *exchange) CreateAccessTokenSession(context.Context, string, fosite.Requester) error {
	return nil
}

func (x *exchange) GetAccessTokenSession(context.Context, string, fosite.Session) (fosite.Requester, error) {
	return nil, fosite.ErrNotFound
}

func (x *exchange) DeleteAccessTokenSession(context.Context, string) error { return nil }

// Refresh tokens.

func (x *exchange) CreateRefreshTokenSession(_ context.Context, signature, _ string, _ fosite.Requester) error {
	ends := x.now.Add(x.engine.RefreshLife)
	if x.refresh != nil {
		ends = x.refresh.ChainEnds
	}
	expires := x.now.Add(x.engine.RefreshIdle)
	if expires.After(ends) {
		expires = ends
	}
	x.next = &RefreshToken{
		Hash: signature, GrantID: x.grant.ID, ClientID: x.client.ID, JKT: x.nextKey(), CreatedAt: x.now,
		ExpiresAt: expires, ChainEnds: ends,
	}
	return nil
}

func (x *exchange) GetRefreshTokenSession(_ context.Context, signature string, _ fosite.Session) (fosite.Requester,
	error) {
	if x.refresh == nil || x.refresh.Hash != signature {
		return nil, fosite.ErrNotFound
	}
	if !x.refresh.UsedAt.IsZero() && !x.replay {
		return x.stored(), fosite.ErrInactiveToken
	}
	return x.stored(), nil
}

func (x *exchange) DeleteRefreshTokenSession(context.Context, string) error { return nil }

// RotateRefreshToken is part of Commit's one statement.
func (x *exchange) RotateRefreshToken(context.Context, string, string) error { return nil }

// RevokeRefreshToken ends the grant: a code or refresh token came back that was used before (RFC
// 9700 §4.14.2).
func (x *exchange) RevokeRefreshToken(ctx context.Context, grantID string) error {
	x.ended = x.engine.Ledger.End(ctx, grant.Actor("client:"+x.client.ID), grantID, grant.ReasonReuse)
	return x.ended
}

// RevokeAccessToken has nothing left to do: a grant ends as a whole.
func (x *exchange) RevokeAccessToken(context.Context, string) error { return nil }

// The transaction.

func (x *exchange) BeginTX(ctx context.Context) (context.Context, error) { return ctx, nil }

func (x *exchange) Rollback(context.Context) error { return nil }

// Commit writes what the request changes: one transaction, whose guarded statement is the verdict
// on single use. When another request was quicker with a refresh token, its successor is given
// again, as a lost answer is.
func (x *exchange) Commit(ctx context.Context) error {
	switch {
	case x.next == nil && x.code == nil:
		return nil // the reuse path: the grant has been ended
	case x.code != nil:
		return x.engine.Store.Redeem(ctx, x.code.Hash, x.now, x.next, x.line())
	case x.replay:
		return nil
	}
	err := x.engine.Store.Rotate(ctx, x.refresh.Hash, x.now, *x.next, x.line())
	if !errors.Is(err, ErrSpent) {
		return err
	}
	again, forgiven, replayErr := x.engine.replayed(ctx, x.raw, x.client.ID)
	if replayErr != nil {
		return replayErr
	}
	if !forgiven {
		return ErrSpent
	}
	if err := x.checkKey(again.JKT); err != nil {
		return err
	}
	x.next, x.replay = again, true
	return nil
}

// Strategies.

func (x *exchange) AuthorizeCodeSignature(_ context.Context, code string) string {
	return client.TokenHash(code)
}

func (x *exchange) GenerateAuthorizeCode(context.Context, fosite.Requester) (code, signature string, err error) {
	code = newToken(codePrefix)
	return code, client.TokenHash(code), nil
}

func (x *exchange) ValidateAuthorizeCode(context.Context, fosite.Requester, string) error {
	if !x.now.Before(x.code.ExpiresAt) {
		return oauth.InvalidGrant("the code is over: it is redeemed at once or not at all; begin a new authorization")
	}
	return nil
}

func (x *exchange) RefreshTokenSignature(_ context.Context, raw string) string {
	return client.TokenHash(raw)
}

func (x *exchange) GenerateRefreshToken(context.Context, fosite.Requester) (raw, signature string, err error) {
	raw = newToken(refreshPrefix)
	if x.refresh != nil {
		raw = x.engine.successor(x.raw)
	}
	return raw, client.TokenHash(raw), nil
}

func (x *exchange) ValidateRefreshToken(context.Context, fosite.Requester, string) error {
	if !x.now.Before(x.refresh.ExpiresAt) {
		return oauth.InvalidGrant("the refresh token is over; ask the person again")
	}
	return nil
}

func (x *exchange) AccessTokenSignature(_ context.Context, raw string) string {
	return client.TokenHash(raw)
}

// life is how long the access token lives.
func (x *exchange) life() time.Duration {
	life := x.policy.Life(x.resource.AccessTokenLifetime)
	if x.until == 0 {
		return life
	}
	return min(life, time.Unix(x.until, 0).Sub(x.now))
}

// GenerateAccessToken writes the token that product.md describes (RFC 9068 §2). It has one
// audience, always.
func (x *exchange) GenerateAccessToken(ctx context.Context, r fosite.Requester) (raw, signature string, err error) {
	subject := x.grant.UserID
	if subject == "" {
		subject = x.grant.ClientID // RFC 9068 §2.2: without a resource owner, the client
	}
	scopes := append([]string{}, r.GetGrantedScopes()...)
	agent := x.grant.ClientID
	if agent == x.client.ID {
		agent = ""
	}
	x.tokenID = newID("")
	raw, err = x.engine.Keys.Sign(x.resource.Algorithm, token.Claims{
		Issuer: x.engine.Issuer, Subject: subject, Audience: x.resource.URI, ClientID: x.client.ID,
		TenantID: x.grant.TenantID,
		GrantID:  x.grant.ID, ID: x.tokenID, Scope: oauth.FormatScope(scopes), Scopes: scopes, Actor: x.actor,
		IssuedAt: x.now.Unix(), Expires: x.now.Add(x.life()).Unix(), Confirmation: token.Confirmation{JKT: x.jkt()},
		GrantClientID: agent,
	})
	if err == nil && x.openid {
		x.idToken, err = x.identify(ctx, raw) // here, because what cannot be signed must not use anything up
	}
	return raw, "", err
}

func (x *exchange) ValidateAccessToken(context.Context, fosite.Requester, string) error {
	return fosite.ErrNotFound
}

// session is what fosite insists on. Everything that lasts is in the grant.
type session struct {
	expires map[fosite.TokenType]time.Time
}

func (s *session) SetExpiresAt(t fosite.TokenType, at time.Time) {
	if s.expires == nil {
		s.expires = map[fosite.TokenType]time.Time{}
	}
	s.expires[t] = at
}

func (s *session) GetExpiresAt(t fosite.TokenType) time.Time { return s.expires[t] }

func (s *session) GetUsername() string { return "" }

func (s *session) GetSubject() string { return "" }

func (s *session) Clone() fosite.Session { return &session{} }

// noFetcher never fetches: see noHasher.
type noFetcher struct{}

func (noFetcher) Resolve(context.Context, string, bool) (*jose.JSONWebKeySet, error) {
	return nil, fosite.ErrInvalidClient
}
