// Package issuer implements the OAuth 2.1 authorization and token requests: what a person may
// allow, who gets a code or a token, and what a token is worth.
//
// Engine.Token takes the steps of a token request in their order; each grant type is a file
// grant_NAME.go (see grantFlow). fosite checks each request once more, behind package
// fositeadapter.
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

// Signer signs tokens and publishes the keys to verify them.
type Signer interface {
	token.Keys
	// Sign returns the claims as an access token, signed with the active key of the algorithm.
	Sign(algorithm string, claims token.Claims) (string, error)
	// SignIdentity returns the claims as an ID token, signed with the active key of the algorithm.
	SignIdentity(algorithm string, claims any) (string, error)
	// PastKey is Key for a token that was signed long ago: it also returns keys that are no longer
	// published, but none that was withdrawn.
	PastKey(kid string) (jose.JSONWebKey, error)
}

// Documents finds clients by their client metadata documents.
type Documents interface {
	// Client returns the client that the document at this URL describes. What is wrong with it is
	// an *oauth.Error.
	Client(ctx context.Context, address string) (client.Client, error)
}

// Identities verifies the assertions of identity providers that tenants trust.
type Identities interface {
	// Identity returns the claims of an assertion that is valid now and meant for this issuer, or
	// trustedissuer.ErrNotAccepted. It does not check whether the assertion was used before.
	Identity(ctx context.Context, raw string) (trustedissuer.Identity, error)
}

// Settings are the dependencies and limits of an Engine.
type Settings struct {
	Issuer    string
	Resources *Resources // the first is the default one
	Clients   client.Store
	Documents Documents // nil: client metadata documents are not accepted
	Tenants   tenant.Store
	Users     user.Store
	Grants    grant.Store
	Store     Store
	Pending   ttl.Store // device requests and pushed authorization requests that wait for a person
	Ledger    *grant.Ledger
	// Listed says whether a grant is on the list of revoked grants. It may be there and not in SQL,
	// when its revocation was interrupted.
	Listed func(grantID string) bool
	// Suspended says whether the list refuses a token because it was issued before its client was
	// disabled, or its tenant suspended.
	Suspended  func(token.Claims) bool
	Trust      trustedissuer.Store
	Identities Identities
	Keys       Signer
	Proofs     *dpop.Checker // verifies DPoP proofs (RFC 9449)
	Secret     []byte        // 32 bytes; derives the successors of refresh tokens
	// Audit writes events before it returns. Issued takes the events of tokens for which nothing
	// else is written, and writes them a moment later. Refusals writes those of refused requests.
	Audit    audit.Log
	Issued   func(ctx context.Context, e audit.Event) error
	Refusals *audit.Refusals

	AuthorizationCodeLifetime time.Duration
	RefreshTokenIdleTimeout   time.Duration // a refresh token that is not used for so long expires
	RefreshTokenLifetime      time.Duration // a chain of refresh tokens expires after so long, however often it is used
	ReplayWindow              time.Duration // for so long a spent refresh token gets the same successor again
	Now                       func() time.Time
}

// Engine decides on authorization and token requests, and what a token is worth. It is safe for
// concurrent use.
type Engine struct {
	Settings
	fosite   *fositeadapter.Adapter
	identity Resource // the issuer as the resource of the userinfo endpoint
}

// revoked reports whether a grant is revoked or suspended: in SQL or on the list of revoked
// grants, where the grant that it is derived from counts, too.
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

// Resource returns the resource of this URI, as oauth.ParseResource returns it: a protected
// server, or the issuer itself.
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
