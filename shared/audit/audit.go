// Package audit defines audit records: who did what to whom.
//
// Check and audit are one step: an operation whose record cannot be written does not happen.
package audit

import (
	"context"
	"time"
)

// Event is what a record says. It never holds a secret.
type Event struct {
	Time    time.Time
	Actor   string // who: "user:ID", "client:ID", "operator:NAME", "system"; "address:…" when not authenticated
	Action  string // what: noun.verb, e.g. "grant.revoke"
	Target  string // to whom: an id
	Tenant  string // for which tenant; empty when it concerns none
	Client  string // id of the client concerned; empty for none or an unregistered one
	Grant   string // the id of the grant; empty for none
	Outcome string // OK, Refused, Failed or Observed; empty means OK
	Detail  string // in a few words, e.g. the reason
}

// The outcomes.
const (
	OK      = "ok"      // it was done, or is done with this record
	Refused = "refused" // it was denied
	Failed  = "failed"  // it failed
	// Observed says that it was done, and that rules which are not enforced yet would have denied
	// it.
	Observed = "observed"
)

// Record is a stored event.
type Record struct {
	Event
	Seq int64 // number in the chain, from 1; 0 while it is not sealed
}

// Filter selects records; zero fields match all.
type Filter struct {
	Tenant, Client, Grant, Outcome string
	// Actor is one actor, or "operator" for all operators. An operator with a stated name also
	// matches without the local user.
	Actor        string
	Action       string    // noun.verb, or a noun for all of its actions
	User         string    // id of a person: what they did, and what was done to them
	Tool         string    // name of a tool: its calls, and its settings
	Since, Until time.Time // not before, and before
	Limit        int       // at most this many; 0: 100
}

// Log stores events. Record returns nil only when the event is stored; on an error the caller must
// not act.
type Log interface {
	Record(ctx context.Context, e Event) error
}
