// Package user owns people: their local accounts, their membership of tenants and the scopes that their roles give.
package user

import (
	"context"
	"errors"
	"time"
)

// ErrNotFound says there is no such user.
var ErrNotFound = errors.New("no such user")

// ErrExists says the e-mail address is taken.
var ErrExists = errors.New("a user of this e-mail address exists")

// User is a person with a local account.
type User struct {
	ID           string // "usr_" and 128 random bits; the sub of their tokens
	Email        string // as Normalize writes it; what people sign in with
	Name         string
	PasswordHash string // argon2id; empty means that no password opens this account
	Operator     bool   // may use the operator's door
	Disabled     bool
	CreatedAt    time.Time
}

// Membership is a user's place in a tenant.
type Membership struct {
	TenantID   string
	TenantName string
	Role       string
	Scopes     []string // what the role gives in this tenant
	Admin      bool     // the user looks after this tenant's clients
}

// Role is what its people may do in a tenant.
type Role struct {
	TenantID string
	Name     string
	Scopes   []string // what it gives to people's agents
	Admin    bool     // its people look after the tenant's clients
}

// Store keeps users, roles and memberships.
type Store interface {
	// CreateUser keeps a new user, or answers ErrExists and changes nothing.
	CreateUser(ctx context.Context, u User) error
	// User returns the user of this id, or ErrNotFound.
	User(ctx context.Context, id string) (User, error)
	// UserByEmail returns the user of this (normalized) address, or ErrNotFound.
	UserByEmail(ctx context.Context, email string) (User, error)
	// HasRole says whether the tenant has a role.
	HasRole(ctx context.Context, tenantID, role string) (bool, error)
	// PutRole makes or replaces a role of a tenant.
	PutRole(ctx context.Context, r Role) error
	// PutMember gives the user a role in a tenant, replacing an earlier one. Without such a user, tenant or role it answers ErrNotFound.
	PutMember(ctx context.Context, tenantID, userID, role string) error
	// Memberships returns where the user belongs, in the order of tenant ids; none is an empty slice. A disabled or unknown user belongs nowhere.
	Memberships(ctx context.Context, userID string) ([]Membership, error)
}
