package clientadmin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// Spec describes a client to create. Without redirect URIs it is a machine client, which belongs to
// a tenant and uses client_credentials. With them it is an application that people authorize. With
// Resource it is a protected server, which may introspect tokens for it and read which grants were
// revoked.
type Spec struct {
	Name         string
	Tenant       string   // required for a machine client
	Scopes       []string // the most that it may get; required for a machine client
	RedirectURIs []string
	Public       bool // an application that cannot keep a secret gets none
	// Resource is the URI of the protected server that the client is. With Scopes it may exchange
	// its callers' tokens for tokens of other servers, within these scopes. Operator only.
	Resource string
	// TokenExchange allows exchanging its own tokens, and Assertions identity assertions of its
	// tenant's identity provider (ID-JAG). Operator only.
	TokenExchange, Assertions bool
	// PostLogoutRedirectURIs are where people may be redirected after logout.
	PostLogoutRedirectURIs []string
	PushRequired           bool // every authorization request must be pushed (RFC 9126 §6)
}

// Create creates a client and returns its secret, of which only a hash is stored. A person cannot
// give a machine client scopes that they do not have.
func (r *Admin) Create(ctx context.Context, who Caller, s Spec) (c client.Client, secret string, err error) {
	err = r.within(ctx, who, func(in *Admin) error {
		c, secret, err = in.create(ctx, who, s)
		return err
	})
	return c, secret, err
}

func (r *Admin) create(ctx context.Context, who Caller, s Spec) (c client.Client, secret string, err error) {
	var t tenant.Tenant
	if s.Tenant != "" {
		if t, err = r.Tenant(ctx, who, s.Tenant); err != nil {
			return client.Client{}, "", err
		}
	}
	if c, err = r.Draft(who, s, t); err != nil {
		return client.Client{}, "", err
	}
	if err := r.noMore(ctx, who, c); err != nil {
		return client.Client{}, "", err
	}
	secret = SetSecret(&c)
	if err := r.record(ctx, who, Created(c)); err != nil {
		return client.Client{}, "", err
	}
	if err := r.Clients.CreateClient(ctx, c); err != nil {
		return client.Client{}, "", fmt.Errorf("keeping a client: %w", err)
	}
	return c, secret, nil
}

// Draft returns the client that a Spec describes, checked but without a secret; t is the tenant
// that the Spec names. Nothing is stored.
func (r *Admin) Draft(who Caller, s Spec, t tenant.Tenant) (c client.Client, err error) {
	if !who.operator && (s.Resource != "" || s.TokenExchange || s.Assertions) {
		return client.Client{}, ErrNotAllowed
	}
	c = client.Client{ID: client.NewID(), TenantID: s.Tenant, AuthMethod: client.AuthBasic, Origin: who.origin(),
		CreatedAt: r.now()}
	if c.Name, err = Name(s.Name, c.ID); err != nil {
		return client.Client{}, err
	}
	allowed := r.Scopes()
	if err := Known(s.Scopes, allowed); err != nil {
		return client.Client{}, err
	}
	if s.Tenant != "" {
		allowed = t.Scopes
		c.Scopes, err = WithinTenant(s.Scopes, t, "a client of "+t.ID)
	} else {
		c.Scopes, err = Within(s.Scopes, allowed, "a client")
	}
	if err != nil {
		return client.Client{}, err
	}
	switch {
	case s.Resource != "":
		err = r.server(&c, s, allowed)
	case len(s.RedirectURIs) == 0:
		err = machine(&c, s, allowed)
	default:
		err = application(&c, s)
	}
	if err == nil {
		err = further(&c, s)
	}
	if err != nil {
		return client.Client{}, err
	}
	return c, nil
}

// SetSecret sets and returns the secret of a drafted client; a public client gets none.
func SetSecret(c *client.Client) (secret string) {
	if c.AuthMethod != client.AuthNone {
		secret = client.NewSecret()
		c.SecretHash = client.HashSecret(secret)
	}
	return secret
}

// Created returns the audit event of a created client.
func Created(c client.Client) audit.Event {
	return audit.Event{Action: "client.create", Target: c.ID, Tenant: c.TenantID, Client: c.ID,
		Detail: oauth.FormatScope(c.Scopes)}
}

// SecretReplacement says whose secret to replace.
type SecretReplacement struct {
	Client  string
	Overlap time.Duration // how long the previous secret stays valid; 0: not at all
}

// maxOverlap bounds Overlap.
const maxOverlap = 30 * 24 * time.Hour

// ReplaceSecret replaces and returns a client's secret, of which only a hash is stored. A person
// cannot replace the secret of a machine client that may do more than they may, because with it
// they could do the same.
func (r *Admin) ReplaceSecret(ctx context.Context, who Caller, s SecretReplacement) (secret string, err error) {
	err = r.within(ctx, who, func(in *Admin) error {
		secret, err = in.replaceSecret(ctx, who, s)
		return err
	})
	return secret, err
}

func (r *Admin) replaceSecret(ctx context.Context, who Caller, s SecretReplacement) (secret string, err error) {
	if s.Overlap < 0 || s.Overlap > maxOverlap {
		return "", Refuse("", "the secret before can count for 0 to %d days more", int(maxOverlap.Hours()/24))
	}
	c, err := r.client(ctx, who, s.Client)
	if err != nil {
		return "", err
	}
	if c.SecretHash == "" {
		return "", Refuse("", "client %s has no secret", c.ID)
	}
	if err := r.noMore(ctx, who, c); err != nil {
		return "", err
	}
	ends := r.now().Add(s.Overlap)
	event := audit.Event{Action: "client.replace_secret", Target: c.ID, Tenant: c.TenantID, Client: c.ID,
		Detail: "the one before counts until " + ends.Format(time.RFC3339)}
	if err := r.record(ctx, who, event); err != nil {
		return "", err
	}
	secret = client.NewSecret()
	if err := r.Clients.ReplaceSecret(ctx, c.ID, client.HashSecret(secret), ends); err != nil {
		return "", fmt.Errorf("replacing a secret: %w", err)
	}
	return secret, nil
}

// further adds the additional grant types.
func further(c *client.Client, s Spec) error {
	if s.Public && (s.TokenExchange || s.Assertions) {
		return Refuse("leave --public away", "exchanging tokens and assertions are for clients that prove who they are")
	}
	if s.TokenExchange && !slices.Contains(c.GrantTypes, client.GrantExchange) {
		c.GrantTypes = append(c.GrantTypes, client.GrantExchange)
	}
	if s.Assertions {
		c.GrantTypes = append(c.GrantTypes, client.GrantAssertion)
	}
	return nil
}

// server sets up a client that is a protected server.
func (r *Admin) server(c *client.Client, s Spec, allowed []string) error {
	switch {
	case !r.Serves(s.Resource):
		return Refuse("name one of the resources whose tokens are issued here, byte for byte",
			"there is no resource %.200q", s.Resource)
	case s.Tenant != "" || s.Public || len(s.RedirectURIs) > 0 || len(s.PostLogoutRedirectURIs) > 0:
		return Refuse("leave --tenant, --public and the redirect URIs away",
			"a protected server serves every tenant, has a secret, and nobody signs in there")
	case len(s.Scopes) == 0 && s.TokenExchange:
		return Refuse("name them with --scopes; there are: "+oauth.FormatScope(allowed),
			"the server could pass no scope on")
	}
	c.Resource = s.Resource
	if len(s.Scopes) > 0 {
		c.GrantTypes = []string{client.GrantExchange}
	}
	return nil
}

func machine(c *client.Client, s Spec, allowed []string) error {
	switch {
	case s.Tenant == "":
		return Refuse("name it with --tenant, or give --redirect-uri for an application that people authorize",
			"a machine client must belong to a tenant")
	case s.Public:
		return Refuse("leave --public away", "a machine client must authenticate: it needs a secret")
	case len(s.PostLogoutRedirectURIs) > 0:
		return Refuse("leave --post-logout-redirect-uri away", "nobody signs out at a machine client")
	case s.PushRequired:
		return Refuse("leave --require-pushed-requests away", "a machine client sends no authorization requests")
	case len(s.Scopes) == 0:
		return Refuse("name them with --scopes; the tenant may have: "+oauth.FormatScope(allowed),
			"the client would have no scope")
	}
	c.GrantTypes = []string{client.GrantCredentials}
	return nil
}

func application(c *client.Client, s Spec) error {
	if len(s.RedirectURIs) > client.MaxRedirectURIs {
		return Refuse("", "more than %d redirect URIs", client.MaxRedirectURIs)
	}
	if len(s.PostLogoutRedirectURIs) > client.MaxRedirectURIs {
		return Refuse("", "more than %d URIs for after signing out", client.MaxRedirectURIs)
	}
	for _, uri := range append(slices.Clone(s.RedirectURIs), s.PostLogoutRedirectURIs...) {
		if err := client.CheckRedirectURI(uri); err != nil {
			return Refuse("", "redirect URI %q cannot be registered: %v", uri, err)
		}
	}
	c.RedirectURIs, c.PostLogoutRedirectURIs, c.GrantTypes = s.RedirectURIs, s.PostLogoutRedirectURIs,
		[]string{client.GrantCode, client.GrantRefresh}
	c.PushRequired = s.PushRequired
	c.ApplicationType = "web"
	if c.LoopbackOnly() {
		c.ApplicationType = "native"
	}
	if s.Public {
		c.AuthMethod = client.AuthNone
	}
	return nil
}

// client returns an existing client that the caller administers.
func (r *Admin) client(ctx context.Context, who Caller, id string) (client.Client, error) {
	c, err := r.Clients.RegisteredClient(ctx, id)
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		return client.Client{}, fmt.Errorf("reading a client: %w", err)
	}
	if err != nil || !who.operator && c.TenantID != who.tenantID {
		return client.Client{}, &Refusal{Reason: fmt.Sprintf("there is no client %.80q", id),
			Hint: "gatehouse client list shows them", Err: client.ErrNotFound}
	}
	return c, nil
}

// Delete deletes a client and then revokes all its grants: from then on nothing new can begin. An
// interrupted deletion is finished by repeating it.
func (r *Admin) Delete(ctx context.Context, who Caller, id string) error {
	c, err := r.client(ctx, who, id)
	rest := grant.Filter{ClientID: id}
	if errors.Is(err, client.ErrNotFound) {
		c, rest.TenantID = client.Client{ID: id, TenantID: who.tenantID, Name: "what was left of it"}, who.tenantID
		err = r.cutShort(ctx, who, rest, err)
	}
	if err != nil {
		return err
	}
	if err := r.record(ctx, who, audit.Event{Action: "client.delete", Target: c.ID, Tenant: c.TenantID, Client: c.ID,
		Detail: c.Name}); err != nil {
		return err
	}
	if err := r.Clients.DeleteClient(ctx, c.ID, r.now()); err != nil && !errors.Is(err, client.ErrNotFound) {
		return err
	}
	return r.Later.Do(ctx, func(ctx context.Context) error {
		_, err := r.Ledger.RevokeAll(ctx, who.Actor(ctx), rest, grant.ReasonGone)
		return err
	})
}

// cutShort returns nil when the client is gone and a grant of it that the caller may revoke is
// active, and the refusal otherwise. An existing client of another tenant is not touched.
func (r *Admin) cutShort(ctx context.Context, who Caller, rest grant.Filter, refusal error) error {
	if err := r.allowed(ctx, who, who.tenantID); err != nil {
		return err
	}
	switch _, err := r.Clients.RegisteredClient(ctx, rest.ClientID); {
	case err == nil:
		return refusal
	case !errors.Is(err, client.ErrNotFound):
		return fmt.Errorf("reading a client: %w", err)
	}
	rest.Active, rest.Limit = true, 1
	alive, err := r.Grants.Grants(ctx, rest)
	if err != nil {
		return fmt.Errorf("reading what is left of a client: %w", err)
	}
	if len(alive) == 0 {
		return refusal
	}
	return nil
}

// maxClients bounds a list.
const maxClients = 1000

// List lists clients, newest first; for the operator of all tenants.
func (r *Admin) List(ctx context.Context, who Caller, f client.Filter) ([]client.Client, error) {
	if f.TenantID != "" || !who.operator {
		if _, err := r.Tenant(ctx, who, f.TenantID); err != nil {
			return nil, err
		}
	}
	if f.Limit < 0 || f.Limit > maxClients {
		return nil, Refuse(fmt.Sprintf("give a number from 1 to %d, and go on with the id of the last as after",
			maxClients), "limit %d is out of bounds", f.Limit)
	}
	return r.Clients.Clients(ctx, f)
}

// The bounds of initial access tokens.
const (
	maxUses = 1000
	maxLife = 30 * 24 * time.Hour
)

// InitialTokenSpec describes an initial access token to create (RFC 7591 §3).
type InitialTokenSpec struct {
	Tenant   string
	Scopes   []string      // the most that clients registered with it may get; empty means the tenant's policy
	Uses     int           // number of registrations; 0 means 1
	Lifetime time.Duration // 0 means one hour
}

// CreateInitialToken returns a new token with which clients of a tenant register, for
// client_credentials too. Only its hash is stored. A person cannot give it scopes that they do not
// have.
func (r *Admin) CreateInitialToken(ctx context.Context, who Caller, s InitialTokenSpec) (token string, err error) {
	err = r.within(ctx, who, func(in *Admin) error {
		token, err = in.createInitialToken(ctx, who, s)
		return err
	})
	return token, err
}

func (r *Admin) createInitialToken(ctx context.Context, who Caller, s InitialTokenSpec) (token string, err error) {
	t, err := r.Tenant(ctx, who, s.Tenant)
	if err != nil {
		return "", err
	}
	own, err := r.Gives(ctx, who, t)
	if err != nil {
		return "", err
	}
	if s, err = bounded(s, t, own); err != nil {
		return "", err
	}
	token = client.NewInitialToken()
	kept := client.InitialToken{
		Hash: client.TokenHash(token), TenantID: t.ID, Scopes: s.Scopes, Uses: s.Uses, CreatedAt: r.now(),
		ExpiresAt: r.now().Add(s.Lifetime),
	}
	detail := fmt.Sprintf("%d uses until %s: %s", s.Uses, kept.ExpiresAt.Format(time.RFC3339),
		oauth.FormatScope(s.Scopes))
	if err := r.record(ctx, who, audit.Event{Action: "initial_token.create", Target: kept.Hash[:12], Tenant: t.ID,
		Detail: detail}); err != nil {
		return "", err
	}
	if err := r.Clients.CreateInitialToken(ctx, kept); err != nil {
		return "", fmt.Errorf("keeping an initial access token: %w", err)
	}
	return token, nil
}

// bounded returns the spec with defaults filled in; own are the scopes that the caller has in the
// tenant.
func bounded(s InitialTokenSpec, t tenant.Tenant, own []string) (InitialTokenSpec, error) {
	if s.Uses == 0 {
		s.Uses = 1
	}
	if s.Lifetime == 0 {
		s.Lifetime = time.Hour
	}
	if s.Uses < 1 || s.Uses > maxUses || s.Lifetime < time.Second || s.Lifetime > maxLife {
		return s, Refuse("", "an initial access token has 1 to %d uses and lives for one second to %d days", maxUses,
			int(maxLife.Hours()/24))
	}
	if len(s.Scopes) == 0 {
		s.Scopes = own
	}
	if len(s.Scopes) == 0 {
		return s, Refuse("name them with --scopes", "the clients that register with it would have no scope")
	}
	var err error
	if s.Scopes, err = WithinTenant(s.Scopes, t, "a client of "+t.ID); err != nil {
		return s, err
	}
	return s, lacking(s.Scopes, own)
}
