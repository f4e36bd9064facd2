// Package client owns agent applications: what they may say of themselves, where answers may be
// sent, how they prove who they are.
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

// ErrFull says that as many clients have registered by themselves as may, and each of them is in
// use.
var ErrFull = errors.New("there are as many clients as there may be")

// ErrNoInitialToken says an initial access token is unknown, expired or used up.
var ErrNoInitialToken = errors.New("no such initial access token")

// The ways a client proves who it is (RFC 7591 §2).
const (
	AuthNone  = "none"
	AuthBasic = "client_secret_basic"
	AuthPost  = "client_secret_post"
	AuthKey   = "private_key_jwt"
)

// How a client became known.
const (
	OriginRegistration = "registration"         // by itself (RFC 7591)
	OriginInitialToken = "initial_access_token" // by itself, for a tenant (RFC 7591 §3)
	OriginDocument     = "document"             // by a document of its own (OAuth Client ID Metadata Document)
	OriginOperator     = "operator"
	OriginAdmin        = "admin" // by somebody who looks after its tenant's clients
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

// Client is an agent application that is known here.
type Client struct {
	ID            string // random, never an https URL, never a user's id
	Name          string
	TenantID      string // set for a client that belongs to a tenant: only such a one may use client_credentials
	RedirectURIs  []string
	GrantTypes    []string
	AuthMethod    string // AuthNone, AuthBasic, AuthPost or AuthKey
	SecretHash    string // as HashSecret writes it; empty when AuthMethod needs none
	OldSecretHash string // the one before; it counts until OldSecretEnds
	OldSecretEnds time.Time
	JWKS          string // its public keys, when AuthMethod is AuthKey and it registered them
	JWKSURI       string // where they are, when it did not
	// ceiling; empty means no ceiling of its own for a person's grants and nothing for
	// client_credentials
	Scopes          []string
	ApplicationType string // "native" or "web"
	ClientURI       string
	SoftwareID      string
	SoftwareVersion string
	// how it became known: OriginRegistration, OriginInitialToken, OriginDocument, OriginOperator
	// or OriginAdmin
	Origin      string
	ManageHash  string // TokenHash of its registration access token; empty when it has none
	Fingerprint string // of what it said of itself, when all who register the same share one client; empty when not
	// the resource that it is, when it is a protected server that passes its callers on; empty for
	// an agent
	Resource string

	IDTokenAlg string // signs its id tokens; empty means RS256 (OpenID Connect Registration 1.0 §2)
	// where people may go on to from signing out (OpenID Connect RP-Initiated Logout 1.0 §3.1)
	PostLogoutRedirectURIs []string
	DPoPBound              bool // it binds every access token to a key of its own (RFC 9449 §5.2)
	PushRequired           bool // it pushes every authorization request (RFC 9126 §6)

	CreatedAt time.Time // of a shared client: when somebody last registered it
	// DisabledAt is when the operator disabled it; zero while it may act. Left out of JSON then:
	// fingerprints of before it came are as they were.
	DisabledAt time.Time `json:",omitzero"`
}

// InitialToken lets its bearer register clients of a tenant (RFC 7591 §3).
type InitialToken struct {
	Hash      string // SHA-256 of the token, hex
	TenantID  string
	Scopes    []string // ceiling of the clients made with it
	ExpiresAt time.Time
	Uses      int // how many registrations are left
	CreatedAt time.Time
}

// Filter says which clients to list; empty members match all.
type Filter struct {
	TenantID string
	After    string // the id of a client: the list begins with the one after it
	Limit    int    // at most this many; 0 means 100
}

// Store keeps clients and initial access tokens.
type Store interface {
	// CreateClient keeps a new client.
	CreateClient(ctx context.Context, c Client) error
	// CreateClients keeps new clients, all or none.
	CreateClients(ctx context.Context, clients []Client) error
	// Client returns the client of this id, or ErrNotFound, also of one that is disabled.
	Client(ctx context.Context, id string) (Client, error)
	// RegisteredClient returns the client of this id, disabled or not, or ErrNotFound.
	RegisteredClient(ctx context.Context, id string) (Client, error)
	// DisableClient keeps a client from everything until EnableClient, and returns since when it is
	// disabled. Its grants stay. ErrNotFound when it is gone. When it returns, no code or refresh
	// token of the client's is being redeemed, and none will be.
	DisableClient(ctx context.Context, id string, at time.Time) (since time.Time, err error)
	// EnableClient lets a client act again. ErrNotFound when it is gone.
	EnableClient(ctx context.Context, id string) error
	// Clients lists clients, disabled ones too, newest first.
	Clients(ctx context.Context, f Filter) ([]Client, error)
	// OperatorClients returns all that the operator made of a tenant, or of none when tenantID is
	// empty, oldest first.
	OperatorClients(ctx context.Context, tenantID string) ([]Client, error)
	// Register keeps a client that registers by itself, and returns it. When a living one has the
	// same fingerprint, that one is returned and counts as registered now: of many at once all get
	// one. When there would be more than ceiling of them, the oldest that nobody ever let in goes;
	// ErrFull when there is none, and then nothing changes. A client with a grant never goes. It
	// writes e in the same transaction when the client is a new one.
	Register(ctx context.Context, c Client, ceiling int64, e audit.Event) (Client, error)
	// UpdateClient writes what a client now says of itself, its redirect URIs and its grant types;
	// ErrNotFound when it is gone.
	UpdateClient(ctx context.Context, c Client) error
	// ReplaceSecret gives a client that has a secret another one. The one before counts until ends;
	// one before that no more. ErrNotFound when there is no such client, or it has no secret.
	ReplaceSecret(ctx context.Context, id, secretHash string, ends time.Time) error
	// DeleteClient makes a client unknown, and disabled no more; its row stays as long as grants of
	// it are remembered. ErrNotFound when it is gone already.
	DeleteClient(ctx context.Context, id string, at time.Time) error
	// PutDocument keeps a client that a document describes, in place of what an earlier reading
	// said. A client of another origin stays as it is, and one that is disabled, too: ErrDisabled.
	PutDocument(ctx context.Context, c Client) error
	// CreateInitialToken keeps a new initial access token.
	CreateInitialToken(ctx context.Context, t InitialToken) error
	// UseInitialToken takes one use of the token in one guarded statement and keeps the client and
	// the audit line in the same transaction. It answers ErrNoInitialToken when the token is
	// unknown, expired at now or used up; then nothing changes. prepare fills the client from the
	// token (tenant, ceiling) and may refuse with an error, which is returned as it is; then
	// nothing changes either.
	UseInitialToken(ctx context.Context, hash string, now time.Time,
		prepare func(InitialToken) (Client, audit.Event, error)) (Client, error)
}

// The kinds of clients that a tenant's policy tells apart: by whom they became known.
const (
	KindOperator = "operator" // the operator made it
	KindDocument = "document" // a document of its own describes it (OAuth Client ID Metadata Document)
	KindDynamic  = "dynamic"  // it registered by itself (RFC 7591)
	KindTenant   = "tenant"   // the tenant's own: made by its admin, or registered with its initial access token
)

// Kinds are all of them.
func Kinds() []string { return []string{KindOperator, KindDocument, KindDynamic, KindTenant} }

// Kind is the client's.
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
