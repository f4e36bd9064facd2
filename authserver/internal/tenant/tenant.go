// Package tenant owns customer organisations: who they are and the most that their agents may ever do.
package tenant

import (
	"context"
	"errors"
	"regexp"
	"time"
)

// ErrNotFound says there is no such tenant.
var ErrNotFound = errors.New("no such tenant")

// ErrExists says the id is taken.
var ErrExists = errors.New("a tenant of this id exists")

// Tenant is a customer organisation.
type Tenant struct {
	ID   string // chosen by the operator, never changed: it is the tenant_id of tokens
	Name string // for people
	Policy
	CreatedAt time.Time
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
	// Tenants returns all tenants in the order of their ids.
	Tenants(ctx context.Context) ([]Tenant, error)
}
