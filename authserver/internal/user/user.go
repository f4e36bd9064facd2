// Package user defines people: their local accounts, memberships and roles.
package user

import (
	"context"
	"errors"
	"time"
)

// ErrNotFound says there is no such user.
var ErrNotFound = errors.New("no such user")

// ErrExists says that the e-mail address is taken.
var ErrExists = errors.New("a user of this e-mail address exists")

// Prefix begins every user id.
const Prefix = "usr_"

// User is a person with a local account.
type User struct {
	ID    string // "usr_" and 128 random bits; the sub of their tokens
	Email string // normalized; what people sign in with
	// EmailVerified says that the operator verified the address.
	EmailVerified bool
	Name          string
	PasswordHash  string // argon2id; empty: no password is valid
	Operator      bool   // may use the operator API
	Disabled      bool
	// SessionsEnded counts how often all of the person's sessions were ended; a session that began
	// under another count is invalid.
	SessionsEnded int64
	// AuditKey is the wrapped key of personal data in audit records; see package personal.
	// CreateUser writes it, and only Store.AuditKey reads it.
	AuditKey  []byte `json:"-"`
	CreatedAt time.Time
}

// Membership is a user's membership of a tenant.
type Membership struct {
	TenantID   string
	TenantName string
	Role       string
	Scopes     []string // scopes of the role, those of included roles too
	Admin      bool     // the user administers this tenant's clients
}

// Member is a member of a tenant.
type Member struct {
	UserID, Email, Name string
	Role                string
	Admin               bool
	Disabled            bool
}

// Lockout says that a change would leave no one who could undo it. Nothing was changed.
type Lockout struct {
	TenantID string // the tenant that would lose its last administrator; empty: the installation its last operator
}

func (l *Lockout) Error() string {
	if l.TenantID == "" {
		return "no operator would be left who can sign in"
	}
	return "no one would be left who administers tenant " + l.TenantID
}

// Store stores users, roles and memberships.
type Store interface {
	// Forced returns the same store, which never returns *Lockout.
	Forced() Store
	// CreateUser stores a new user, or returns ErrExists.
	CreateUser(ctx context.Context, u User) error
	// User returns the user of this id, or ErrNotFound.
	User(ctx context.Context, id string) (User, error)
	// UserByEmail returns the user of this normalized address, or ErrNotFound.
	UserByEmail(ctx context.Context, email string) (User, error)
	// Users returns at most limit users of a tenant, or of all when tenantID is empty, ordered by
	// address.
	Users(ctx context.Context, tenantID string, limit int) ([]User, error)
	// SetDisabled disables or enables the user and ends all of their sessions. It returns
	// ErrNotFound without such a user, and *Lockout when the installation would lose its last
	// operator who can sign in, or a tenant its last enabled administrator.
	SetDisabled(ctx context.Context, id string, disabled bool) error
	// DeleteUser deletes a person with their memberships, identities and recorded attempts. The id
	// stays, disabled and found by grants only, until the grants that name it are deleted. It
	// returns errors as SetDisabled.
	DeleteUser(ctx context.Context, id string, at time.Time) error
	// AuditKey and PutAuditKey are those of personal.Store.
	AuditKey(ctx context.Context, id string) ([]byte, error)
	PutAuditKey(ctx context.Context, id string, wrapped []byte) error
	// SetPassword replaces the user's password hash and ends all of their sessions, or returns
	// ErrNotFound.
	SetPassword(ctx context.Context, id, hash string) error
	// Role returns a role of the tenant, or ErrNotFound.
	Role(ctx context.Context, tenantID, name string) (Role, error)
	// Roles returns the tenant's roles, ordered by name.
	Roles(ctx context.Context, tenantID string) ([]Role, error)
	// PutRole creates or replaces a role. It returns *RoleError when it conflicts with others, and
	// *Lockout when the tenant would lose its last administrator.
	PutRole(ctx context.Context, r Role) error
	// PutRoles creates or replaces several roles of one tenant as one change, checked as a whole.
	// It returns errors as PutRole.
	PutRoles(ctx context.Context, tenantID string, roles []Role) error
	// DeleteRole deletes a role, or returns ErrNotFound; *RoleError while a member has it or
	// another role includes it.
	DeleteRole(ctx context.Context, tenantID, name string) error
	// Members returns at most limit members of the tenant, ordered by address.
	Members(ctx context.Context, tenantID string, limit int) ([]Member, error)
	// HeldRoles returns the names of the roles that enabled members of the tenant have.
	HeldRoles(ctx context.Context, tenantID string) ([]string, error)
	// PutMember sets the user's role in a tenant. It returns ErrNotFound without such a user,
	// tenant or role, and *Lockout when the tenant would lose its last administrator.
	PutMember(ctx context.Context, tenantID, userID, role string) error
	// RemoveMember removes the user from a tenant, or returns ErrNotFound; *Lockout when the tenant
	// would lose its last administrator.
	RemoveMember(ctx context.Context, tenantID, userID string) error
	// Memberships returns a user's memberships ordered by tenant id, never nil. Disabled and
	// unknown users have none, and suspended tenants are left out.
	Memberships(ctx context.Context, userID string) ([]Membership, error)
}
