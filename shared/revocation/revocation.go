// Package revocation is the list of grants that were revoked: the authorization server writes it,
// MCP servers read it.
//
// The database is authoritative; the list is a copy. A list that may be incomplete says so
// (ErrUnknown), and then its reader rejects requests.
//
// An MCP server needs the list at every request, so it is in its memory: in one process the
// authorization server's Memory itself, elsewhere a Replica that follows a Feed: the stream in
// Redis, or the issuer's over HTTP. A Feed is read from a cursor on, so that nothing is missed, and
// says when the list was last complete.
package revocation

import (
	"context"
	"errors"
	"slices"
	"time"
)

// ErrUnknown says that the list may be incomplete (just started, emptied, unreachable): the reader
// must fail closed.
var ErrUnknown = errors.New("the list of ended grants is not known to be complete")

// Reader is what an MCP server needs.
type Reader interface {
	// Ended reports whether the grant was revoked. An error means unknown; the caller answers 503.
	Ended(ctx context.Context, grantID string) (bool, error)
	// Suspended reports whether tokens of the subject that were issued at this time (Unix seconds)
	// are rejected, as far as the list is known here; Ended, which is called before, reports
	// whether it is complete.
	Suspended(s Subject, issuedAt int64) bool
}

// Ignored is a Reader that knows of no revocation, for those who accept that tokens of revoked
// grants are valid until they expire.
type Ignored struct{}

// Ended implements Reader.
func (Ignored) Ended(context.Context, string) (bool, error) { return false, nil }

// Suspended implements Reader.
func (Ignored) Suspended(Subject, int64) bool { return false }

// Feed is the list for readers elsewhere.
type Feed interface {
	// Next returns the part of the list after the cursor, of bounded size. With an empty cursor, or
	// one that cannot be continued without a gap, it begins with the whole list. What was on the
	// list when Next was called, and is after the cursor, is in this part or, with More, in the
	// next ones.
	Next(ctx context.Context, cursor string) (Batch, error)
}

// Batch is a part of the list, in the order of writing.
type Batch struct {
	Ended  []Entry
	Cursor string // where the next part begins
	More   bool   // there is more already
	Whole  bool   // the list begins again with this part
	// Mark names the issuer's last statement that the list is complete, valid for Life from now.
	// Empty: there is none.
	Mark string
	Life time.Duration
	// Now is the time of the list, so that Until means the same to a reader whose clock is wrong.
	Now time.Time
}

// Entry is a revoked grant, a withdrawn key, or a suspension.
type Entry struct {
	GrantID string    // or KeyID, or Suspension.ID
	Until   time.Time // after it no token of the grant can be valid
}

// List is what the authorization server needs.
type List interface {
	Feed
	// Add puts a grant on the list until a time after which no token of it can be valid. When it
	// returns nil, the Feed has it.
	Add(ctx context.Context, grantID string, until time.Time) error
	// Restore puts what the ledger returns on the list and marks it complete for life. It is called
	// at start and again well within life. ledger returns every revoked grant with possibly
	// unexpired tokens, and when these expire; nil returns none. It is called once the list is
	// held, and again when the list was lost meanwhile, because what was acknowledged before a loss
	// is in the database after it.
	Restore(ctx context.Context, ledger func(context.Context) (map[string]time.Time, error), life time.Duration) error
}

// KeyID returns the entry of a withdrawn signing key. The key set is authoritative; the list is
// earlier, for servers that cache the key set.
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
