// Package grant owns what a person, or a tenant for its machine clients, allowed a client to do,
// and the end of that.
//
// Every code, refresh token and access token hangs from one grant and ends with it. The grant's id
// is fosite's request id.
package grant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

// ErrNotFound says there is no such grant.
var ErrNotFound = errors.New("no such grant")

// Grant is one permission: a client, for one tenant, at one resource.
type Grant struct {
	ID           string // "grt_" and 128 random bits
	TenantID     string
	ClientID     string
	UserID       string   // empty for a machine client: the tenant itself allowed it
	Resource     string   // the canonical URI
	Scopes       []string // of a machine client: its ceiling when the grant was made, which its tokens do not ask
	CreatedAt    time.Time
	RevokedAt    time.Time // zero while alive
	RevokeReason string

	SignedInAt time.Time // when the person had last proved who they are; zero when nobody did it here
	AssertedBy string    // the issuer whose assertion made it; empty for what a person or the tenant allowed here
	AssertedAt time.Time // when it last did
	// DerivedFrom is the grant that the person made by hand, when the client got this one without
	// their being asked again. It ends with that one.
	DerivedFrom string
	// Suspended says that its client is disabled or its tenant suspended: nothing is issued on the
	// strength of it, and no token of it accepted, until the operator says otherwise.
	Suspended bool
}

// ErrSuspended says that a client is disabled, or a tenant suspended.
var ErrSuspended = errors.New("the client is disabled, or the tenant suspended")

// Revoked says whether the grant has ended.
func (g Grant) Revoked() bool { return !g.RevokedAt.IsZero() }

// Actor is who acts: "user:ID", "client:ID", "operator:NAME" or "system".
type Actor string

// Filter says which grants to list; empty members match all.
type Filter struct {
	TenantID string
	UserID   string
	ClientID string
	Resource string
	// Consented leaves out those that a client got without the person's being asked again.
	Consented bool
	// DerivedFrom matches those that came of this one.
	DerivedFrom string
	// AssertedBy matches those that this issuer's assertions made.
	AssertedBy string
	Active     bool // only those that have not ended
	// RevokeReason and EndedSince match those that ended for this reason, and not before.
	RevokeReason string
	RevokedSince time.Time
	// After is the id of a grant: the list begins with the one after it.
	After string
	Limit int // at most this many; 0 means 100
}

// Store keeps grants.
type Store interface {
	// Grant returns the grant of this id, ended or not, or ErrNotFound.
	Grant(ctx context.Context, id string) (Grant, error)
	// Grants lists grants, newest first.
	Grants(ctx context.Context, f Filter) ([]Grant, error)
	// MachineGrant returns the grant of a machine client at a resource: the living one; or else one
	// that somebody but the client ended, which says so; or else ErrNotFound.
	MachineGrant(ctx context.Context, clientID, resource string) (Grant, error)
	// PutMachineGrant keeps g unless a living grant of the same client and resource exists, and
	// returns the living one: of many at once all get the same. It writes e in the same transaction
	// when it made one. ErrSuspended when the client is disabled or its tenant suspended.
	PutMachineGrant(ctx context.Context, g Grant, e audit.Event) (Grant, error)
	// RevokeGrant ends a living grant in one guarded statement, deletes its codes and refresh tokens'
	// liveness with it and writes e, in one transaction. An ended grant stays as it was and is no
	// error; an unknown one is ErrNotFound.
	RevokeGrant(ctx context.Context, id string, at time.Time, reason string, e audit.Event) error
	// Orphans returns the ids of at most limit grants that live though what they belong to is
	// gone: their client or tenant is deleted, their person's account is disabled or belongs to the
	// tenant no more, their issuer is not trusted any more, or the grant that they are derived from
	// has ended.
	Orphans(ctx context.Context, limit int) ([]string, error)
	// SuspendedSince returns the clients that are disabled and the tenants that are suspended, or
	// deleted, since t or later.
	SuspendedSince(ctx context.Context, t time.Time) (map[revocation.Subject]time.Time, error)
	// RevokedSince returns the grants that ended at or after t, for the list's restoring.
	RevokedSince(ctx context.Context, t time.Time) (map[string]time.Time, error)
}

// Ledger ends grants: one act behind the three doors (RFC 7009, the person's page, the operator).
type Ledger struct {
	Store         Store
	List          revocation.List
	TokenLifetime time.Duration // the longest life of an access token, skew included: how long a grant stays on the list
	Now           func() time.Time
	// Listed says whether an entry is on the list, as far as this process has heard. Nil: it has
	// heard of none.
	Listed func(id string) bool
	// WithdrawnSince returns the signing keys that were withdrawn at or after t, by kid, with when
	// that was: they belong on the list as long as a grant does. Nil: none.
	WithdrawnSince func(ctx context.Context, t time.Time) (map[string]time.Time, error)
}

// Revoke ends a grant with everything that hangs from it, and the grants that a client got on the
// strength of it. The list comes first, then SQL, so that a failure in between can only revoke too
// much. When it returns nil, no token of any of them works. Ending an ended grant is no error.
func (l *Ledger) Revoke(ctx context.Context, actor Actor, id, reason string) error {
	if err := l.revoke(ctx, actor, id, reason); err != nil {
		return err
	}
	for { // nothing new can come of an ended one: see Store
		derived, err := l.Store.Grants(ctx, Filter{DerivedFrom: id, Active: true})
		if err != nil {
			return fmt.Errorf("reading what came of grant %s: %w", id, err)
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
		return fmt.Errorf("ending grant: %w", err)
	}
	now := l.Now().UTC().Truncate(time.Second)
	// A machine client may begin anew after its own revocation, and after no other: see
	// Store.MachineGrant. Whose an interrupted one was, the list says.
	if own := revocation.ByClientID(id); reason == ReasonClient && g.UserID == "" && l.Listed != nil {
		switch {
		case !l.Listed(id):
			if err := l.List.Add(ctx, own, now.Add(l.TokenLifetime)); err != nil {
				return fmt.Errorf("ending grant %s: writing the list: %w", id, err)
			}
		case !l.Listed(own):
			reason = ReasonInterrupted // somebody else's, which this one must not take the place of
		}
	}
	if err := l.List.Add(ctx, id, now.Add(l.TokenLifetime)); err != nil {
		return fmt.Errorf("ending grant %s: writing the list: %w", id, err)
	}
	event := audit.Event{Time: now, Actor: string(actor), Action: "grant.revoke", Target: id, Tenant: g.TenantID,
		Client: g.ClientID, Grant: id, Detail: reason}
	if err := l.Store.RevokeGrant(ctx, id, now, reason, event); err != nil {
		return fmt.Errorf("ending grant %s: %w", id, err)
	}
	return nil
}

// RevokeAll ends all living grants that the filter names, and says how many. It goes on until there is
// none: what makes new ones must have ended before.
func (l *Ledger) RevokeAll(ctx context.Context, actor Actor, f Filter, reason string) (ended int, err error) {
	f.Active = true
	for {
		alive, err := l.Store.Grants(ctx, f)
		if err != nil {
			return ended, fmt.Errorf("reading the grants to end: %w", err)
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

// lastingTime bounds ends for which nobody waits any more.
const lastingTime = time.Minute

// Lasting is a context for ends that follow what cannot be taken back, such as a client that is
// deleted: they go on when the request is over or whoever asked has gone, for a minute at most.
// What is cut short even so is finished by asking again.
func Lasting(ctx context.Context) (lasting context.Context, done context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), lastingTime)
}

// suspensionSkew is by how much the clocks of those that issue may differ: so much after a
// suspension the tokens that it refuses may seem to be issued.
const suspensionSkew = 30 * time.Second

// suspension refuses what was issued before at.
func suspension(s revocation.Subject, at time.Time) revocation.Suspension {
	return revocation.Suspension{Subject: s, At: at, Before: at.Add(suspensionSkew)}
}

// Suspend tells the list that a client was disabled or a tenant suspended at this time: when it
// returns nil, the tokens that were issued before are refused. That they are, is to be in SQL
// before; what is cut short there, Restore repairs.
func (l *Ledger) Suspend(ctx context.Context, s revocation.Subject, at time.Time) error {
	return l.tell(ctx, suspension(s, at))
}

// Resume tells the list that a client was enabled or a tenant resumed: tokens that are issued from
// now on are accepted. Those of before stay refused until they expire, and their grants bring
// others.
func (l *Ledger) Resume(ctx context.Context, s revocation.Subject) error {
	now := l.Now().UTC().Truncate(time.Second)
	return l.tell(ctx, revocation.Suspension{Subject: s, At: now, Before: now})
}

func (l *Ledger) tell(ctx context.Context, s revocation.Suspension) error {
	if err := l.List.Add(ctx, s.ID(), s.Before.Add(l.TokenLifetime)); err != nil {
		return fmt.Errorf("writing the list of revoked grants: %w", err)
	}
	return nil
}

// Restore writes to the list what the ledger knows of grants and keys whose tokens may still be
// unexpired, and marks the list complete for life.
func (l *Ledger) Restore(ctx context.Context, life time.Duration) error {
	if err := l.List.Restore(ctx, l.revoked, life); err != nil {
		return fmt.Errorf("restoring the list of ended grants: %w", err)
	}
	return nil
}

func (l *Ledger) revoked(ctx context.Context) (map[string]time.Time, error) {
	since := l.Now().Add(-l.TokenLifetime)
	ended, err := l.Store.RevokedSince(ctx, since)
	if err != nil {
		return nil, fmt.Errorf("reading the ledger: %w", err)
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
		return nil, fmt.Errorf("reading what is suspended: %w", err)
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

// Reasons that the house itself gives for ending a grant.
const (
	ReasonClient = "revoked by its client" // RFC 7009
	ReasonReuse  = "a used code or refresh token came back"
	ReasonPerson = "ended by the person"
	// ReasonGone: the client has deleted itself, or was deleted.
	ReasonGone = "the client is gone"
	// ReasonTenantGone: the tenant was deleted.
	ReasonTenantGone = "the organisation is gone"
	// ReasonShutOut: the person's account was disabled, and ReasonLeft: they belong to the tenant
	// no more.
	ReasonShutOut = "the person's account is disabled"
	ReasonLeft    = "the person left the organisation"
	// ReasonDeleted: the person's account was deleted.
	ReasonDeleted = "the person's account is deleted"
	// ReasonExpired: nothing that hangs from it can be used any more.
	ReasonExpired = "expired"
)
