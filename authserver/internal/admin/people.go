package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
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
	if password, u.PasswordHash, err = newPassword(ctx, s.Password); err != nil {
		return user.User{}, "", err
	}
	err = d.Together(ctx, func(in *Door) error {
		if err := in.record(ctx, audit.Event{Action: "user.create", Target: u.ID, Detail: u.Email}); err != nil {
			return err
		}
		err := in.Users.CreateUser(ctx, u)
		if errors.Is(err, user.ErrExists) {
			return exists(u.Email)
		}
		if err != nil {
			return fmt.Errorf("keeping a user: %w", err)
		}
		if s.Tenant == "" {
			return nil
		}
		return in.PutMember(ctx, MemberSpec{Email: u.Email, Tenant: s.Tenant, Role: s.Role})
	})
	if err != nil {
		return user.User{}, "", err
	}
	return u, password, nil
}

func exists(email string) *Refusal {
	return &Refusal{
		Reason: fmt.Sprintf("there is a user %s already", email), Hint: "gatehouse member put brings them into another tenant", Err: user.ErrExists,
	}
}

// maxPeople bounds how many people one list shows.
const maxPeople = 10_000

// PeopleAsked says which people are wanted.
type PeopleAsked struct {
	Tenant string // empty: all
	Limit  int    // at most this many; 0 means 100
}

func (a PeopleAsked) limit() int {
	if a.Limit <= 0 {
		return 100
	}
	return min(a.Limit, maxPeople)
}

// ListUsers returns people in the order of their addresses, without what their passwords are checked with.
func (d *Door) ListUsers(ctx context.Context, a PeopleAsked) ([]user.User, error) {
	if a.Tenant != "" {
		if _, err := d.tenant(ctx, a.Tenant); err != nil {
			return nil, err
		}
	}
	users, err := d.Users.Users(ctx, a.Tenant, a.limit())
	for i := range users {
		users[i].PasswordHash = ""
	}
	return users, err
}

// DisableSpec says whom to shut out.
type DisableSpec struct {
	User  string // an id or an e-mail address
	Force Force
}

// Force lets a change happen that would leave nobody who administers; see there.
type Force = registrar.Force

// DisableUser shuts a person out: no sign-in, no page, no new token counts for them from then on, their sessions have ended, and then every grant of theirs
// ends, so that their agents' tokens work nowhere any more. What was cut short is finished by doing it again.
func (d *Door) DisableUser(ctx context.Context, s DisableSpec) error {
	return d.Together(ctx, func(in *Door) error {
		u, err := in.user(ctx, s.User)
		if err != nil {
			return err
		}
		e := audit.Event{Action: "user.disable", Target: u.ID, Detail: s.Force.Detail(u.Email)}
		if err := in.record(ctx, e); err != nil {
			return err
		}
		if err := registrar.Overrules(registrar.LockedOut(s.Force.Users(in.Users).SetDisabled(ctx, u.ID, true))); err != nil {
			return err
		}
		return in.endPerson(ctx, grant.Filter{UserID: u.ID}, grant.ReasonShutOut)
	})
}

// EnableUser lets a person in again who was shut out. What has ended stays ended.
func (d *Door) EnableUser(ctx context.Context, who string) error {
	return d.Together(ctx, func(in *Door) error {
		u, err := in.user(ctx, who)
		if err != nil {
			return err
		}
		if err := in.record(ctx, audit.Event{Action: "user.enable", Target: u.ID, Detail: u.Email}); err != nil {
			return err
		}
		return in.Users.SetDisabled(ctx, u.ID, false)
	})
}

// endPerson ends a person's grants, after what makes new ones has ended.
func (d *Door) endPerson(ctx context.Context, f grant.Filter, reason string) error {
	return d.later.Do(ctx, func(ctx context.Context) error {
		_, err := d.Ledger.EndAll(ctx, actor(ctx), f, reason)
		return err
	})
}

// PasswordSpec says whose password to replace.
type PasswordSpec struct {
	User     string // an id or an e-mail address
	Password string // empty means a random one
}

// SetPassword replaces a person's password and ends their sessions, and returns the password if it was made here: it is shown this once. Their agents go on.
func (d *Door) SetPassword(ctx context.Context, s PasswordSpec) (password string, err error) {
	u, err := d.user(ctx, s.User)
	if err != nil {
		return "", err
	}
	password, hash, err := newPassword(ctx, s.Password)
	if err != nil {
		return "", err
	}
	return password, d.Together(ctx, func(in *Door) error {
		if err := in.record(ctx, audit.Event{Action: "user.set_password", Target: u.ID, Detail: u.Email}); err != nil {
			return err
		}
		return in.Users.SetPassword(ctx, u.ID, hash)
	})
}

// newPassword hashes the password, or one that it makes and returns.
func newPassword(ctx context.Context, chosen string) (made, hash string, err error) {
	if chosen == "" {
		made = strings.ToLower(rand.Text()) // 130 random bits
		chosen = made
	}
	switch {
	case len(chosen) < minPassword:
		return "", "", refuse("leave it away and a random one is made", "the password is shorter than %d characters", minPassword)
	case len(chosen) > user.MaxPassword:
		return "", "", refuse("", "the password is longer than %d bytes", user.MaxPassword)
	}
	if hash, err = user.HashPassword(ctx, chosen); err != nil {
		return "", "", fmt.Errorf("hashing a password: %w", err)
	}
	return made, hash, nil
}

// user finds a person by id or e-mail address.
func (d *Door) user(ctx context.Context, who string) (user.User, error) {
	find := d.Users.User
	if strings.Contains(who, "@") {
		email, err := user.Normalize(who)
		if err != nil {
			return user.User{}, refuse("give it as ann@acme.example", "%.80q is not an e-mail address", who)
		}
		find, who = d.Users.UserByEmail, email
	}
	u, err := find(ctx, who)
	if errors.Is(err, user.ErrNotFound) {
		return user.User{}, &Refusal{Reason: fmt.Sprintf("there is no user %.80s", who), Hint: "gatehouse user create makes one", Err: err}
	}
	if err != nil {
		return user.User{}, fmt.Errorf("reading a user: %w", err)
	}
	return u, nil
}
