package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/registrar"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// minPassword is the shortest password that an operator may choose for somebody, in bytes (NIST SP 800-63B §3.1.1.2).
const minPassword = 15

// UserSpec says which person to make.
type UserSpec struct {
	Email    string
	Name     string // for people; empty means what stands before the @
	Password string // empty means a random one
	Operator bool   // may use the operator's door
	Tenant   string // where the person belongs; empty means nowhere yet
	Role     string // in that tenant; empty means reader
}

// CreateUser makes a person with a local account, and returns the password if it was made here: it is shown this once, only its hash is kept.
func (d *Door) CreateUser(ctx context.Context, s UserSpec) (u user.User, password string, err error) {
	u = user.User{ID: user.NewID(), Operator: s.Operator, CreatedAt: d.now()}
	if u.Email, err = user.Normalize(s.Email); err != nil {
		return user.User{}, "", refuse("give it as ann@acme.example", "%q is not an e-mail address", s.Email)
	}
	local, _, _ := strings.Cut(u.Email, "@")
	if u.Name, err = registrar.Name(s.Name, local); err != nil {
		return user.User{}, "", err
	}
	if s.Password == "" {
		password = strings.ToLower(rand.Text()) // 130 random bits
		s.Password = password
	}
	if len(s.Password) < minPassword {
		return user.User{}, "", refuse("leave it away and a random one is made", "the password is shorter than %d characters", minPassword)
	}
	if s.Tenant != "" {
		if s.Role == "" {
			s.Role = RoleReader
		}
		if err := d.role(ctx, s.Tenant, s.Role); err != nil { // before anything is made: the password would be lost with the answer
			return user.User{}, "", err
		}
	}
	if _, err := d.Users.UserByEmail(ctx, u.Email); err == nil {
		return user.User{}, "", exists(u.Email)
	}
	if u.PasswordHash, err = user.HashPassword(ctx, s.Password); err != nil {
		return user.User{}, "", fmt.Errorf("hashing a password: %w", err)
	}
	if err := d.record(ctx, audit.Event{Action: "user.create", Target: u.ID, Detail: u.Email}); err != nil {
		return user.User{}, "", err
	}
	err = d.Users.CreateUser(ctx, u)
	if errors.Is(err, user.ErrExists) {
		return user.User{}, "", exists(u.Email)
	}
	if err != nil {
		return user.User{}, "", fmt.Errorf("keeping a user: %w", err)
	}
	if s.Tenant != "" {
		err = d.PutMember(ctx, MemberSpec{Email: u.Email, Tenant: s.Tenant, Role: s.Role})
	}
	return u, password, err
}

func exists(email string) *Refusal {
	return &Refusal{
		Reason: fmt.Sprintf("there is a user %s already", email), Hint: "gatehouse member put brings them into another tenant", Err: user.ErrExists,
	}
}

// MemberSpec says where a person belongs.
type MemberSpec struct {
	Email  string
	Tenant string
	Role   string // empty means reader
}

// PutMember gives a person a role in a tenant, in place of an earlier one there.
func (d *Door) PutMember(ctx context.Context, s MemberSpec) error {
	email, err := user.Normalize(s.Email)
	if err != nil {
		return refuse("give it as ann@acme.example", "%q is not an e-mail address", s.Email)
	}
	if s.Role == "" {
		s.Role = RoleReader
	}
	if err := d.role(ctx, s.Tenant, s.Role); err != nil {
		return err
	}
	u, err := d.Users.UserByEmail(ctx, email)
	if errors.Is(err, user.ErrNotFound) {
		return &Refusal{Reason: "there is no user " + email, Hint: "gatehouse user create makes one", Err: err}
	}
	if err != nil {
		return fmt.Errorf("reading a user: %w", err)
	}
	if err := d.record(ctx, audit.Event{Action: "member.put", Target: u.ID, Tenant: s.Tenant, Detail: s.Role}); err != nil {
		return err
	}
	if err := d.Users.PutMember(ctx, s.Tenant, u.ID, s.Role); err != nil {
		return fmt.Errorf("keeping a membership: %w", err)
	}
	return nil
}

// role checks that a tenant is there and has a role.
func (d *Door) role(ctx context.Context, tenantID, name string) error {
	t, err := d.tenant(ctx, tenantID)
	if err != nil {
		return err
	}
	there, err := d.Users.HasRole(ctx, t.ID, name)
	if err != nil {
		return err
	}
	if !there {
		return &Refusal{Reason: fmt.Sprintf("tenant %s has no role %q", t.ID, name), Hint: "gatehouse role put makes one", Err: user.ErrNotFound}
	}
	return nil
}
