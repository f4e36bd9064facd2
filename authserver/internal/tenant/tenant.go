// Package tenant owns customer organisations: who they are and the most that their agents may ever
// do.
package tenant

import (
	"context"
	"errors"
	"regexp"
	"time"
)

// ErrNotFound says there is no such tenant.
var ErrNotFound = errors.New("no such tenant")

// ErrExists says the id is taken, perhaps by a tenant that was deleted: an id is never given again.
var ErrExists = errors.New("a tenant of this id exists")

// Tenant is a customer organisation.
type Tenant struct {
	ID   string // chosen by the operator, never changed: it is the tenant_id of tokens
	Name string // for people
	Policy
	CreatedAt   time.Time
	SuspendedAt time.Time // when the operator suspended it; zero while it is active
}

var validID = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// ValidID says whether id may name a tenant: 1 to 63 of a-z, 0-9 and inner hyphens.
func ValidID(id string) bool { return validID.MatchString(id) }

// Store keeps tenants.
type Store interface {
	// CreateTenant keeps a new tenant, or answers ErrExists and changes nothing.
	CreateTenant(ctx context.Context, t Tenant) error
	// Tenant returns the tenant, or ErrNotFound.
	Tenant(ctx context.Context, id string) (Tenant, error)
	// RenameTenant gives the tenant another name for people, or answers ErrNotFound.
	RenameTenant(ctx context.Context, id, name string) error
	// PutPolicy replaces the tenant's policy, or answers ErrNotFound.
	PutPolicy(ctx context.Context, id string, p Policy) error
	// SuspendTenant keeps a tenant's people and clients from everything that is for it until
	// ResumeTenant, and returns since when it is suspended. Its grants stay. ErrNotFound without
	// such a tenant. When it returns, no code or refresh token of the tenant's is being redeemed,
	// and none will be.
	SuspendTenant(ctx context.Context, id string, at time.Time) (since time.Time, err error)
	// ResumeTenant ends the suspension, or answers ErrNotFound.
	ResumeTenant(ctx context.Context, id string) error
	// DeleteTenant removes a tenant with its memberships, roles, policy, clients, initial access
	// tokens and trusted issuers, or answers ErrNotFound. Its id stays taken. Its grants are left
	// to be revoked: see grant.Store's LeftAlive. When it returns, no code or refresh token of the
	// tenant's is being redeemed, and none will be.
	DeleteTenant(ctx context.Context, id string, at time.Time) error
	// Tenants returns all tenants in the order of their ids.
	Tenants(ctx context.Context) ([]Tenant, error)
}
