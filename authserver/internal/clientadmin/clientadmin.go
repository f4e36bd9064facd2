// Package clientadmin creates, lists, changes and deletes clients, roles and initial access tokens
// for the operator and for administrators of tenants.
//
// The operator may do so for every tenant; a person with an administrator role only for that
// tenant, which is checked in the database at each operation. Check and audit are one step: the
// record is written first, and without it nothing happens. So a record may be of an operation that
// then failed, but no operation is without its record.
package clientadmin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/trustedissuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/text"
)

// ErrNotAllowed says that the caller does not administer this tenant, whether or not the tenant
// exists.
var ErrNotAllowed = errors.New("the caller does not look after this tenant's clients")

// Caller is who acts: the operator, or a person for a tenant.
type Caller struct {
	userID, tenantID string
	operator         bool
}

// Operator is the caller who may do everything.
var Operator = Caller{operator: true}

// Person returns the caller for a person who administers a tenant, which is checked at each
// operation. Nothing of another tenant is visible to them.
func Person(userID, tenantID string) Caller { return Caller{userID: userID, tenantID: tenantID} }

// Actor returns the caller as audit records name them; the operator with the name in the context.
func (c Caller) Actor(ctx context.Context) grant.Actor {
	if c.operator {
		return grant.Actor(audit.OperatorOf(ctx))
	}
	return grant.Actor("user:" + c.userID)
}

// origin returns the origin of a client that the caller creates.
func (c Caller) origin() string {
	if c.operator {
		return client.OriginOperator
	}
	return client.OriginAdmin
}

// Admin creates clients, and what belongs to them. It is safe for concurrent use.
type Admin struct {
	Tenants tenant.Store
	Users   user.Store
	Clients client.Store
	Grants  grant.Store
	Ledger  *grant.Ledger
	Audit   audit.Log
	Scopes  func() []string       // all scopes of all resources
	Serves  func(uri string) bool // reports whether a protected resource has this URI
	Now     func() time.Time
	// Atomically runs do with the stores of one transaction. Either all changes are committed or
	// none, and no one else changes permissions meanwhile.
	Atomically func(ctx context.Context, do func(Stores) error) error
	// Later collects what must wait for the commit of the surrounding transaction; nil: nothing
	// waits.
	Later *Later
}

// Stores are what operations read and change.
type Stores interface {
	tenant.Store
	user.Store
	client.Store
	trustedissuer.Store
	grant.Store
	audit.Log
}

// Later collects functions to run after a transaction, because lists in short memory are not part
// of it.
type Later struct{ acts []func(context.Context) error }

// Do runs act after the commit, or at once when l is nil; see Run.
func (l *Later) Do(ctx context.Context, act func(context.Context) error) error {
	if l == nil {
		return (&Later{[]func(context.Context) error{act}}).Run(ctx)
	}
	l.acts = append(l.acts, act)
	return nil
}

// Run runs everything that waited, in order. It goes on after an error, and after the caller's
// context ended (see grant.Lasting), because the commit cannot be taken back.
func (l *Later) Run(ctx context.Context) error {
	ctx, done := grant.Lasting(ctx)
	defer done()
	var errs []error
	for _, act := range l.acts {
		if err := act(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 1 {
		return errs[0] // unwrapped: it may be a Refusal
	}
	return errors.Join(errs...)
}

// together runs do with an Admin whose stores are of one transaction.
func (r *Admin) together(ctx context.Context, do func(*Admin) error) error {
	return r.Atomically(ctx, func(s Stores) error {
		in := *r
		in.Tenants, in.Users, in.Clients, in.Grants, in.Audit = s, s, s, s, s
		return do(&in)
	})
}

// Refusal says why an operation was rejected: the reason for the caller, and a hint for the
// operator.
type Refusal struct {
	Reason string // what is wrong
	Hint   string // what to do about it on the command line; may be empty
	Err    error  // the sentinel behind it, if there is one
}

func (r *Refusal) Error() string { return r.Reason }

func (r *Refusal) Unwrap() error { return r.Err }

// Refuse returns a Refusal.
func Refuse(hint, format string, a ...any) *Refusal {
	return &Refusal{Reason: fmt.Sprintf(format, a...), Hint: hint}
}

// allowed returns ErrNotAllowed unless the caller administers the tenant.
func (r *Admin) allowed(ctx context.Context, who Caller, tenantID string) error {
	if who.operator {
		return nil
	}
	if tenantID == "" || tenantID != who.tenantID {
		return ErrNotAllowed
	}
	memberships, err := r.Users.Memberships(ctx, who.userID)
	if err != nil {
		return fmt.Errorf("reading memberships: %w", err)
	}
	if !slices.ContainsFunc(memberships, func(m user.Membership) bool { return m.Admin && m.TenantID == tenantID }) {
		return ErrNotAllowed
	}
	return nil
}

// record checks that the caller administers the event's tenant, and writes the audit record. Only
// when it returns nil may the operation go on.
func (r *Admin) record(ctx context.Context, who Caller, e audit.Event) error {
	if err := r.allowed(ctx, who, e.Tenant); err != nil {
		return err
	}
	e.Time, e.Actor = r.now(), string(who.Actor(ctx))
	if err := r.Audit.Record(ctx, e); err != nil {
		return fmt.Errorf("writing the audit line of %s: %w", e.Action, err)
	}
	return nil
}

func (r *Admin) now() time.Time { return r.Now().UTC().Truncate(time.Second) }

// Tenant returns an existing tenant that the caller administers.
func (r *Admin) Tenant(ctx context.Context, who Caller, id string) (tenant.Tenant, error) {
	if err := r.allowed(ctx, who, id); err != nil {
		return tenant.Tenant{}, err
	}
	if id == "" {
		return tenant.Tenant{}, Refuse("name it with --tenant", "no tenant is named")
	}
	t, err := r.Tenants.Tenant(ctx, id)
	if errors.Is(err, tenant.ErrNotFound) {
		return tenant.Tenant{}, &Refusal{Reason: fmt.Sprintf("there is no tenant %q", id),
			Hint: "gatehouse tenant list shows them", Err: err}
	}
	if err != nil {
		return tenant.Tenant{}, fmt.Errorf("reading tenant %s: %w", id, err)
	}
	return t, nil
}

// Within checks that every scope is allowed, and returns them without duplicates.
func Within(scopes, allowed []string, whose string) ([]string, error) {
	var out []string
	for _, s := range scopes {
		if !slices.Contains(allowed, s) {
			return nil, Refuse(whose+" may have: "+strings.Join(allowed, " "), "scope %q is not one that %s may have",
				s, whose)
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out, nil
}

// WithinTenant is Within for the scopes of a tenant's policy; a refusal says how the tenant gets
// more, for example those of a new server.
func WithinTenant(scopes []string, t tenant.Tenant, whose string) ([]string, error) {
	out, err := Within(scopes, t.Scopes, whose)
	var refused *Refusal
	if errors.As(err, &refused) {
		missing := slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return slices.Contains(t.Scopes, s) })
		refused.Hint += "; the operator lets the tenant have more by: gatehouse policy set --tenant " + t.ID +
			" --add-scopes " + strings.Join(missing, ",")
	}
	return out, err
}

// maxName bounds names that people read, in characters.
const maxName = 100

// Name checks a display name; an empty one becomes otherwise.
func Name(s, otherwise string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		s = otherwise
	}
	if text.Hides(s) || utf8.RuneCountInString(s) > maxName {
		return "", Refuse(fmt.Sprintf("use at most %d visible characters", maxName),
			"the name cannot be shown to people as it is")
	}
	return s, nil
}
