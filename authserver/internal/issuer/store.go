package issuer

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/trustedissuer"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// ErrNotFound says that there is no such code or refresh token.
var ErrNotFound = errors.New("no such code or refresh token")

// ErrSpent says that a guarded statement changed no row: the code or refresh token was used by
// another request, or its grant is revoked.
var ErrSpent = errors.New("the code or refresh token is spent or its grant is revoked")

// Code is an authorization code, by its hash.
type Code struct {
	Hash        string // SHA-256 of the code, hex
	GrantID     string
	ClientID    string
	RedirectURI string
	Challenge   string // PKCE S256 code_challenge
	Nonce       string // of the ID token (OpenID Connect Core section 3.1.2.1)
	JKT         string // thumbprint of the key that its client must prove; empty for none (RFC 9449 section 10)
	CreatedAt   time.Time
	ExpiresAt   time.Time
	UsedAt      time.Time // zero while unused
}

// RefreshToken is one refresh token of the chain of a grant, by its hash.
type RefreshToken struct {
	Hash      string // SHA-256 of the token, hex
	GrantID   string
	ClientID  string
	JKT       string // thumbprint of the key that its client must prove; empty for none (RFC 9449 section 5)
	CreatedAt time.Time
	ExpiresAt time.Time // when it expires if it is not used
	ChainEnds time.Time // when the chain expires; the same for every successor
	UsedAt    time.Time // zero: it is the current one
}

// Store stores codes and refresh tokens. Used ones stay until their chain expires, so that reuse
// is noticed.
type Store interface {
	// PutCode stores a new grant, its code and the audit event of the consent, in one transaction.
	// ErrSpent when the grant that it is derived from is revoked; grant.ErrSuspended when its
	// client is disabled or its tenant suspended. Nothing is stored on an error.
	PutCode(ctx context.Context, g grant.Grant, c Code, e audit.Event) error
	// Code returns the code of this hash, used or not, with its grant, revoked or not; or
	// ErrNotFound.
	Code(ctx context.Context, hash string) (Code, grant.Grant, error)
	// Redeem marks the code used and stores the first refresh token of the chain (nil: none) and
	// the audit event, in one transaction. ErrSpent when the code was used or its grant is
	// revoked; then nothing is stored.
	Redeem(ctx context.Context, codeHash string, at time.Time, first *RefreshToken, e audit.Event) error
	// RefreshToken returns the token of this hash, used or not, with its grant, revoked or not; or
	// ErrNotFound.
	RefreshToken(ctx context.Context, hash string) (RefreshToken, grant.Grant, error)
	// Rotate marks the token used and stores its successor and the audit event, in one
	// transaction. ErrSpent when the token was used or its grant is revoked; then nothing is
	// stored.
	Rotate(ctx context.Context, hash string, at time.Time, next RefreshToken, e audit.Event) error
	// Assert uses an assertion up, remembers the user of its subject, and stores the grant that it
	// makes, with the audit event when it is new; all in one transaction. Of one assertion many
	// times exactly one succeeds: trustedissuer.ErrUsed for the others. An existing grant by
	// assertions of the same client, user, tenant and resource is returned with the scopes of g.
	// trustedissuer.ErrEnded when that grant was revoked after the assertion was made;
	// trustedissuer.ErrNotFound when its issuer is not trusted any more. Nothing is stored on an
	// error.
	Assert(ctx context.Context, a trustedissuer.Assertion, g grant.Grant, e audit.Event) (grant.Grant, error)
}
