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

// ErrTaken says that another tenant trusts this issuer already: an issuer speaks for one.
var ErrTaken = errors.New("another tenant trusts this issuer")

// ErrUsed says that an assertion was used before.
var ErrUsed = errors.New("the assertion was used before")

// ErrEnded says that the permission was ended after the assertion had been made.
var ErrEnded = errors.New("the permission ended after the assertion was made")

// Issuer is an organisation's identity provider: what it asserts counts for that tenant's own
// members.
type Issuer struct {
	Issuer    string // its issuer identifier, byte for byte
	TenantID  string
	JWKSURI   string // where its keys are
	JWKS      string // its keys, when they are nowhere
	Emails    bool   // every address that it asserts is verified, whether it says so or not
	CreatedAt time.Time
}

// Assertion is one that was believed: what keeping it needs.
type Assertion struct {
	Issuer, Subject string
	Hash            string    // of issuer and id: it is used once
	IssuedAt        time.Time // a permission that ended since is not begun anew by it
	ExpiresAt       time.Time
}

// ErrNotBelieved says that no trusted issuer made an assertion for us and for now. Why not is for
// the log alone.
var ErrNotBelieved = errors.New("the assertion of identity is not believed")

// Identity is what an organisation's identity provider asserts: that somebody of theirs lets a
// client act at a resource of ours (ID-JAG).
type Identity struct {
	Assertion
	TenantID string // whose identity provider it is
	ClientID string // here
	Resource string // empty: not said
	Scope    string
	HasScope bool   // one that was not said bounds nothing; an empty one leaves nothing
	Email    string // empty: not said, or not verified
}

// Store keeps trusted issuers and their subjects.
type Store interface {
	// PutIssuer keeps or replaces an issuer, or answers ErrTaken when another tenant trusts it.
	PutIssuer(ctx context.Context, i Issuer) error
	// Issuer returns the issuer of this identifier, or ErrNotFound.
	Issuer(ctx context.Context, issuer string) (Issuer, error)
	// Issuers returns those of a tenant (or all, when tenantID is empty), by identifier.
	Issuers(ctx context.Context, tenantID string) ([]Issuer, error)
	// DeleteIssuer forgets an issuer and its subjects; ErrNotFound when nobody trusts it.
	DeleteIssuer(ctx context.Context, issuer string) error
	// Subject returns the user whom an issuer's subject is, or ErrNotFound.
	Subject(ctx context.Context, issuer, subject string) (userID string, err error)
}
