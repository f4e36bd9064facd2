// Package clientadmin owns the clients that somebody makes here: who may, the line before the deed,
// the deed.
//
// The operator may for everybody; a person of a tenant's admin role may for that tenant, which the
// ledger is asked each time. Check and audit are one act: the line is written first, and an act
// whose line cannot be written does not happen. So a line may stand for an act that then did not
// succeed, and no act stands without its line.
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

// ErrNotAllowed says that the caller does not look after this tenant's clients. Whether there is
// such a tenant, it does not say.
var ErrNotAllowed = errors.New("the caller does not look after this tenant's clients")

// Caller is who acts: the operator, or a person for a tenant.
type Caller struct {
	userID, tenantID string
	operator         bool
}

// Operator is the caller who may everything.
var Operator = Caller{operator: true}

// Person is somebody who looks after a tenant's clients, if the ledger says so at each act. Nothing
// of another tenant's is there for them.
func Person(userID, tenantID string) Caller { return Caller{userID: userID, tenantID: tenantID} }

// Actor is the caller as audit lines name them; of the operator, with the name that the context
// has.
func (c Caller) Actor(ctx context.Context) grant.Actor {
	if c.operator {
		return grant.Actor(audit.OperatorOf(ctx))
	}
	return grant.Actor("user:" + c.userID)
}

// origin is how a client became known that the caller makes.
func (c Caller) origin() string {
	if c.operator {
		return client.OriginOperator
	}
	return client.OriginAdmin
}

// Registrar makes clients, and what belongs to them. It is safe for concurrent use.
type Registrar struct {
	Tenants tenant.Store
	Users   user.Store
	Clients client.Store
	Grants  grant.Store
	Ledger  *grant.Ledger
	Audit   audit.Log
	Scopes  func() []string       // all that there are
	Serves  func(uri string) bool // whether there is a protected server of this URI
	Now     func() time.Time
	// Atomically runs do with stores of one transaction: all that is done to them is committed, or
	// nothing is, and nobody else changes who may what meanwhile.
	Atomically func(ctx context.Context, do func(Stores) error) error
	// Later holds what must wait until the transaction is committed that this is part of; nil:
	// nothing waits.
	Later *Later
}

// Stores are what acts read and change.
type Stores interface {
	tenant.Store
	user.Store
	client.Store
	trustedissuer.Store
	grant.Store
	audit.Log
}

// Later is what waits for the end of a transaction, because the lists of short memory are no part
// of it.
type Later struct{ acts []func(context.Context) error }

// Do does an act when the transaction is committed, or at once when there is none (nil); see Run.
func (l *Later) Do(ctx context.Context, act func(context.Context) error) error {
	if l == nil {
		return (&Later{[]func(context.Context) error{act}}).Run(ctx)
	}
	l.acts = append(l.acts, act)
	return nil
}

// Run does what has waited, in order, and all of it: also what follows an act that does not
// succeed, and also when whoever asked for it has gone (see grant.Lasting), because what it follows
// cannot be taken back.
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
		return errs[0] // as it is: it may be a refusal
	}
	return errors.Join(errs...)
}

// together runs do with a registrar whose stores are of one transaction.
func (r *Registrar) together(ctx context.Context, do func(*Registrar) error) error {
	return r.Atomically(ctx, func(s Stores) error {
		in := *r
		in.Tenants, in.Users, in.Clients, in.Grants, in.Audit = s, s, s, s, s
		return do(&in)
	})
}

// Refusal is an act that cannot be done as it was asked for. Whoever asked reads the reason, the
// operator the hint too.
type Refusal struct {
	Reason string // what is wrong
	Hint   string // what to do about it at the command line; may be empty
	Err    error  // the sentinel behind it, if there is one
}

func (r *Refusal) Error() string { return r.Reason }

func (r *Refusal) Unwrap() error { return r.Err }

// Refuse makes a refusal.
func Refuse(hint, format string, a ...any) *Refusal {
	return &Refusal{Reason: fmt.Sprintf(format, a...), Hint: hint}
}

// allowed says with ErrNotAllowed that the caller may not look after the tenant's clients.
func (r *Registrar) allowed(ctx context.Context, who Caller, tenantID string) error {
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

// record checks that the caller may do something for the event's tenant and writes its line. Only
// when it returns nil may the act happen.
func (r *Registrar) record(ctx context.Context, who Caller, e audit.Event) error {
	if err := r.allowed(ctx, who, e.Tenant); err != nil {
		return err
	}
	e.Time, e.Actor = r.now(), string(who.Actor(ctx))
	if err := r.Audit.Record(ctx, e); err != nil {
		return fmt.Errorf("writing the audit line of %s: %w", e.Action, err)
	}
	return nil
}

func (r *Registrar) now() time.Time { return r.Now().UTC().Truncate(time.Second) }

// Tenant returns a tenant that must be there and that the caller may look after.
func (r *Registrar) Tenant(ctx context.Context, who Caller, id string) (tenant.Tenant, error) {
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

// Within checks that every scope is one of those allowed, and gives them back each once.
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
// more, as of a server that came after it.
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

// Name checks a name that people will read; empty means otherwise.
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
