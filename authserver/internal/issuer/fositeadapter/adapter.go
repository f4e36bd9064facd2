// Package fositeadapter lets fosite decide on authorization and token requests.
//
// It holds no rule of ours. Package issuer has authenticated the client, loaded what the request
// presents and checked it before; here the request is rebuilt as fosite expects it, and fosite
// checks it once more: redirect URI, PKCE, scopes, audience and the kind of client. fosite makes,
// signs and stores nothing: its storage and strategies are stubs.
package fositeadapter

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/pkce"
)

// The grant types of fosite that are used.
const (
	grantCode        = "authorization_code"
	grantRefresh     = "refresh_token"
	grantCredentials = "client_credentials"
)

// Request is an authorization or token request as far as fosite checks it.
type Request struct {
	GrantID      string // fosite's request id: the same from the authorization request to the last refresh
	ClientID     string
	Public       bool   // the client does not authenticate
	RefreshToken bool   // the client is registered for the grant type refresh_token
	RedirectURI  string // of the authorization request
	Challenge    string // its PKCE code_challenge, of method S256
	Resource     string // URI of the one audience
	Offered      []string
	Scopes       []string // requested, and as far as our rules go granted
}

// Adapter asks fosite. It is safe for concurrent use.
type Adapter struct {
	shared fosite.Config
}

// New sets every field that fosite would otherwise set while serving, without a lock. secure says
// whether a redirect URI may be used.
func New(issuer string, secure func(redirectURI string) bool) *Adapter {
	return &Adapter{shared: fosite.Config{
		// fosite's tokens are never sent, so that no lifetime matters; it insists on some.
		AccessTokenLifespan:            time.Hour,
		RefreshTokenLifespan:           time.Hour,
		AuthorizeCodeLifespan:          time.Hour,
		ScopeStrategy:                  fosite.ExactScopeStrategy,
		AudienceMatchingStrategy:       fosite.ExactAudienceMatchingStrategy,
		EnforcePKCE:                    true, // without it a second attempt passes with no verifier
		EnforcePKCEForPublicClients:    true,
		EnablePKCEPlainChallengeMethod: false,
		RefreshTokenScopes:             []string{}, // refresh tokens depend on the grant type, not on a scope
		// the least that fosite accepts; PKCE protects (OAuth 2.1 section 7.5)
		MinParameterEntropy:          1,
		SanitationWhiteList:          slices.Clip([]string{"code", "redirect_uri"}),
		OmitRedirectScopeParam:       true,
		ClientSecretsHasher:          noHasher{},
		JWKSFetcherStrategy:          noFetcher{},
		RedirectSecureChecker:        func(_ context.Context, u *url.URL) bool { return secure(u.String()) },
		ClientAuthenticationStrategy: nil, // set for each request: see config
		AccessTokenIssuer:            issuer,
		GlobalSecret:                 nil, // no token is made by fosite
	}}
}

// Authorize checks an authorization request for a code.
func (a *Adapter) Authorize(ctx context.Context, r Request) error {
	form := url.Values{
		"client_id": {r.ClientID}, "redirect_uri": {r.RedirectURI}, "response_type": {"code"},
		"code_challenge": {r.Challenge}, "code_challenge_method": {"S256"},
		"scope": {strings.Join(r.Scopes, " ")}, "audience": {r.Resource},
		"state": {"-"}, // fosite insists on one
	}
	p := a.provider(&r, grantCode)
	asked, err := p.NewAuthorizeRequest(ctx,
		&http.Request{Method: http.MethodGet, Header: http.Header{}, Form: form, PostForm: url.Values{}})
	if err != nil {
		return verdict(err)
	}
	for _, s := range r.Scopes {
		asked.GrantScope(s)
	}
	asked.GrantAudience(r.Resource)
	if _, err := p.NewAuthorizeResponse(ctx, asked, &session{}); err != nil {
		return verdict(err)
	}
	return nil
}

// Code checks a token request of the grant type authorization_code. redirectURI and verifier are
// the request's; what they must match is in r.
func (a *Adapter) Code(ctx context.Context, r Request, redirectURI, verifier string) (refreshToken bool, err error) {
	form := url.Values{"code": {"-"}, "redirect_uri": {redirectURI}, "code_verifier": {verifier}}
	return a.token(ctx, &r, grantCode, form)
}

// Refresh checks a token request of the grant type refresh_token.
func (a *Adapter) Refresh(ctx context.Context, r Request) error {
	_, err := a.token(ctx, &r, grantRefresh, url.Values{"refresh_token": {"-"}})
	return err
}

// Credentials checks a token request for an access token alone, of whichever grant type: to fosite
// it is client_credentials.
func (a *Adapter) Credentials(ctx context.Context, r Request) error {
	_, err := a.token(ctx, &r, grantCredentials, url.Values{})
	return err
}

// token lets fosite check a token request, and reports whether a refresh token goes with it.
func (a *Adapter) token(ctx context.Context, r *Request, grantType string, form url.Values) (bool, error) {
	form.Set("grant_type", grantType)
	form.Set("scope", strings.Join(r.Scopes, " "))
	form.Set("audience", r.Resource) // the resource parameter, as fosite calls it
	p := a.provider(r, grantType)
	asked, err := p.NewAccessRequest(ctx,
		&http.Request{Method: http.MethodPost, Header: http.Header{}, Form: form, PostForm: form}, &session{})
	if err != nil {
		return false, verdict(err)
	}
	for _, s := range r.Scopes {
		asked.GrantScope(s)
	}
	asked.GrantAudience(r.Resource)
	response, err := p.NewAccessResponse(ctx, asked)
	if err != nil {
		return false, verdict(err)
	}
	return response.GetExtra("refresh_token") != nil, nil
}

// config is fosite's configuration for one request: the shared settings, and handlers bound to the
// request.
type config struct {
	*fosite.Config
	authorize fosite.AuthorizeEndpointHandlers
	token     fosite.TokenEndpointHandlers
	client    fosite.Client
}

// GetAuthorizeEndpointHandlers implements fosite.Configurator.
func (c *config) GetAuthorizeEndpointHandlers(context.Context) fosite.AuthorizeEndpointHandlers {
	return c.authorize
}

// GetTokenEndpointHandlers implements fosite.Configurator.
func (c *config) GetTokenEndpointHandlers(context.Context) fosite.TokenEndpointHandlers {
	return c.token
}

// GetClientAuthenticationStrategy implements fosite.Configurator: the client is authenticated
// already.
func (c *config) GetClientAuthenticationStrategy(context.Context) fosite.ClientAuthenticationStrategy {
	return func(context.Context, *http.Request, url.Values) (fosite.Client, error) { return c.client, nil }
}

// provider is fosite for one request of one grant type.
func (a *Adapter) provider(r *Request, grantType string) *fosite.Fosite {
	s := &stub{Request: r, grantType: grantType}
	c := &config{Config: &a.shared, client: s.client()}
	switch grantType {
	case grantCode:
		code := &oauth2.AuthorizeExplicitGrantHandler{
			AccessTokenStrategy: s, RefreshTokenStrategy: s, AuthorizeCodeStrategy: s, CoreStorage: s,
			TokenRevocationStorage: s, Config: c,
		}
		proof := &pkce.Handler{AuthorizeCodeStrategy: s, Storage: s, Config: c} // must come after the code
		c.authorize = fosite.AuthorizeEndpointHandlers{code, proof}
		c.token = fosite.TokenEndpointHandlers{code, proof}
	case grantRefresh:
		c.token = fosite.TokenEndpointHandlers{&oauth2.RefreshTokenGrantHandler{
			AccessTokenStrategy: s, RefreshTokenStrategy: s, TokenRevocationStorage: s, Config: c,
		}}
	case grantCredentials:
		helper := &oauth2.HandleHelper{AccessTokenStrategy: s, AccessTokenStorage: s, Config: c}
		c.token = fosite.TokenEndpointHandlers{&oauth2.ClientCredentialsGrantHandler{HandleHelper: helper, Config: c}}
	}
	return fosite.NewOAuth2Provider(s, c)
}
