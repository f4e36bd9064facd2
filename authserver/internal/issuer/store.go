package issuer

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/trustedissuer"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// ErrNotFound says there is no such code or refresh token.
var ErrNotFound = errors.New("no such code or refresh token")

// ErrSpent says that a guarded statement changed no row: the code or refresh token was used by
// another request, or its grant ended.
var ErrSpent = errors.New("the code or refresh token is spent or its grant has ended")

// Code is an authorization code, by hash. Its grant's id is GrantID.
type Code struct {
	Hash        string // SHA-256 of the code, hex
	GrantID     string
	ClientID    string
	RedirectURI string
	Challenge   string // PKCE S256 code_challenge
	Nonce       string // goes into the id token as it came (OpenID Connect Core §3.1.2.1)
	JKT         string // thumbprint of the key that its client must prove; empty for none (RFC 9449 §10)
	CreatedAt   time.Time
	ExpiresAt   time.Time
	UsedAt      time.Time // zero while unused
}

// RefreshToken is one leaf of a grant's chain, by hash.
type RefreshToken struct {
	Hash      string // SHA-256 of the token, hex
	GrantID   string
	ClientID  string
	JKT       string // thumbprint of the key that its client must prove; empty for none (RFC 9449 §5)
	CreatedAt time.Time
	ExpiresAt time.Time // end of its idle life
	ChainEnds time.Time // end of the chain's absolute life; every successor inherits it
	UsedAt    time.Time // zero while it is the live leaf
}

// Store keeps codes and refresh tokens. Used ones stay until their chain's life is over, so that
// reuse is noticed.
type Store interface {
	// PutCode keeps a new grant, its code and the audit line of the consent, in one transaction.
	// When the grant that it is derived from has ended, the answer is ErrSpent and nothing is kept;
	// when its client is disabled or its tenant suspended, grant.ErrSuspended.
	PutCode(ctx context.Context, g grant.Grant, c Code, e audit.Event) error
	// Code returns the code of this hash, used or not, with its grant, ended or not; or
	// ErrNotFound.
	Code(ctx context.Context, hash string) (Code, grant.Grant, error)
	// Redeem marks the code used and keeps the first refresh token of the chain (nil: none) and the
	// audit line of the tokens, in one transaction. The code's update is guarded by "unused, and
	// its grant alive"; when it changes no row the answer is ErrSpent and nothing is kept.
	Redeem(ctx context.Context, codeHash string, at time.Time, first *RefreshToken, e audit.Event) error
	// RefreshToken returns the token of this hash, used or not, with its grant, ended or not; or
	// ErrNotFound.
	RefreshToken(ctx context.Context, hash string) (RefreshToken, grant.Grant, error)
	// Rotate marks the token used and keeps its successor and the audit line, in one transaction.
	// The update is guarded by "unused, and its grant alive"; when it changes no row the answer is
	// ErrSpent and nothing is kept.
	Rotate(ctx context.Context, hash string, at time.Time, next RefreshToken, e audit.Event) error
	// Assert uses an assertion up, remembers whose its subject is, and keeps the grant that it
	// makes, with the audit line when there was none; all in one transaction. Of one assertion many
	// times, at once or later, exactly one is kept: trust.ErrUsed for the others. When the client's
	// living grant of the same person, tenant and resource was made by assertions, it is returned
	// with g's scopes. When the last one was ended by somebody after the assertion was made, the
	// answer is trust.ErrEnded; when its issuer is trusted no more, trust.ErrNotFound. On an error
	// nothing is kept.
	Assert(ctx context.Context, a trustedissuer.Assertion, g grant.Grant, e audit.Event) (grant.Grant, error)
}
