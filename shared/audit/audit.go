// Package audit owns the record of who did what to whom: people's and programs' ways in, tokens,
// refusals, administrative acts, keys, the end of grants.
//
// Check and audit are one act: an act whose line cannot be written does not happen.
package audit

import (
	"context"
	"time"
)

// Event is one line. It never holds a secret.
type Event struct {
	Time    time.Time
	Actor   string // who: "user:ID", "client:ID", "operator:NAME", "system"; of a stranger "address:…"
	Action  string // what: noun.verb, e.g. "grant.revoke"
	Target  string // to whom: an id
	Tenant  string // for which tenant; empty when it concerns none
	Client  string // the id of the client that it concerns; empty for none, or one that is not known here
	Grant   string // the id of the grant; empty for none
	Outcome string // OK, Refused, Failed or Observed; empty means OK
	Detail  string // in a few words, e.g. the reason
}

// What became of an act.
const (
	OK      = "ok"      // it was done, or is done with this line
	Refused = "refused" // somebody may not, or said no
	Failed  = "failed"  // something did not work
	// Observed says that it was done, and that rules which are not enforced yet would have refused
	// it.
	Observed = "observed"
)

// Record is a line in its place.
type Record struct {
	Event
	Seq int64 // its number in the chain, from 1; 0 while it has none yet
}

// Filter says which lines to list; empty members match all.
type Filter struct {
	Tenant, Client, Grant, Outcome string
	// Actor is one, or operator for all of them. One who stated a name is matched by what stands
	// before the local user, too.
	Actor        string
	Action       string    // noun.verb, or a noun for all of its acts
	User         string    // the id of a person: what they did, and what was done to them
	Tool         string    // the name of a tool: its calls, and what was set for it
	Since, Until time.Time // not before, and before
	Limit        int       // at most this many; 0: 100
}

// Log is where lines go. Record returns only when the line is kept; on an error the caller does not
// act.
type Log interface {
	Record(ctx context.Context, e Event) error
}
