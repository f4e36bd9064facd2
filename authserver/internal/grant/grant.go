// Package grant holds what a person, or a tenant for its machine clients, has allowed a client,
// and revokes it.
//
// Every code, refresh token and access token belongs to one grant and is revoked with it.
package grant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

// ErrNotFound says that there is no such grant.
var ErrNotFound = errors.New("no such grant")

// Grant is one permission: of a client, for one tenant, at one resource.
type Grant struct {
	ID           string // "grt_" and 128 random bits
	TenantID     string
	ClientID     string
	UserID       string   // empty for a machine client: the tenant itself allowed it
	Resource     string   // the canonical URI
	Scopes       []string // of a machine client: its scopes when the grant was made, which its tokens do not depend on
	CreatedAt    time.Time
	RevokedAt    time.Time // zero: not
	RevokeReason string

	SignedInAt time.Time // when the person had signed in; zero for none
	AssertedBy string    // the issuer whose assertions made it; empty for a grant that a person or the tenant allowed
	AssertedAt time.Time // the time of the last assertion
	// DerivedFrom is the grant that the person allowed on the consent page, when the client got
	// this one without asking them again. It is revoked with that one.
	DerivedFrom string
	// Suspended says that its client is disabled or its tenant suspended: no token of the grant is
	// issued or accepted until the operator resumes them.
	Suspended bool
}

// ErrSuspended says that a client is disabled, or a tenant suspended.
var ErrSuspended = errors.New("the client is disabled, or the tenant suspended")

// Revoked reports whether the grant is revoked or has expired.
func (g Grant) Revoked() bool { return !g.RevokedAt.IsZero() }

// Actor is who acts: "user:ID", "client:ID", "operator:NAME" or "system".
type Actor string

// Filter selects grants; empty fields match all.
type Filter struct {
	TenantID string
	UserID   string
	ClientID string
	Resource string
	// Consented leaves out those that are derived from another one.
	Consented bool
	// DerivedFrom matches those that are derived from this one.
	DerivedFrom string
	// AssertedBy matches those by assertions of this issuer.
	AssertedBy string
	Active     bool // only those that are not revoked
	// RevokeReason and RevokedSince match those that were revoked for this reason, and since then.
	RevokeReason string
	RevokedSince time.Time
	// After is the id of a grant: the list begins after it.
	After string
	Limit int // at most this many; 0 means 100
}

// Store stores grants.
type Store interface {
	// Grant returns the grant of this id, revoked or not, or ErrNotFound.
	Grant(ctx context.Context, id string) (Grant, error)
	// Grants lists grants, newest first.
	Grants(ctx context.Context, f Filter) ([]Grant, error)
	// MachineGrant returns the grant of a machine client at a resource: the active one; or else
	// one that somebody but the client revoked; or else ErrNotFound.
	MachineGrant(ctx context.Context, clientID, resource string) (Grant, error)
	// PutMachineGrant stores g unless the client has an active grant at the resource, and returns
	// the active one: of many at once all get the same. The audit event is written in the same
	// transaction when g is stored. ErrSuspended when the client is disabled or its tenant
	// suspended.
	PutMachineGrant(ctx context.Context, g Grant, e audit.Event) (Grant, error)
	// RevokeGrant revokes an active grant in one guarded statement, with its codes and refresh
	// tokens, and writes the audit event, in one transaction. A revoked grant stays as it was and
	// is no error; an unknown one is ErrNotFound.
	RevokeGrant(ctx context.Context, id string, at time.Time, reason string, e audit.Event) error
	// Orphans returns the ids of at most limit active grants whose client or tenant is deleted,
	// whose person is disabled or has left the tenant, whose issuer is not trusted any more, or
	// whose origin is revoked.
	Orphans(ctx context.Context, limit int) ([]string, error)
	// SuspendedSince returns the clients that were disabled and the tenants that were suspended,
	// or deleted, at t or later.
	SuspendedSince(ctx context.Context, t time.Time) (map[revocation.Subject]time.Time, error)
	// RevokedSince returns the grants that were revoked at t or later.
	RevokedSince(ctx context.Context, t time.Time) (map[string]time.Time, error)
}

// Ledger revokes grants, in SQL and on the list of revoked grants that resource servers follow.
type Ledger struct {
	Store Store
	List  revocation.List
	// the longest lifetime of an access token and the clock skew: for so long a grant stays on the
	// list
	TokenLifetime time.Duration
	Now           func() time.Time
	// Listed reports whether an entry is on the list, as far as this process knows. Nil: none is.
	Listed func(id string) bool
	// WithdrawnSince returns the signing keys that were withdrawn at t or later, by kid, with the
	// time. They stay on the list as long as a grant does. Nil: none.
	WithdrawnSince func(ctx context.Context, t time.Time) (map[string]time.Time, error)
}

// Revoke revokes a grant and the grants that are derived from it. The list comes first, then SQL,
// so that a failure in between can only revoke too much. When it returns nil, no token of any of
// them is accepted. Revoking a revoked grant is no error.
func (l *Ledger) Revoke(ctx context.Context, actor Actor, id, reason string) error {
	if err := l.revoke(ctx, actor, id, reason); err != nil {
		return err
	}
	for { // none can be derived from a revoked one: see Store
		derived, err := l.Store.Grants(ctx, Filter{DerivedFrom: id, Active: true})
		if err != nil {
			return fmt.Errorf("load the grants derived from %s: %w", id, err)
		}
		if len(derived) == 0 {
			return nil
		}
		for _, g := range derived {
			if err := l.revoke(ctx, actor, g.ID, reason); err != nil {
				return err
			}
		}
	}
}

func (l *Ledger) revoke(ctx context.Context, actor Actor, id, reason string) error {
	g, err := l.Store.Grant(ctx, id)
	if err != nil {
		return fmt.Errorf("revoke grant: %w", err)
	}
	now := l.Now().UTC().Truncate(time.Second)
	// A machine client may get a new grant after its own revocation, and after no other: see
	// Store.MachineGrant. The list says whose an interrupted one was.
	if own := revocation.ByClientID(id); reason == ReasonClient && g.UserID == "" && l.Listed != nil {
		switch {
		case !l.Listed(id):
			if err := l.List.Add(ctx, own, now.Add(l.TokenLifetime)); err != nil {
				return fmt.Errorf("revoke grant %s: write the list: %w", id, err)
			}
		case !l.Listed(own):
			reason = ReasonInterrupted // by somebody else, which this one must not replace
		}
	}
	if err := l.List.Add(ctx, id, now.Add(l.TokenLifetime)); err != nil {
		return fmt.Errorf("revoke grant %s: write the list: %w", id, err)
	}
	event := audit.Event{Time: now, Actor: string(actor), Action: "grant.revoke", Target: id, Tenant: g.TenantID,
		Client: g.ClientID, Grant: id, Detail: reason}
	if err := l.Store.RevokeGrant(ctx, id, now, reason, event); err != nil {
		return fmt.Errorf("revoke grant %s: %w", id, err)
	}
	return nil
}

// RevokeAll revokes all active grants that the filter selects, and returns how many. It goes on
// until there is none: new ones must be impossible before.
func (l *Ledger) RevokeAll(ctx context.Context, actor Actor, f Filter, reason string) (ended int, err error) {
	f.Active = true
	for {
		alive, err := l.Store.Grants(ctx, f)
		if err != nil {
			return ended, fmt.Errorf("load the grants to revoke: %w", err)
		}
		if len(alive) == 0 {
			return ended, nil
		}
		for _, g := range alive {
			if err := l.Revoke(ctx, actor, g.ID, reason); err != nil {
				return ended, err
			}
			ended++
		}
	}
}

// lastingTime bounds revocations whose request is over.
const lastingTime = time.Minute

// Lasting returns a context for revocations that follow what cannot be undone, such as the
// deletion of a client: they go on for a minute at most when the request is over or its sender is
// gone. What is interrupted all the same can be repeated.
func Lasting(ctx context.Context) (lasting context.Context, done context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), lastingTime)
}

// suspensionSkew is by how much the clocks of the issuers may differ: for so long after a
// suspension, tokens that it refuses may seem to be issued.
const suspensionSkew = 30 * time.Second

// suspension refuses the tokens that were issued before at.
func suspension(s revocation.Subject, at time.Time) revocation.Suspension {
	return revocation.Suspension{Subject: s, At: at, Before: at.Add(suspensionSkew)}
}

// Suspend puts on the list that a client was disabled or a tenant suspended at this time: when it
// returns nil, tokens that were issued before are refused. SQL must have it before; Restore
// completes an interrupted call.
func (l *Ledger) Suspend(ctx context.Context, s revocation.Subject, at time.Time) error {
	return l.tell(ctx, suspension(s, at))
}

// Resume puts on the list that a client was enabled or a tenant resumed: tokens that are issued
// from now on are accepted. Earlier ones stay refused until they expire; their grants get new
// ones.
func (l *Ledger) Resume(ctx context.Context, s revocation.Subject) error {
	now := l.Now().UTC().Truncate(time.Second)
	return l.tell(ctx, revocation.Suspension{Subject: s, At: now, Before: now})
}

func (l *Ledger) tell(ctx context.Context, s revocation.Suspension) error {
	if err := l.List.Add(ctx, s.ID(), s.Before.Add(l.TokenLifetime)); err != nil {
		return fmt.Errorf("write the list of revoked grants: %w", err)
	}
	return nil
}

// Restore writes to the list the grants and keys of the ledger whose tokens may not have expired
// yet, and marks the list complete for this time.
func (l *Ledger) Restore(ctx context.Context, lifetime time.Duration) error {
	if err := l.List.Restore(ctx, l.revoked, lifetime); err != nil {
		return fmt.Errorf("restore the list of revoked grants: %w", err)
	}
	return nil
}

func (l *Ledger) revoked(ctx context.Context) (map[string]time.Time, error) {
	since := l.Now().Add(-l.TokenLifetime)
	ended, err := l.Store.RevokedSince(ctx, since)
	if err != nil {
		return nil, fmt.Errorf("load revoked grants: %w", err)
	}
	if l.WithdrawnSince != nil {
		withdrawn, err := l.WithdrawnSince(ctx, since)
		if err != nil {
			return nil, err
		}
		for kid, at := range withdrawn {
			ended[revocation.KeyID(kid)] = at
		}
	}
	suspended, err := l.Store.SuspendedSince(ctx, since.Add(-suspensionSkew))
	if err != nil {
		return nil, fmt.Errorf("load suspensions: %w", err)
	}
	for subject, at := range suspended {
		s := suspension(subject, at)
		ended[s.ID()] = s.Before
	}
	for id, at := range ended {
		ended[id] = at.Add(l.TokenLifetime)
	}
	return ended, nil
}

// The reasons for revoking a grant that are not an operator's.
const (
	ReasonClient = "revoked by its client" // RFC 7009
	ReasonReuse  = "a used code or refresh token came back"
	ReasonPerson = "ended by the person"
	// ReasonGone: the client deleted itself, or was deleted.
	ReasonGone = "the client is gone"
	// ReasonTenantGone: the tenant was deleted.
	ReasonTenantGone = "the organisation is gone"
	// ReasonShutOut: the person's account was disabled. ReasonLeft: they left the tenant.
	ReasonShutOut = "the person's account is disabled"
	ReasonLeft    = "the person left the organisation"
	// ReasonDeleted: the person's account was deleted.
	ReasonDeleted = "the person's account is deleted"
	// ReasonExpired: its code and refresh tokens have expired.
	ReasonExpired = "expired"
)
