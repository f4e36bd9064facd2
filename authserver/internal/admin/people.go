package admin

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/personal"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// minPassword is the shortest password that an operator may set, in bytes (NIST SP 800-63B
// §3.1.1.2).
const minPassword = 15

// UserSpec describes a person to create.
type UserSpec struct {
	Email    string
	Verified bool   // the operator verified the address: clients get email_verified
	Name     string // display name; empty means the part before the @
	Password string // empty means a random one
	Operator bool   // may use the operator API
	Tenant   string // a tenant to join; empty means none yet
	Role     string // in that tenant; empty means reader
}

// CreateUser creates a person with a local account, and returns the password if it was generated;
// only its hash is stored.
func (d *API) CreateUser(ctx context.Context, s UserSpec) (u user.User, password string, err error) {
	u = user.User{ID: user.NewID(), Operator: s.Operator, EmailVerified: s.Verified, CreatedAt: d.now()}
	if u.Email, err = user.Normalize(s.Email); err != nil {
		return user.User{}, "", refuse("give it as ann@acme.example", "%q is not an e-mail address", s.Email)
	}
	local, _, _ := strings.Cut(u.Email, "@")
	if u.Name, err = clientadmin.Name(s.Name, local); err != nil {
		return user.User{}, "", err
	}
	if s.Tenant != "" {
		if s.Role == "" {
			s.Role = RoleReader
		}
		if err := d.role(ctx, s.Tenant, s.Role); err != nil {
			// before anything is created: the password would be lost with the response
			return user.User{}, "", err
		}
	}
	if _, err := d.Users.UserByEmail(ctx, u.Email); err == nil {
		return user.User{}, "", exists(u.Email)
	}
	if password, u.PasswordHash, err = newPassword(ctx, s.Password); err != nil {
		return user.User{}, "", err
	}
	if u.AuditKey, err = d.vault().NewKey(u.ID); err != nil {
		return user.User{}, "", err
	}
	err = d.Together(ctx, func(in *API) error {
		address, err := in.vault().SealUnder(u.AuditKey, u.ID, u.Email)
		if err != nil {
			return err
		}
		if u.EmailVerified {
			address += " (verified)"
		}
		if err := in.record(ctx, audit.Event{Action: "user.create", Target: u.ID, Detail: address}); err != nil {
			return err
		}
		err = in.Users.CreateUser(ctx, u)
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
		Reason: fmt.Sprintf("there is a user %s already", email),
		Hint:   "gatehouse member put brings them into another tenant", Err: user.ErrExists,
	}
}

// maxPeople bounds a list of people.
const maxPeople = 10_000

// PeopleAsked selects people.
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

// ListUsers lists people ordered by address, without password hashes.
func (d *API) ListUsers(ctx context.Context, a PeopleAsked) ([]user.User, error) {
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

// DisableSpec says whom to disable.
type DisableSpec struct {
	User  string // an id or an e-mail address
	Force Force
}

// Force allows a change that leaves no administrator; see clientadmin.Force.
type Force = clientadmin.Force

// DisableUser disables a person: sign-in, pages and new tokens are rejected from then on, their
// sessions are ended, and then every grant of theirs is revoked. An interrupted call is finished by
// repeating it.
func (d *API) DisableUser(ctx context.Context, s DisableSpec) error {
	return d.Together(ctx, func(in *API) error {
		u, err := in.user(ctx, s.User)
		if err != nil {
			return err
		}
		if err := in.recordOf(ctx, u, audit.Event{Action: "user.disable"}, s.Force); err != nil {
			return err
		}
		if err := clientadmin.Overrules(clientadmin.LockedOut(s.Force.Users(in.Users).SetDisabled(ctx, u.ID,
			true))); err != nil {
			return err
		}
		return in.endAll(ctx, grant.Filter{UserID: u.ID}, grant.ReasonShutOut)
	})
}

// DeletionSpec says whom to delete.
type DeletionSpec struct {
	User  string // an id or an e-mail address
	Force Force  // also when a tenant or the installation loses its last administrator; recorded in the audit
}

// UserDeleted is the result of user.delete.
type UserDeleted struct {
	ID string
	// Plain is how many audit records of older versions contain the person's address or sign-in
	// source.
	Plain int64
}

// DeleteUser deletes a person. One transaction removes all but the id from their row, the key of
// their personal data in audit records, and their memberships, identities and recorded attempts;
// from then on no sign-in, session, page or new grant of theirs is possible. Then their grants are
// revoked, which grant.Settler completes if interrupted, or repeating it with the id. A later user
// of the same address is another person.
func (d *API) DeleteUser(ctx context.Context, s DeletionSpec) (done UserDeleted, err error) {
	if u, err := d.user(ctx, s.User); err == nil { // before the transaction, because it reads all records
		if done.Plain, err = d.Audit.PlainRecords(ctx, u.ID, u.Email); err != nil {
			return done, err
		}
	}
	err = d.Together(ctx, func(in *API) error {
		u, err := in.user(ctx, s.User)
		if errors.Is(err, user.ErrNotFound) && strings.HasPrefix(s.User, user.Prefix) {
			// perhaps deleted already, with the revocation interrupted
			alive, unread := in.Grants.Grants(ctx, grant.Filter{UserID: s.User, Active: true, Limit: 1})
			if unread != nil || len(alive) == 0 {
				return cmp.Or(unread, err)
			}
			done.ID = s.User
			return in.endAll(ctx, grant.Filter{UserID: s.User}, grant.ReasonDeleted)
		}
		if err != nil {
			return err
		}
		done.ID = u.ID
		if err := in.record(ctx,
			audit.Event{Action: "user.delete", Target: u.ID, Detail: s.Force.Detail("")}); err != nil {
			return err
		}
		if err := clientadmin.Overrules(clientadmin.LockedOut(s.Force.Users(in.Users).DeleteUser(ctx, u.ID,
			d.now()))); err != nil {
			return err
		}
		return in.endAll(ctx, grant.Filter{UserID: u.ID}, grant.ReasonDeleted)
	})
	if d.Erase != nil && err == nil {
		err = d.Erase(ctx)
	}
	return done, err
}

// vault encrypts personal data in audit records.
func (d *API) vault() personal.Vault { return personal.Vault{Secrets: d.Keys} }

// recordOf writes the audit record of an operation on a person, with their address encrypted under
// their key.
func (d *API) recordOf(ctx context.Context, u user.User, e audit.Event, force Force) error {
	address, err := d.vault().Seal(ctx, d.Users, u.ID, u.Email)
	if err != nil {
		return err
	}
	e.Target, e.Detail = u.ID, force.Detail(address)
	return d.record(ctx, e)
}

// addressLike matches what may be an e-mail address.
var addressLike = regexp.MustCompile(`[^\s"'<>(),;:]*@[^\s"'<>(),;:]*`)

// withoutAddresses replaces people's addresses in a text for the audit by their ids: an address
// could not be removed when the person is deleted.
func (d *API) withoutAddresses(ctx context.Context, s string) string {
	return addressLike.ReplaceAllStringFunc(s, func(found string) string {
		if u, err := d.user(ctx, found); err == nil {
			return u.ID
		}
		return "(an address)"
	})
}

// EnableUser enables a disabled person. What was revoked stays revoked.
func (d *API) EnableUser(ctx context.Context, who string) error {
	return d.Together(ctx, func(in *API) error {
		u, err := in.user(ctx, who)
		if err != nil {
			return err
		}
		if err := in.recordOf(ctx, u, audit.Event{Action: "user.enable"}, false); err != nil {
			return err
		}
		return in.Users.SetDisabled(ctx, u.ID, false)
	})
}

// endAll revokes grants, after what creates new ones was stopped.
func (d *API) endAll(ctx context.Context, f grant.Filter, reason string) error {
	return d.later.Do(ctx, func(ctx context.Context) error {
		_, err := d.Ledger.RevokeAll(ctx, actor(ctx), f, reason)
		return err
	})
}

// PasswordSpec says whose password to replace.
type PasswordSpec struct {
	User     string // an id or an e-mail address
	Password string // empty means a random one
}

// SetPassword replaces a person's password and ends their sessions, and returns the password if it
// was generated. Their grants stay.
func (d *API) SetPassword(ctx context.Context, s PasswordSpec) (password string, err error) {
	u, err := d.user(ctx, s.User)
	if err != nil {
		return "", err
	}
	password, hash, err := newPassword(ctx, s.Password)
	if err != nil {
		return "", err
	}
	return password, d.Together(ctx, func(in *API) error {
		if err := in.recordOf(ctx, u, audit.Event{Action: "user.set_password"}, false); err != nil {
			return err
		}
		return in.Users.SetPassword(ctx, u.ID, hash)
	})
}

// newPassword hashes the chosen password, or a generated one, which it returns.
func newPassword(ctx context.Context, chosen string) (made, hash string, err error) {
	if chosen == "" {
		made = strings.ToLower(rand.Text()) // 130 random bits
		chosen = made
	}
	switch {
	case len(chosen) < minPassword:
		return "", "", refuse("leave it away and a random one is made", "the password is shorter than %d characters",
			minPassword)
	case len(chosen) > user.MaxPassword:
		return "", "", refuse("", "the password is longer than %d bytes", user.MaxPassword)
	}
	if hash, err = user.HashPassword(ctx, chosen); err != nil {
		return "", "", fmt.Errorf("hashing a password: %w", err)
	}
	return made, hash, nil
}

// user finds a person by id or e-mail address.
func (d *API) user(ctx context.Context, who string) (user.User, error) {
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
		return user.User{}, &Refusal{Reason: fmt.Sprintf("there is no user %.80s", who),
			Hint: "gatehouse user create makes one", Err: err}
	}
	if err != nil {
		return user.User{}, fmt.Errorf("reading a user: %w", err)
	}
	return u, nil
}
