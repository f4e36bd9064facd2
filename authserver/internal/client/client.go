// Package client defines OAuth clients: their metadata, redirect URIs, secrets and keys.
package client

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// ErrDisabled says that the operator has disabled the client.
var ErrDisabled = &oauth.Error{Code: "invalid_client", Status: 400,
	Description: "this application was disabled here; ask the people who run this server"}

// ErrNotFound says there is no such client.
var ErrNotFound = errors.New("no such client")

// ErrFull says that the bound of registered clients is reached and all of them are in use.
var ErrFull = errors.New("there are as many clients as there may be")

// ErrNoInitialToken says an initial access token is unknown, expired or used up.
var ErrNoInitialToken = errors.New("no such initial access token")

// The client authentication methods (RFC 7591 §2).
const (
	AuthNone  = "none"
	AuthBasic = "client_secret_basic"
	AuthPost  = "client_secret_post"
	AuthKey   = "private_key_jwt"
)

// How a client came to be registered.
const (
	OriginRegistration = "registration" // by dynamic registration (RFC 7591)
	// by dynamic registration for a tenant, with an initial access token (RFC 7591 §3)
	OriginInitialToken = "initial_access_token"
	OriginDocument     = "document" // by a client metadata document (OAuth Client ID Metadata Document)
	OriginOperator     = "operator"
	OriginAdmin        = "admin" // by an administrator of its tenant
)

// The grant types a client may have.
const (
	GrantCode        = "authorization_code"
	GrantRefresh     = "refresh_token"
	GrantCredentials = "client_credentials"
	GrantDevice      = "urn:ietf:params:oauth:grant-type:device_code"    // RFC 8628
	GrantExchange    = "urn:ietf:params:oauth:grant-type:token-exchange" // RFC 8693
	GrantAssertion   = "urn:ietf:params:oauth:grant-type:jwt-bearer"     // RFC 7523, for ID-JAG alone
)

// Client is a registered client.
type Client struct {
	ID            string // random, never an https URL, never a user's id
	Name          string
	TenantID      string // set for a client of a tenant: only these may use client_credentials
	RedirectURIs  []string
	GrantTypes    []string
	AuthMethod    string // AuthNone, AuthBasic, AuthPost or AuthKey
	SecretHash    string // as HashSecret writes it; empty when AuthMethod needs none
	OldSecretHash string // the previous secret, valid until OldSecretEnds
	OldSecretEnds time.Time
	JWKS          string // its public keys, when AuthMethod is AuthKey and it registered them by value
	JWKSURI       string // their URL, when it did not
	// The most that it may be granted; empty means no bound of its own for a person's grants, and
	// nothing for client_credentials.
	Scopes          []string
	ApplicationType string // "native" or "web"
	ClientURI       string
	SoftwareID      string
	SoftwareVersion string
	// OriginRegistration, OriginInitialToken, OriginDocument, OriginOperator or OriginAdmin
	Origin      string
	ManageHash  string // TokenHash of its registration access token; empty when it has none
	Fingerprint string // of its metadata, when all who register the same share one client; empty when not
	// The resource that it is, when it is a protected server that exchanges its callers' tokens;
	// empty for an agent.
	Resource string

	IDTokenAlg string // The algorithm of its ID tokens; empty means RS256 (OpenID Connect Registration 1.0 §2).
	// Where people may be redirected after logout (OpenID Connect RP-Initiated Logout 1.0 §3.1).
	PostLogoutRedirectURIs []string
	DPoPBound              bool // every access token must be bound to a DPoP key (RFC 9449 §5.2)
	PushRequired           bool // every authorization request must be pushed (RFC 9126 §6)

	CreatedAt time.Time // of a shared client: the time of its last registration
	// DisabledAt is when the operator disabled it; zero while it is enabled. JSON omits the zero
	// value, so that older fingerprints stay valid.
	DisabledAt time.Time `json:",omitzero"`
}

// InitialToken is an initial access token, with which clients of a tenant register (RFC 7591 §3).
type InitialToken struct {
	Hash      string // SHA-256 of the token, hex
	TenantID  string
	Scopes    []string // the most that the clients registered with it may get
	ExpiresAt time.Time
	Uses      int // registrations left
	CreatedAt time.Time
}

// Filter selects clients; zero fields match all.
type Filter struct {
	TenantID string
	After    string // the list begins after the client of this id
	Limit    int    // at most this many; 0 means 100
}

// Store stores clients and initial access tokens.
type Store interface {
	// CreateClient stores a new client.
	CreateClient(ctx context.Context, c Client) error
	// CreateClients stores new clients, all or none.
	CreateClients(ctx context.Context, clients []Client) error
	// Client returns the client, or ErrNotFound, also when it is disabled.
	Client(ctx context.Context, id string) (Client, error)
	// RegisteredClient returns the client, disabled or not, or ErrNotFound.
	RegisteredClient(ctx context.Context, id string) (Client, error)
	// DisableClient disables the client until EnableClient, and returns since when it is disabled.
	// Its grants stay. It returns ErrNotFound when the client is gone. After it returns, no code or
	// refresh token of the client is being redeemed, and none will be.
	DisableClient(ctx context.Context, id string, at time.Time) (since time.Time, err error)
	// EnableClient enables a client again, or returns ErrNotFound.
	EnableClient(ctx context.Context, id string) error
	// Clients lists clients, disabled ones included, newest first.
	Clients(ctx context.Context, f Filter) ([]Client, error)
	// OperatorClients returns all clients that the operator created for a tenant, or for none when
	// tenantID is empty, oldest first.
	OperatorClients(ctx context.Context, tenantID string) ([]Client, error)
	// Register stores a client that registers dynamically, and returns it. When an existing client
	// has the same fingerprint, that one is returned and counts as registered now: concurrent
	// registrations get one client. Beyond ceiling clients, the oldest one that was never granted
	// anything is deleted; when there is none, Register returns ErrFull and changes nothing. A
	// client with a grant is never deleted. It writes e in the same transaction when the client is
	// new.
	Register(ctx context.Context, c Client, ceiling int64, e audit.Event) (Client, error)
	// UpdateClient writes a client's changed metadata, or returns ErrNotFound.
	UpdateClient(ctx context.Context, c Client) error
	// ReplaceSecret replaces a client's secret. The previous one stays valid until ends, and any
	// older one is invalid. It returns ErrNotFound when there is no such client, or it has no
	// secret.
	ReplaceSecret(ctx context.Context, id, secretHash string, ends time.Time) error
	// DeleteClient deletes a client, enabled or disabled, or returns ErrNotFound; its row stays as
	// long as grants refer to it.
	DeleteClient(ctx context.Context, id string, at time.Time) error
	// PutDocument stores a client described by a metadata document, in place of an earlier reading.
	// A client of another origin stays as it is; for one that is disabled it returns ErrDisabled.
	PutDocument(ctx context.Context, c Client) error
	// CreateInitialToken stores a new initial access token.
	CreateInitialToken(ctx context.Context, t InitialToken) error
	// UseInitialToken consumes one use of the token in one guarded statement, and stores the client
	// and the audit record in the same transaction. It returns ErrNoInitialToken when the token is
	// unknown, expired at now or used up. prepare fills the client from the token (tenant, scopes)
	// and may reject it with an error, which is returned unchanged. On any error nothing changes.
	UseInitialToken(ctx context.Context, hash string, now time.Time,
		prepare func(InitialToken) (Client, audit.Event, error)) (Client, error)
}

// The kinds of clients that a tenant's policy distinguishes.
const (
	KindOperator = "operator" // created by the operator
	KindDocument = "document" // described by a client metadata document
	KindDynamic  = "dynamic"  // registered dynamically (RFC 7591)
	// created by a tenant's administrator, or registered with the tenant's initial access token
	KindTenant = "tenant"
)

// Kinds returns all kinds.
func Kinds() []string { return []string{KindOperator, KindDocument, KindDynamic, KindTenant} }

// Kind returns the client's kind.
func (c Client) Kind() string {
	switch c.Origin {
	case OriginOperator:
		return KindOperator
	case OriginDocument:
		return KindDocument
	case OriginAdmin, OriginInitialToken:
		return KindTenant
	}
	return KindDynamic
}
