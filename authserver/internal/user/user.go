// Package user owns people: their local accounts, their membership of tenants and the scopes that
// their roles give.
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

// Prefix begins every user id.
const Prefix = "usr_"

// User is a person with a local account.
type User struct {
	ID    string // "usr_" and 128 random bits; the sub of their tokens
	Email string // as Normalize writes it; what people sign in with
	// EmailVerified says that the operator has verified that the address is the person's.
	EmailVerified bool
	Name          string
	PasswordHash  string // argon2id; empty means that no password opens this account
	Operator      bool   // may use the operator's door
	Disabled      bool
	// SessionsEnded counts how often all of the person's sessions were ended: one that began under
	// another count is nobody's.
	SessionsEnded int64
	// AuditKey is the key under which audit records say what is personal, wrapped; see package
	// personal. It is written by CreateUser, and read by Store.AuditKey alone.
	AuditKey  []byte `json:"-"`
	CreatedAt time.Time
}

// Membership is a user's place in a tenant.
type Membership struct {
	TenantID   string
	TenantName string
	Role       string
	Scopes     []string // what the role gives in this tenant, with the roles that it includes
	Admin      bool     // the user looks after this tenant's clients
}

// Member is a tenant's person.
type Member struct {
	UserID, Email, Name string
	Role                string
	Admin               bool
	Disabled            bool
}

// Lockout says that a change would leave nobody who could take it back. Nothing was changed.
type Lockout struct {
	TenantID string // whose last admin would go; empty: the installation's last operator
}

func (l *Lockout) Error() string {
	if l.TenantID == "" {
		return "no operator would be left who can sign in"
	}
	return "nobody would be left who looks after tenant " + l.TenantID
}

// Store keeps users, roles and memberships.
type Store interface {
	// Forced is the same store, which never answers *Lockout.
	Forced() Store
	// CreateUser keeps a new user, or answers ErrExists and changes nothing.
	CreateUser(ctx context.Context, u User) error
	// User returns the user of this id, or ErrNotFound.
	User(ctx context.Context, id string) (User, error)
	// UserByEmail returns the user of this (normalized) address, or ErrNotFound.
	UserByEmail(ctx context.Context, email string) (User, error)
	// Users returns the users of a tenant (or all, when tenantID is empty) in the order of their
	// addresses, at most limit.
	Users(ctx context.Context, tenantID string, limit int) ([]User, error)
	// SetDisabled shuts the user out or lets them in again, and ends all of their sessions.
	// ErrNotFound without such a user; *Lockout when the installation would lose its last operator
	// who can sign in, or a tenant its last admin who is not disabled.
	SetDisabled(ctx context.Context, id string, disabled bool) error
	// DeleteUser deletes what is known of a person, with their memberships, identities and recorded
	// attempts to connect. Their id stays, as that of nobody, until the grants that name it are
	// deleted: it is disabled, and no method but those of grants finds it. It answers as
	// SetDisabled.
	DeleteUser(ctx context.Context, id string, at time.Time) error
	// AuditKey and PutAuditKey are those of personal.Store.
	AuditKey(ctx context.Context, id string) ([]byte, error)
	PutAuditKey(ctx context.Context, id string, wrapped []byte) error
	// SetPassword replaces the hash of the user's password and ends all of their sessions;
	// ErrNotFound without such a user.
	SetPassword(ctx context.Context, id, hash string) error
	// Role returns a role of the tenant, or ErrNotFound.
	Role(ctx context.Context, tenantID, name string) (Role, error)
	// Roles returns the tenant's roles in the order of their names.
	Roles(ctx context.Context, tenantID string) ([]Role, error)
	// PutRole makes or replaces a role of a tenant. *RoleError when it does not fit the others;
	// *Lockout when the tenant would lose its last admin.
	PutRole(ctx context.Context, r Role) error
	// PutRoles makes or replaces several roles of one tenant as one change: what counts is how they
	// fit when all are there. It answers as PutRole.
	PutRoles(ctx context.Context, tenantID string, roles []Role) error
	// DeleteRole removes a role, or answers ErrNotFound; *RoleError while somebody has it or
	// another role includes it.
	DeleteRole(ctx context.Context, tenantID, name string) error
	// Members returns the tenant's people in the order of their addresses, at most limit.
	Members(ctx context.Context, tenantID string, limit int) ([]Member, error)
	// HeldRoles returns the names of those of the tenant's roles that somebody has who is not
	// disabled.
	HeldRoles(ctx context.Context, tenantID string) ([]string, error)
	// PutMember gives the user a role in a tenant, replacing an earlier one. Without such a user,
	// tenant or role it answers ErrNotFound; *Lockout when the tenant would lose its last admin.
	PutMember(ctx context.Context, tenantID, userID, role string) error
	// RemoveMember takes the user out of a tenant, or answers ErrNotFound; *Lockout when the tenant
	// would lose its last admin.
	RemoveMember(ctx context.Context, tenantID, userID string) error
	// Memberships returns where the user belongs, in the order of tenant ids; none is an empty
	// slice. A disabled or unknown user belongs nowhere, and nobody to a tenant that is suspended.
	Memberships(ctx context.Context, userID string) ([]Membership, error)
}
