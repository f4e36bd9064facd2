package fositeadapter

import (
	"context"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/pkce"
)

// stub is what fosite takes for its storage and its strategies, for one request. It answers with
// the request that package issuer has loaded, and makes and keeps nothing.
type stub struct {
	*Request
	grantType string
}

var (
	_ oauth2.CoreStorage            = (*stub)(nil)
	_ oauth2.TokenRevocationStorage = (*stub)(nil)
	_ oauth2.CoreStrategy           = (*stub)(nil)
	_ pkce.PKCERequestStorage       = (*stub)(nil)
	_ fosite.Storage                = (*stub)(nil)
)

// none stands for a code or token of fosite's, which is never sent: fosite refuses an empty one.
const none = "-"

// client is the client as fosite sees it. Its redirect URIs are the one that our matcher has
// accepted, so that fosite compares the exact string.
func (s *stub) client() fosite.Client {
	grantTypes := fosite.Arguments{s.grantType}
	if s.RefreshToken {
		grantTypes = append(grantTypes, grantRefresh)
	}
	return &fosite.DefaultClient{
		ID: s.ClientID, RedirectURIs: []string{s.RedirectURI}, GrantTypes: grantTypes, ResponseTypes: []string{"code"},
		Scopes: s.Offered, Audience: []string{s.Resource}, Public: s.Public,
	}
}

// stored is the authorization request that the presented code or refresh token is of.
func (s *stub) stored() (fosite.Requester, error) {
	form := url.Values{
		"redirect_uri": {s.RedirectURI}, "code_challenge": {s.Challenge}, "code_challenge_method": {"S256"},
	}
	resource := fosite.Arguments{s.Resource}
	return &fosite.Request{
		ID: s.GrantID, Client: s.client(), Form: form, Session: &session{}, RequestedScope: s.Scopes,
		GrantedScope: s.Scopes, RequestedAudience: resource, GrantedAudience: resource,
	}, nil
}

// GetClient finds the client of the request; no other is known here.
func (s *stub) GetClient(_ context.Context, id string) (fosite.Client, error) {
	if id != s.ClientID {
		return nil, fosite.ErrNotFound
	}
	return s.client(), nil
}

// ClientAssertionJWTValid refuses, as SetClientAssertionJWT: fosite authenticates no client.
func (s *stub) ClientAssertionJWTValid(context.Context, string) error { return fosite.ErrInvalidClient }

func (s *stub) SetClientAssertionJWT(context.Context, string, time.Time) error {
	return fosite.ErrInvalidClient
}

// Authorization codes, whose single use the store decides.

func (s *stub) CreateAuthorizeCodeSession(context.Context, string, fosite.Requester) error {
	return nil
}

func (s *stub) GetAuthorizeCodeSession(context.Context, string, fosite.Session) (fosite.Requester, error) {
	return s.stored()
}

func (s *stub) InvalidateAuthorizeCodeSession(context.Context, string) error { return nil }

func (s *stub) AuthorizeCodeSignature(_ context.Context, code string) string { return code }

func (s *stub) GenerateAuthorizeCode(context.Context, fosite.Requester) (code, signature string, err error) {
	return none, none, nil
}

func (s *stub) ValidateAuthorizeCode(context.Context, fosite.Requester, string) error { return nil }

// PKCE. The challenge is kept as long as its code: fosite deletes it before it checks the verifier.

func (s *stub) CreatePKCERequestSession(context.Context, string, fosite.Requester) error { return nil }

func (s *stub) GetPKCERequestSession(context.Context, string, fosite.Session) (fosite.Requester, error) {
	return s.stored()
}

func (s *stub) DeletePKCERequestSession(context.Context, string) error { return nil }

// Access tokens.

func (s *stub) CreateAccessTokenSession(context.Context, string, fosite.Requester) error { return nil }

func (s *stub) GetAccessTokenSession(context.Context, string, fosite.Session) (fosite.Requester, error) {
	return nil, fosite.ErrNotFound
}

func (s *stub) DeleteAccessTokenSession(context.Context, string) error { return nil }

func (s *stub) RevokeAccessToken(context.Context, string) error { return nil }

func (s *stub) AccessTokenSignature(_ context.Context, raw string) string { return raw }

func (s *stub) GenerateAccessToken(context.Context, fosite.Requester) (raw, signature string, err error) {
	return none, none, nil
}

func (s *stub) ValidateAccessToken(context.Context, fosite.Requester, string) error {
	return fosite.ErrNotFound
}

// Refresh tokens, whose rotation the store decides.

func (s *stub) CreateRefreshTokenSession(context.Context, string, string, fosite.Requester) error {
	return nil
}

func (s *stub) GetRefreshTokenSession(context.Context, string, fosite.Session) (fosite.Requester, error) {
	return s.stored()
}

func (s *stub) DeleteRefreshTokenSession(context.Context, string) error { return nil }

func (s *stub) RotateRefreshToken(context.Context, string, string) error { return nil }

func (s *stub) RevokeRefreshToken(context.Context, string) error { return nil }

func (s *stub) RefreshTokenSignature(_ context.Context, raw string) string { return raw }

func (s *stub) GenerateRefreshToken(context.Context, fosite.Requester) (raw, signature string, err error) {
	return none, none, nil
}

func (s *stub) ValidateRefreshToken(context.Context, fosite.Requester, string) error { return nil }

// session is fosite's session, which holds times that fosite sets and asks for.
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

// noHasher and noFetcher refuse: fosite compares no client secrets and fetches no keys here.
type noHasher struct{}

func (noHasher) Compare(context.Context, []byte, []byte) error { return fosite.ErrInvalidClient }

func (noHasher) Hash(context.Context, []byte) ([]byte, error) { return nil, fosite.ErrServerError }

type noFetcher struct{}

func (noFetcher) Resolve(context.Context, string, bool) (*jose.JSONWebKeySet, error) {
	return nil, fosite.ErrInvalidClient
}
