package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// ClientSpec says which client to make. Without redirect URIs it is a machine client, which belongs to a tenant and gets its tokens by
// client_credentials; with them it is an application that people let in; with Resource it is a protected server, which may ask about the tokens that it is shown and which grants have ended.
type ClientSpec struct {
	Name         string
	Tenant       string   // required for a machine client
	Scopes       []string // ceiling; required for a machine client
	RedirectURIs []string
	Public       bool // an application that cannot keep a secret: it gets none
	// Resource is the URI of the protected server that the client is. With Scopes it passes its callers on: it may exchange tokens for that server for tokens of
	// others, within these.
	Resource string
	// TokenExchange lets it exchange its own tokens, too, and Assertions lets its people in by assertions of their organisation's identity provider.
	TokenExchange, Assertions bool
	// PostLogoutRedirectURIs are where an application may send people who have signed out.
	PostLogoutRedirectURIs []string
}

// CreateClient makes a client, and returns its secret: it is shown this once, only its hash is kept.
func (d *Door) CreateClient(ctx context.Context, s ClientSpec) (c client.Client, secret string, err error) {
	c = client.Client{ID: client.NewID(), TenantID: s.Tenant, AuthMethod: client.AuthBasic, Origin: client.OriginOperator, CreatedAt: d.now()}
	if c.Name, err = name(s.Name, c.ID); err != nil {
		return client.Client{}, "", err
	}
	allowed, _ := d.scopes()
	whose := "a client"
	if s.Tenant != "" {
		t, err := d.tenant(ctx, s.Tenant)
		if err != nil {
			return client.Client{}, "", err
		}
		allowed, whose = t.Scopes, "a client of "+t.ID
	}
	if c.Scopes, err = within(s.Scopes, allowed, whose); err != nil {
		return client.Client{}, "", err
	}
	switch {
	case s.Resource != "":
		err = d.server(&c, s, allowed)
	case len(s.RedirectURIs) == 0:
		err = machine(&c, s, allowed)
	default:
		err = application(&c, s)
	}
	if err == nil {
		err = further(&c, s)
	}
	if err != nil {
		return client.Client{}, "", err
	}
	if c.AuthMethod != client.AuthNone {
		secret = client.NewSecret()
		c.SecretHash = client.HashSecret(secret)
	}
	if err := d.record(ctx, audit.Event{Action: "client.create", Target: c.ID, Tenant: c.TenantID, Detail: oauth.FormatScope(c.Scopes)}); err != nil {
		return client.Client{}, "", err
	}
	if err := d.Clients.CreateClient(ctx, c); err != nil {
		return client.Client{}, "", fmt.Errorf("keeping a client: %w", err)
	}
	return c, secret, nil
}

// SecretTurn says whose secret to replace.
type SecretTurn struct {
	Client  string
	Overlap time.Duration // how long the one before counts beside it; 0: no longer
}

// maxOverlap bounds for how long two secrets of a client count.
const maxOverlap = 30 * 24 * time.Hour

// ReplaceSecret gives a client another secret and returns it: it is shown this once, only its hash is kept.
func (d *Door) ReplaceSecret(ctx context.Context, s SecretTurn) (secret string, err error) {
	if s.Overlap < 0 || s.Overlap > maxOverlap {
		return "", refuse("", "the secret before can count for 0 to %d days more", int(maxOverlap.Hours()/24))
	}
	c, err := d.Clients.Client(ctx, s.Client)
	switch {
	case errors.Is(err, client.ErrNotFound):
		return "", refuse("gatehouse client list shows them", "there is no client %.80q", s.Client)
	case err != nil:
		return "", fmt.Errorf("reading a client: %w", err)
	case c.SecretHash == "":
		return "", refuse("", "client %s has no secret", c.ID)
	}
	ends := d.now().Add(s.Overlap)
	event := audit.Event{Action: "client.replace_secret", Target: c.ID, Tenant: c.TenantID, Detail: "the one before counts until " + ends.Format(time.RFC3339)}
	if err := d.record(ctx, event); err != nil {
		return "", err
	}
	secret = client.NewSecret()
	if err := d.Clients.ReplaceSecret(ctx, c.ID, client.HashSecret(secret), ends); err != nil {
		return "", fmt.Errorf("replacing a secret: %w", err)
	}
	return secret, nil
}

// further adds the grant types that are asked for beside.
func further(c *client.Client, s ClientSpec) error {
	if s.Public && (s.TokenExchange || s.Assertions) {
		return refuse("leave --public away", "exchanging tokens and assertions are for clients that prove who they are")
	}
	if s.TokenExchange && !slices.Contains(c.GrantTypes, client.GrantExchange) {
		c.GrantTypes = append(c.GrantTypes, client.GrantExchange)
	}
	if s.Assertions {
		c.GrantTypes = append(c.GrantTypes, client.GrantAssertion)
	}
	return nil
}

// server is a client that is a protected server.
func (d *Door) server(c *client.Client, s ClientSpec, allowed []string) error {
	known := slices.ContainsFunc(d.Resources, func(r issuer.Resource) bool { return r.URI == s.Resource })
	switch {
	case !known:
		return refuse("name one of the resources whose tokens are issued here, byte for byte", "there is no resource %.200q", s.Resource)
	case s.Tenant != "" || s.Public || len(s.RedirectURIs) > 0 || len(s.PostLogoutRedirectURIs) > 0:
		return refuse("leave --tenant, --public and the redirect URIs away", "a protected server serves every tenant, has a secret, and nobody signs in there")
	case len(s.Scopes) == 0 && s.TokenExchange:
		return refuse("name them with --scopes; there are: "+oauth.FormatScope(allowed), "the server could pass no scope on")
	}
	c.Resource = s.Resource
	if len(s.Scopes) > 0 {
		c.GrantTypes = []string{client.GrantExchange}
	}
	return nil
}

func machine(c *client.Client, s ClientSpec, allowed []string) error {
	switch {
	case s.Tenant == "":
		return refuse("name it with --tenant, or give --redirect-uri for an application that people let in", "a machine client must belong to a tenant")
	case s.Public:
		return refuse("leave --public away", "a machine client must prove who it is: it needs a secret")
	case len(s.PostLogoutRedirectURIs) > 0:
		return refuse("leave --post-logout-redirect-uri away", "nobody signs out at a machine client")
	case len(s.Scopes) == 0:
		return refuse("name them with --scopes; the tenant may have: "+oauth.FormatScope(allowed), "the client would have no scope")
	}
	c.GrantTypes = []string{client.GrantCredentials}
	return nil
}

func application(c *client.Client, s ClientSpec) error {
	if len(s.RedirectURIs) > client.MaxRedirectURIs {
		return refuse("", "more than %d redirect URIs", client.MaxRedirectURIs)
	}
	for _, uri := range append(slices.Clone(s.RedirectURIs), s.PostLogoutRedirectURIs...) {
		if err := client.CheckRedirectURI(uri); err != nil {
			return refuse("", "redirect URI %q cannot be registered: %v", uri, err)
		}
	}
	c.RedirectURIs, c.PostLogoutRedirectURIs, c.GrantTypes = s.RedirectURIs, s.PostLogoutRedirectURIs, []string{client.GrantCode, client.GrantRefresh}
	c.ApplicationType = "web"
	if c.LoopbackOnly() {
		c.ApplicationType = "native"
	}
	if s.Public {
		c.AuthMethod = client.AuthNone
	}
	return nil
}

// maxClients bounds how many clients one list shows.
const maxClients = 1000

// ListClients returns the clients of a tenant, or all when tenantID is empty, newest first.
func (d *Door) ListClients(ctx context.Context, tenantID string) ([]client.Client, error) {
	if tenantID != "" {
		if _, err := d.tenant(ctx, tenantID); err != nil {
			return nil, err
		}
	}
	return d.Clients.Clients(ctx, tenantID, maxClients)
}

// Limits of initial access tokens.
const (
	maxUses = 1000
	maxLife = 30 * 24 * time.Hour
)

// InitialTokenSpec says which initial access token to make (RFC 7591 §3).
type InitialTokenSpec struct {
	Tenant string
	Scopes []string      // ceiling of the clients that are registered with it; empty means the tenant's policy
	Uses   int           // how many registrations; 0 means 1
	Life   time.Duration // 0 means one hour
}

// CreateInitialToken makes a token with which clients of a tenant register themselves, client_credentials included. It is shown this once, only its hash is
// kept.
func (d *Door) CreateInitialToken(ctx context.Context, s InitialTokenSpec) (token string, err error) {
	t, err := d.tenant(ctx, s.Tenant)
	if err != nil {
		return "", err
	}
	if s, err = bounded(s, t); err != nil {
		return "", err
	}
	token = client.NewInitialToken()
	kept := client.InitialToken{
		Hash: client.TokenHash(token), TenantID: t.ID, Scopes: s.Scopes, Uses: s.Uses, CreatedAt: d.now(), ExpiresAt: d.now().Add(s.Life),
	}
	detail := fmt.Sprintf("%d uses until %s: %s", s.Uses, kept.ExpiresAt.Format(time.RFC3339), oauth.FormatScope(s.Scopes))
	if err := d.record(ctx, audit.Event{Action: "initial_token.create", Target: kept.Hash[:12], Tenant: t.ID, Detail: detail}); err != nil {
		return "", err
	}
	if err := d.Clients.CreateInitialToken(ctx, kept); err != nil {
		return "", fmt.Errorf("keeping an initial access token: %w", err)
	}
	return token, nil
}

func bounded(s InitialTokenSpec, t tenant.Tenant) (InitialTokenSpec, error) {
	if s.Uses == 0 {
		s.Uses = 1
	}
	if s.Life == 0 {
		s.Life = time.Hour
	}
	if s.Uses < 1 || s.Uses > maxUses || s.Life < time.Second || s.Life > maxLife {
		return s, refuse("", "an initial access token has 1 to %d uses and lives for one second to %d days", maxUses, int(maxLife.Hours()/24))
	}
	if len(s.Scopes) == 0 {
		s.Scopes = t.Scopes
	}
	var err error
	s.Scopes, err = within(s.Scopes, t.Scopes, "a client of "+t.ID)
	return s, err
}
