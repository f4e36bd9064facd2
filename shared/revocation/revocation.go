// Package revocation owns the list of grants that ended early: the issuer writes it, a resource
// only reads it.
//
// The list is a blackboard, the ledger in SQL is the truth. So a list that may be incomplete says
// so (ErrUnknown), and a reader that is told so refuses.
//
// A resource asks on every request, so it has the list in its own memory: under one roof the
// issuer's Memory itself, elsewhere a Replica, which follows a Feed: the stream in Redis, or the
// issuer's over HTTP. A Feed is read from a cursor on, so that nothing is missed by whoever was
// away, and it says when the list was last vouched for.
package revocation

import (
	"context"
	"errors"
	"slices"
	"time"
)

// ErrUnknown says that the list may be incomplete (just started, flushed, out of reach): the reader
// must fail closed.
var ErrUnknown = errors.New("the list of ended grants is not known to be complete")

// Reader is what a resource needs.
type Reader interface {
	// Ended says whether the grant ended early. An error means not known; the caller refuses with
	// 503, never with a yes.
	Ended(ctx context.Context, grantID string) (bool, error)
	// Suspended says whether the subject's tokens that were issued at this time (Unix seconds) are
	// refused, as far as the list is known here; whether it is known to be complete, Ended says,
	// which is asked before.
	Suspended(s Subject, issuedAt int64) bool
}

// Ignored is a Reader that knows of no end: for those who choose by name that tokens of ended
// grants act until they expire.
type Ignored struct{}

// Ended implements Reader.
func (Ignored) Ended(context.Context, string) (bool, error) { return false, nil }

// Suspended implements Reader.
func (Ignored) Suspended(Subject, int64) bool { return false }

// Feed is the list as it is followed from elsewhere.
type Feed interface {
	// Next returns the part of the list that was written after the cursor, of bounded size. With an
	// empty cursor, or one from which nobody can go on without a gap, it begins anew with the whole
	// list. What was on the list when Next was called, and is after the cursor, is in this part or
	// in those that More promises.
	Next(ctx context.Context, cursor string) (Batch, error)
}

// Batch is a part of the list, in the order of writing.
type Batch struct {
	Ended  []Entry
	Cursor string // where the next part begins
	More   bool   // there is more already
	Whole  bool   // this begins the list anew
	// Mark names the issuer's last vouching that the list is complete, which holds for Life from
	// now. Empty: nobody vouches.
	Mark string
	Life time.Duration
	// Now is the time where the list is, so that Until means the same to a reader whose clock is
	// wrong.
	Now time.Time
}

// Entry is a grant that ended early, a key that was withdrawn, or a suspension.
type Entry struct {
	GrantID string    // or KeyID, or Suspension.ID
	Until   time.Time // after it no token of the grant can be alive
}

// List is what the issuer needs.
type List interface {
	Feed
	// Add puts a grant on the list until the given time, after which no token of it can be alive.
	// When it returns nil, the Feed has it.
	Add(ctx context.Context, grantID string, until time.Time) error
	// Restore puts what the ledger knows on the list and marks it complete for the given life. The
	// issuer calls it at start and again well within life. The ledger tells every grant that ended
	// and whose tokens may be unexpired, with when they are not (grant id to until); nil knows of
	// none. It is asked when the list is in hand, and again when the list was lost meanwhile: what
	// was acknowledged before a loss is in the ledger after it.
	Restore(ctx context.Context, ledger func(context.Context) (map[string]time.Time, error), life time.Duration) error
}

// KeyID is the entry of a signing key that was withdrawn. The key set is what decides about keys;
// the list says it earlier, to resources that keep the set for a while.
func KeyID(kid string) string { return "key:" + kid }

// Sorted reads the ledger and returns its entries by the time at which they leave the list.
func Sorted(ctx context.Context, ledger func(context.Context) (map[string]time.Time, error)) ([]Entry, error) {
	if ledger == nil {
		return nil, nil
	}
	ended, err := ledger(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]Entry, 0, len(ended))
	for id, until := range ended {
		all = append(all, Entry{id, until})
	}
	slices.SortFunc(all, func(a, b Entry) int { return a.Until.Compare(b.Until) })
	return all, nil
}

// MaxBatch is the largest number of entries in a Batch.
const MaxBatch = 2000
