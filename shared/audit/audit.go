// Package audit owns the record of who did what to whom: administrative acts, keys, consent, the end of grants.
//
// Check and audit are one act: an act whose line cannot be written does not happen.
package audit

import (
	"context"
	"time"
)

// Event is one line. It never holds a secret.
type Event struct {
	Time   time.Time
	Actor  string // who: "user:ID", "client:ID", "operator", "system"
	Action string // what: noun.verb, e.g. "grant.end"
	Target string // to whom: an id
	Tenant string // for which tenant; empty when it concerns none
	Detail string // in a few words, e.g. the reason
}

// Log is where lines go. Record returns only when the line is kept; on an error the caller does not act.
type Log interface {
	Record(ctx context.Context, e Event) error
}
