// Package tenant defines tenants, the customer organisations, and their policies.
package tenant

import (
	"context"
	"errors"
	"regexp"
	"time"
)

// ErrNotFound says there is no such tenant.
var ErrNotFound = errors.New("no such tenant")

// ErrExists says that the id is taken, possibly by a deleted tenant: ids are never reused.
var ErrExists = errors.New("a tenant of this id exists")

// Tenant is a customer organisation.
type Tenant struct {
	ID   string // chosen by the operator, never changed; the tenant_id claim of tokens
	Name string // display name
	Policy
	CreatedAt   time.Time
	SuspendedAt time.Time // when the operator suspended it; zero while it is active
}

var validID = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// ValidID reports whether id is valid: 1 to 63 of a-z, 0-9 and inner hyphens.
func ValidID(id string) bool { return validID.MatchString(id) }

// Store stores tenants.
type Store interface {
	// CreateTenant stores a new tenant, or returns ErrExists.
	CreateTenant(ctx context.Context, t Tenant) error
	// Tenant returns the tenant, or ErrNotFound.
	Tenant(ctx context.Context, id string) (Tenant, error)
	// RenameTenant changes the tenant's display name, or returns ErrNotFound.
	RenameTenant(ctx context.Context, id, name string) error
	// PutPolicy replaces the tenant's policy, or returns ErrNotFound.
	PutPolicy(ctx context.Context, id string, p Policy) error
	// SuspendTenant suspends the tenant until ResumeTenant, and returns since when it is suspended.
	// Its grants stay. It returns ErrNotFound without such a tenant. After it returns, no code or
	// refresh token of the tenant is being redeemed, and none will be.
	SuspendTenant(ctx context.Context, id string, at time.Time) (since time.Time, err error)
	// ResumeTenant ends the suspension, or returns ErrNotFound.
	ResumeTenant(ctx context.Context, id string) error
	// DeleteTenant deletes a tenant with its memberships, roles, policy, clients, initial access
	// tokens and trusted issuers, or returns ErrNotFound. Its id stays taken, and its grants are
	// left to be revoked: see grant.Store's LeftAlive. After it returns, no code or refresh token
	// of the tenant is being redeemed, and none will be.
	DeleteTenant(ctx context.Context, id string, at time.Time) error
	// Tenants returns all tenants, ordered by id.
	Tenants(ctx context.Context) ([]Tenant, error)
}
