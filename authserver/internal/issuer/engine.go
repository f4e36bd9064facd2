// Package issuer owns the engine room: fosite, set up once, with our rules around it.
//
// Each request is an exchange: the value in which fosite finds its stores and strategies for this
// one request.
package issuer

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer/fositeadapter"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/trustedissuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

// Signer signs access tokens and publishes the keys to believe them with.
type Signer interface {
	token.Keys
	// Sign writes claims as an access token with the key that signs now for the algorithm.
	Sign(algorithm string, claims token.Claims) (string, error)
	// SignIdentity writes claims as an id token with the key that signs now for the algorithm.
	SignIdentity(algorithm string, claims any) (string, error)
	// PastKey is Key for what was signed long ago: keys that are published no more, but not those
	// that were withdrawn.
	PastKey(kid string) (jose.JSONWebKey, error)
}

// Documents finds clients that are known by a document of theirs.
type Documents interface {
	// Client returns the client that the document at this address describes. What is wrong with it
	// is an *oauth.Error.
	Client(ctx context.Context, address string) (client.Client, error)
}

// Identities believes what the identity providers that tenants trust assert of their people.
type Identities interface {
	// Identity returns what an assertion says, that it is for us and for now, or
	// trust.ErrNotBelieved. Whether it was used before it does not say.
	Identity(ctx context.Context, raw string) (trustedissuer.Identity, error)
}

// Settings are what the engine needs to decide.
type Settings struct {
	Issuer    string
	Resources *Resources // the first is the default one
	Clients   client.Store
	Documents Documents // nil: clients that are known by a document are not
	Tenants   tenant.Store
	Users     user.Store
	Grants    grant.Store
	Store     Store
	Pending   ttl.Store // what was asked for ahead of a browser: device requests and pushed ones
	Ledger    *grant.Ledger
	// Listed says whether a grant is on the list of revoked grants, which it may be while SQL does
	// not know of it yet: a revocation that was interrupted.
	Listed func(grantID string) bool
	// Suspended says whether the list refuses a token because it was issued before its client was
	// disabled, or its tenant suspended.
	Suspended func(token.Claims) bool
	Trust     trustedissuer.Store
	// Identities believes what identity providers assert.
	Identities Identities
	Keys       Signer
	Proofs     *dpop.Checker // believes DPoP proofs (RFC 9449)
	Secret     []byte        // derives a refresh token's successor; 32 bytes that only the issuer knows
	// Audit keeps lines before it returns. Issued takes the lines of tokens for which nothing else
	// is written, and keeps them a moment later. Refusals are those of what was refused.
	Audit    audit.Log
	Issued   func(ctx context.Context, e audit.Event) error
	Refusals *audit.Refusals

	AuthorizationCodeLifetime time.Duration // of an authorization code
	RefreshTokenIdleTimeout   time.Duration // a refresh token that is not used for so long is dead
	RefreshTokenLifetime      time.Duration // a chain of refresh tokens is dead after so long, however often it was used
	ReplayWindow              time.Duration // for so long a spent refresh token brings the same successor again
	Now                       func() time.Time
}

// Engine decides: who may have a code, who may have a token, what a token is worth. It is safe for
// concurrent use.
type Engine struct {
	Settings
	fosite   *fositeadapter.Adapter
	identity Resource // the issuer itself, for who somebody is
}

// revoked says whether a grant is revoked, in SQL or on the list, or the grant that it is derived
// from is on the list; or suspended.
func (e *Engine) revoked(g grant.Grant) bool {
	return g.Revoked() || g.Suspended || e.Listed(g.ID) || g.DerivedFrom != "" && e.Listed(g.DerivedFrom)
}

// New makes an engine.
func New(s Settings) *Engine {
	first := s.Resources.All()[0]
	identity := Resource{
		URI: s.Issuer, Name: "Gatehouse", Algorithm: first.Algorithm, AccessTokenLifetime: first.AccessTokenLifetime,
		Scopes: identityScopes(),
	}
	secure := func(redirectURI string) bool { return client.CheckRedirectURI(redirectURI) == nil }
	return &Engine{Settings: s, identity: identity, fosite: fositeadapter.New(s.Issuer, secure)}
}

// Resource returns the resource of this URI (as oauth.ParseResource writes it): a protected server,
// or the issuer itself.
func (e *Engine) Resource(uri string) (Resource, bool) {
	if uri == e.identity.URI {
		return e.identity, true
	}
	all := e.Resources.All()
	i := slices.IndexFunc(all, func(r Resource) bool { return r.URI == uri })
	if i < 0 {
		return Resource{}, false
	}
	return all[i], true
}

func (e *Engine) now() time.Time { return e.Now().UTC().Truncate(time.Second) }

// newID makes an id of 130 random bits.
func newID(prefix string) string { return prefix + strings.ToLower(rand.Text()) }

// Prefixes make our tokens easy to find for scanners that look for leaked secrets.
const (
	codePrefix    = "ghc_"
	refreshPrefix = "ghr_"
)

// newToken makes an opaque token of 256 random bits.
func newToken(prefix string) string {
	var b [32]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program rather than return weak bytes
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}
