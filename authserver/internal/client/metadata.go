package client

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/text"
)

// MaxName bounds a client's name, in characters.
const MaxName = 64

// Registration describes who registers and what they may get.
type Registration struct {
	Tenant     *InitialToken // the initial access token that was used; nil for open registration
	Algorithms []string      // algorithms of ID tokens, the default first
	Now        time.Time
}

// FromMetadata returns the client that metadata describes, and its secret if it has one.
// Unsupported values are dropped where RFC 7591 §3.2.1 allows other values in the response, and
// rejected with an *oauth.Error where dropping would surprise. The id, tenant and secret never come
// from the metadata.
func FromMetadata(m oauth.ClientMetadata, r Registration) (Client, string, error) {
	c := Client{
		ID: NewID(), Name: text.Line(m.ClientName, MaxName), Origin: OriginRegistration,
		CreatedAt:  r.Now.UTC().Truncate(time.Second),
		SoftwareID: text.Line(m.SoftwareID, MaxName), SoftwareVersion: text.Line(m.SoftwareVersion, MaxName),
		DPoPBound: m.DPoPBoundAccessTokens, PushRequired: m.RequirePushedRequests,
	}
	if r.Tenant != nil {
		c.TenantID, c.Origin = r.Tenant.TenantID, OriginInitialToken
	}
	if u, err := url.Parse(m.ClientURI); err == nil && u.Scheme == "https" && u.User == nil &&
		len(m.ClientURI) <= MaxURI {
		c.ClientURI = m.ClientURI
	}
	if err := c.setGrantTypes(m); err != nil {
		return Client{}, "", err
	}
	if err := c.setRedirects(m); err != nil {
		return Client{}, "", err
	}
	if err := c.setScopes(m, r.Tenant); err != nil {
		return Client{}, "", err
	}
	if err := c.setIdentity(m, r.Algorithms); err != nil {
		return Client{}, "", err
	}
	secret, err := c.setAuthentication(m)
	if err == nil {
		err = c.share()
	}
	if err != nil {
		return Client{}, "", err
	}
	return c, secret, nil
}

// offered are the grant types that a client may have.
var offered = []string{GrantCode, GrantRefresh, GrantCredentials, GrantDevice, GrantExchange, GrantAssertion}

func (c *Client) setGrantTypes(m oauth.ClientMetadata) error {
	asked := m.GrantTypes
	if len(asked) == 0 {
		asked = []string{GrantCode} // RFC 7591 §2
	}
	for _, g := range asked {
		switch {
		case g == GrantExchange && c.TenantID == "":
			// dropped, and the response says so: token exchange is for clients that an operator or
			// a tenant registered
		case g == GrantCredentials && c.TenantID == "":
			return oauth.InvalidClientMetadata("grant type client_credentials is for clients that belong to a " +
				"tenant: register with an initial access token of the tenant")
		case slices.Contains(offered, g):
			if !slices.Contains(c.GrantTypes, g) {
				c.GrantTypes = append(c.GrantTypes, g)
			}
		}
	}
	// Clients register authorization_code alone and refresh later; the response says what they get.
	people := slices.Contains(c.GrantTypes, GrantCode) || slices.Contains(c.GrantTypes, GrantDevice)
	if people && !slices.Contains(c.GrantTypes, GrantRefresh) {
		c.GrantTypes = append(c.GrantTypes, GrantRefresh)
	}
	if len(c.GrantTypes) == 0 || slices.Equal(c.GrantTypes, []string{GrantRefresh}) {
		return oauth.InvalidClientMetadata("none of the grant types is offered here; use " +
			strings.Join(offered, ", "))
	}
	// Other response types are dropped, and the response says so (RFC 7591 §3.2.1).
	if len(m.ResponseTypes) > 0 && !slices.Contains(m.ResponseTypes, "code") {
		return oauth.InvalidClientMetadata("response_types must have code, the only response type that is offered, " +
			"or be left out")
	}
	return nil
}

func (c *Client) setRedirects(m oauth.ClientMetadata) error {
	if !slices.Contains(c.GrantTypes, GrantCode) {
		return nil
	}
	if len(m.RedirectURIs) == 0 {
		return oauth.InvalidRedirectURI("redirect_uris is missing: name at least one")
	}
	if len(m.RedirectURIs) > MaxRedirectURIs {
		return oauth.InvalidRedirectURI("too many redirect_uris; at most 20 are kept")
	}
	native, refused := true, error(nil)
	for _, uri := range m.RedirectURIs {
		if err := CheckRedirectURI(uri); err != nil {
			if scheme, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(uri)), ":"); refusedHere(scheme) {
				// such a URI is an attack
				return oauth.InvalidRedirectURI("a redirect URI cannot be registered: " + err.Error())
			}
			// clients register several; the response says which are kept (RFC 7591 §3.2.1)
			refused = err
			continue
		}
		if strings.HasPrefix(uri, "https://") {
			native = false
		}
		if !slices.Contains(c.RedirectURIs, uri) {
			c.RedirectURIs = append(c.RedirectURIs, uri)
		}
	}
	if len(c.RedirectURIs) == 0 {
		return oauth.InvalidRedirectURI("no redirect URI can be registered: " + refused.Error())
	}
	// Native clients often say "web" or nothing, so the URIs decide (OpenID Connect Registration
	// 1.0 §2).
	c.ApplicationType = "web"
	if native || m.ApplicationType == "native" {
		c.ApplicationType = "native"
	}
	return nil
}

// setIdentity sets what OpenID Connect clients register: the algorithm of their ID tokens and where
// people may be redirected after logout.
func (c *Client) setIdentity(m oauth.ClientMetadata, algorithms []string) error {
	if alg := m.IDTokenSignedResponseAlg; alg != "" {
		if !slices.Contains(algorithms, alg) {
			return oauth.InvalidClientMetadata("id_token_signed_response_alg is not offered; use " +
				strings.Join(algorithms, ", "))
		}
		c.IDTokenAlg = alg
	}
	if len(m.PostLogoutRedirectURIs) > MaxRedirectURIs {
		return oauth.InvalidClientMetadata("too many post_logout_redirect_uris; at most 20 are kept")
	}
	refused := error(nil)
	for _, uri := range m.PostLogoutRedirectURIs {
		if err := CheckRedirectURI(uri); err != nil {
			refused = err // dropped beside valid ones; the response says which are kept
			continue
		}
		if !slices.Contains(c.PostLogoutRedirectURIs, uri) {
			c.PostLogoutRedirectURIs = append(c.PostLogoutRedirectURIs, uri)
		}
	}
	if refused != nil && len(c.PostLogoutRedirectURIs) == 0 {
		return oauth.InvalidClientMetadata("none of post_logout_redirect_uris can be registered: " + refused.Error())
	}
	return nil
}

func (c *Client) setScopes(m oauth.ClientMetadata, t *InitialToken) error {
	asked, err := oauth.ParseScope(m.Scope)
	if err != nil {
		return oauth.InvalidClientMetadata("scope is malformed: " + err.Error())
	}
	if t == nil {
		return nil // the scope of an open registration is no bound: clients register few and ask for more later
	}
	c.Scopes = t.Scopes
	if len(asked) > 0 {
		c.Scopes = oauth.Intersect(asked, t.Scopes)
	}
	if len(c.Scopes) == 0 {
		return oauth.InvalidClientMetadata("none of the scopes is within what the initial access token allows; ask " +
			"for others or for none")
	}
	return nil
}

func (c *Client) setAuthentication(m oauth.ClientMetadata) (secret string, err error) {
	c.AuthMethod = m.TokenEndpointAuthMethod
	if c.AuthMethod == "" {
		// The default of RFC 7591 §2 is client_secret_basic; a secret that was not asked for is
		// only one more to lose.
		c.AuthMethod = AuthNone
		if slices.Contains(c.GrantTypes, GrantCredentials) {
			c.AuthMethod = AuthBasic
		}
	}
	switch c.AuthMethod {
	case AuthNone:
		if slices.Contains(c.GrantTypes, GrantCredentials) {
			return "", oauth.InvalidClientMetadata("client_credentials needs a client that can authenticate: use " +
				"client_secret_basic or client_secret_post")
		}
		// Some clients name jwt-bearer and do not authenticate: grant types that need client
		// authentication are dropped, and the response says so.
		c.GrantTypes = slices.DeleteFunc(c.GrantTypes, func(g string) bool {
			return g == GrantExchange ||
				g == GrantAssertion
		})
		if len(c.GrantTypes) == 0 {
			return "", oauth.InvalidClientMetadata("these grant types need a client that can authenticate: use " +
				"client_secret_basic, client_secret_post or private_key_jwt")
		}
		return "", nil
	case AuthBasic, AuthPost:
		secret = NewSecret()
		c.SecretHash = HashSecret(secret)
		return secret, nil
	case AuthKey:
		return "", c.setKeys(m)
	}
	return "", oauth.InvalidClientMetadata("this token_endpoint_auth_method is not offered; use none, " +
		"client_secret_basic, client_secret_post or private_key_jwt")
}

// Update returns the client after it changed its metadata (RFC 7592 §2.2). Its id, tenant, secret
// and authentication method stay. algorithms are as in Registration. An *oauth.Error says what is
// wrong.
func (c Client) Update(m oauth.ClientMetadata, algorithms []string) (Client, error) {
	if m.TokenEndpointAuthMethod != "" && m.TokenEndpointAuthMethod != c.AuthMethod {
		return Client{},
			oauth.InvalidClientMetadata("token_endpoint_auth_method cannot be changed; register another client")
	}
	m.TokenEndpointAuthMethod = c.AuthMethod
	r := Registration{Now: c.CreatedAt, Algorithms: algorithms}
	if c.TenantID != "" {
		r.Tenant = &InitialToken{TenantID: c.TenantID, Scopes: c.Scopes}
	}
	next, _, err := FromMetadata(m, r)
	if err != nil {
		return Client{}, err
	}
	next.ID, next.SecretHash, next.Origin, next.ManageHash, next.Fingerprint = c.ID, c.SecretHash, c.Origin,
		c.ManageHash, c.Fingerprint
	return next, nil
}

// Metadata returns the client as a registration response shows it (RFC 7591 §3.2.1).
func (c Client) Metadata() oauth.ClientMetadata {
	responseTypes := []string{}
	if slices.Contains(c.GrantTypes, GrantCode) {
		responseTypes = []string{"code"}
	}
	return oauth.ClientMetadata{
		RedirectURIs: c.RedirectURIs, TokenEndpointAuthMethod: c.AuthMethod, GrantTypes: c.GrantTypes,
		ResponseTypes: responseTypes,
		ClientName:    c.Name, ClientURI: c.ClientURI, Scope: oauth.FormatScope(c.Scopes),
		ApplicationType: c.ApplicationType,
		SoftwareID:      c.SoftwareID, SoftwareVersion: c.SoftwareVersion, JWKS: json.RawMessage(c.JWKS),
		JWKSURI:                  c.JWKSURI,
		IDTokenSignedResponseAlg: c.IDTokenAlg, PostLogoutRedirectURIs: c.PostLogoutRedirectURIs,
		DPoPBoundAccessTokens: c.DPoPBound, RequirePushedRequests: c.PushRequired,
	}
}
