// Package trustedissuer holds the issuers whose identity assertions a tenant accepts (ID-JAG), and
// which local users their subjects are.
package trustedissuer

import (
	"context"
	"errors"
	"time"
)

// ErrNotFound says that no tenant trusts the issuer, or that its subject is no local user.
var ErrNotFound = errors.New("no such trusted issuer or subject")

// ErrTaken says that another tenant trusts this issuer already.
var ErrTaken = errors.New("another tenant trusts this issuer")

// ErrUsed says that an assertion was used before.
var ErrUsed = errors.New("the assertion was used before")

// ErrEnded says that the grant was revoked after the assertion was issued.
var ErrEnded = errors.New("the permission ended after the assertion was made")

// Issuer is an organisation's identity provider; its assertions are valid for that tenant's members
// only.
type Issuer struct {
	Issuer    string // its issuer identifier, compared byte for byte
	TenantID  string
	JWKSURI   string // where its keys are
	JWKS      string // its keys by value, when they have no URL
	Emails    bool   // every asserted address is verified, whether or not it says so
	CreatedAt time.Time
}

// Assertion is an accepted assertion, as far as it is stored.
type Assertion struct {
	Issuer, Subject string
	Hash            string    // of issuer and jti, for single use
	IssuedAt        time.Time // a grant revoked since is not renewed by it
	ExpiresAt       time.Time
}

// ErrNotAccepted says that an assertion is not of a trusted issuer, not for us, or not valid now.
// The reason is logged only.
var ErrNotAccepted = errors.New("the identity assertion is not accepted")

// Identity is what an identity provider asserts: that its user allows a client to use a resource
// (ID-JAG).
type Identity struct {
	Assertion
	TenantID string // the tenant that trusts the identity provider
	ClientID string // client_id at this issuer
	Resource string // empty: absent
	Scope    string
	HasScope bool   // false: scope is absent and bounds nothing; an empty scope leaves nothing
	Email    string // empty: absent or not verified
}

// Store stores trusted issuers and their subjects.
type Store interface {
	// PutIssuer stores or replaces an issuer, or returns ErrTaken when another tenant trusts it.
	PutIssuer(ctx context.Context, i Issuer) error
	// Issuer returns the issuer of this identifier, or ErrNotFound.
	Issuer(ctx context.Context, issuer string) (Issuer, error)
	// Issuers returns a tenant's issuers (or all, when tenantID is empty), ordered by identifier.
	Issuers(ctx context.Context, tenantID string) ([]Issuer, error)
	// DeleteIssuer deletes an issuer and its subjects, or returns ErrNotFound.
	DeleteIssuer(ctx context.Context, issuer string) error
	// Subject returns the user id of an issuer's subject, or ErrNotFound.
	Subject(ctx context.Context, issuer, subject string) (userID string, err error)
}
