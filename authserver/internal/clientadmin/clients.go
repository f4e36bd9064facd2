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

// Spec says which client to make. Without redirect URIs it is a machine client, which belongs to a
// tenant and gets its tokens by client_credentials; with them it is an application that people let
// in; with Resource it is a protected server, which may ask about tokens for it and which grants
// have ended.
type Spec struct {
	Name         string
	Tenant       string   // required for a machine client
	Scopes       []string // ceiling; required for a machine client
	RedirectURIs []string
	Public       bool // an application that cannot keep a secret: it gets none
	// Resource is the URI of the protected server that the client is. With Scopes it passes its
	// callers on: it may exchange tokens for that server for tokens of others, within these. It is
	// for the operator alone to make one.
	Resource string
	// TokenExchange lets it exchange its own tokens, too, and Assertions lets its people in by
	// assertions of their organisation's identity provider. They are for the operator alone to
	// give.
	TokenExchange, Assertions bool
	// PostLogoutRedirectURIs are where an application may send people who have signed out.
	PostLogoutRedirectURIs []string
	PushRequired           bool // an application that pushes every authorization request (RFC 9126 §6)
}

// Create makes a client, and returns its secret: it is shown this once, only its hash is kept. A
// person gives a machine client no scope that they do not have themselves.
func (r *Registrar) Create(ctx context.Context, who Caller, s Spec) (c client.Client, secret string, err error) {
	err = r.within(ctx, who, func(in *Registrar) error {
		c, secret, err = in.create(ctx, who, s)
		return err
	})
	return c, secret, err
}

func (r *Registrar) create(ctx context.Context, who Caller, s Spec) (c client.Client, secret string, err error) {
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
	secret = Arm(&c)
	if err := r.record(ctx, who, Created(c)); err != nil {
		return client.Client{}, "", err
	}
	if err := r.Clients.CreateClient(ctx, c); err != nil {
		return client.Client{}, "", fmt.Errorf("keeping a client: %w", err)
	}
	return c, secret, nil
}

// Draft is the client that a spec makes by the rules, without its secret; t is the tenant that the
// spec names, if it names one. Nothing is kept.
func (r *Registrar) Draft(who Caller, s Spec, t tenant.Tenant) (c client.Client, err error) {
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

// Arm gives a draft its secret, and returns it: it is shown this once, only its hash is kept. A
// public client gets none.
func Arm(c *client.Client) (secret string) {
	if c.AuthMethod != client.AuthNone {
		secret = client.NewSecret()
		c.SecretHash = client.HashSecret(secret)
	}
	return secret
}

// Created is the line of a client that is made.
func Created(c client.Client) audit.Event {
	return audit.Event{Action: "client.create", Target: c.ID, Tenant: c.TenantID, Client: c.ID,
		Detail: oauth.FormatScope(c.Scopes)}
}

// SecretTurn says whose secret to replace.
type SecretTurn struct {
	Client  string
	Overlap time.Duration // how long the one before counts beside it; 0: no longer
}

// maxOverlap bounds for how long two secrets of a client count.
const maxOverlap = 30 * 24 * time.Hour

// ReplaceSecret gives a client another secret and returns it: it is shown this once, only its hash
// is kept. A person gets no secret of a machine client that may do more than they may themselves:
// with it they could do that too.
func (r *Registrar) ReplaceSecret(ctx context.Context, who Caller, s SecretTurn) (secret string, err error) {
	err = r.within(ctx, who, func(in *Registrar) error {
		secret, err = in.replaceSecret(ctx, who, s)
		return err
	})
	return secret, err
}

func (r *Registrar) replaceSecret(ctx context.Context, who Caller, s SecretTurn) (secret string, err error) {
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

// further adds the grant types that are asked for beside.
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

// server is a client that is a protected server.
func (r *Registrar) server(c *client.Client, s Spec, allowed []string) error {
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
		return Refuse("name it with --tenant, or give --redirect-uri for an application that people let in",
			"a machine client must belong to a tenant")
	case s.Public:
		return Refuse("leave --public away", "a machine client must prove who it is: it needs a secret")
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

// client returns a client that must be there, and be one of those that the caller looks after.
func (r *Registrar) client(ctx context.Context, who Caller, id string) (client.Client, error) {
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

// Delete makes a client unknown, and then ends all that hangs from it: from then on nothing new can
// come. What was cut short is finished by doing it again.
func (r *Registrar) Delete(ctx context.Context, who Caller, id string) error {
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
		_, err := r.Ledger.EndAll(ctx, who.Actor(ctx), rest, grant.ReasonGone)
		return err
	})
}

// cutShort is nil when the client is gone and a grant of it that the caller may end lives on, and
// else the refusal that there is no such client. One that is there and is not the caller's stays as
// it is.
func (r *Registrar) cutShort(ctx context.Context, who Caller, rest grant.Filter, refusal error) error {
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

// maxClients bounds how many clients one list shows.
const maxClients = 1000

// List lists clients, newest first: of one tenant, unless the operator asks.
func (r *Registrar) List(ctx context.Context, who Caller, f client.Filter) ([]client.Client, error) {
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

// Limits of initial access tokens.
const (
	maxUses = 1000
	maxLife = 30 * 24 * time.Hour
)

// InitialTokenSpec says which initial access token to make (RFC 7591 §3).
type InitialTokenSpec struct {
	Tenant   string
	Scopes   []string      // ceiling of the clients that are registered with it; empty means the tenant's policy
	Uses     int           // how many registrations; 0 means 1
	Lifetime time.Duration // 0 means one hour
}

// CreateInitialToken makes a token with which clients of a tenant register themselves,
// client_credentials included. It is shown this once, only its hash is kept. A person gives it no
// scope that they do not have themselves.
func (r *Registrar) CreateInitialToken(ctx context.Context, who Caller, s InitialTokenSpec) (token string, err error) {
	err = r.within(ctx, who, func(in *Registrar) error {
		token, err = in.createInitialToken(ctx, who, s)
		return err
	})
	return token, err
}

func (r *Registrar) createInitialToken(ctx context.Context, who Caller, s InitialTokenSpec) (token string, err error) {
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

// bounded is the spec with what it leaves out; own is what its maker may do in the tenant.
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
