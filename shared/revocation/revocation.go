// Package revocation owns the list of grants that ended early: the issuer writes it, a resource only reads it.
//
// The list is a blackboard, the ledger in SQL is the truth. So a list that may be incomplete says so (ErrUnknown), and a
// reader that is told so refuses.
package revocation

import (
	"context"
	"errors"
	"time"
)

// ErrUnknown says that the list may be incomplete (just started, flushed, out of reach): the reader must fail closed.
var ErrUnknown = errors.New("the list of ended grants is not known to be complete")

// Reader is what a resource needs.
type Reader interface {
	// Ended says whether the grant ended early. An error means not known; the caller refuses with 503, never with a yes.
	Ended(ctx context.Context, grantID string) (bool, error)
}

// List is what the issuer needs.
type List interface {
	Reader
	// Add puts a grant on the list until the given time, after which no token of it can be alive. When it returns nil every
	// Reader of this list sees it.
	Add(ctx context.Context, grantID string, until time.Time) error
	// Restore puts all of these on the list (grant id to until) and marks the list complete for the given life. The issuer
	// calls it at start and again well within life, with every grant the ledger knows to have ended recently.
	Restore(ctx context.Context, ended map[string]time.Time, life time.Duration) error
}
