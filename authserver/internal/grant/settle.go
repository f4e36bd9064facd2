package grant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

// settleAfter is how long a revocation may take before it counts as interrupted.
const settleAfter = 10 * time.Second

// settleAtMost bounds how many interrupted revocations one call of Settle completes.
const settleAtMost = 500

// ReasonInterrupted is the reason of a grant whose revocation was interrupted and completed later.
const ReasonInterrupted = "a revocation that was interrupted was completed"

// Settler completes revocations that were interrupted between the list and SQL, or between one
// grant and the next: by a full disk, a database that is stopped or read-only, or a killed
// process. The request was answered 503; until Settle succeeds the issuer refuses the grants that
// are on the list, as resource servers do.
type Settler struct {
	Ledger *Ledger
	List   *revocation.Replica // follows the ledger's list
	Now    func() time.Time

	// grants whose revocation is under way or was interrupted, by the time when they were first
	// seen
	seen map[string]time.Time
}

// Listed reports whether a grant is on the list of revoked grants, as far as this process knows.
func (s *Settler) Listed(grantID string) bool { return s.List.Knows(grantID) }

// Settle revokes in SQL the active grants that are on the list, and those whose client, tenant,
// person or origin is gone, if it saw them settleAfter ago. It must not be called by two
// goroutines at once.
func (s *Settler) Settle(ctx context.Context) error {
	known, err := s.Ledger.revoked(ctx)
	if err != nil {
		return err
	}
	left, err := s.Ledger.Store.Orphans(ctx, settleAtMost)
	if err != nil {
		return fmt.Errorf("load interrupted revocations: %w", err)
	}
	for _, id := range s.List.Entries() {
		if _, settled := known[id]; !settled && revocation.IsGrant(id) {
			left = append(left, id)
		}
	}
	now, seen := s.Now(), map[string]time.Time{}
	var errs []error
	for _, id := range left {
		first, again := s.seen[id]
		if !again {
			first = now
		}
		seen[id] = first
		if now.Sub(first) < settleAfter || len(errs) > 0 {
			continue
		}
		switch err := s.Ledger.complete(ctx, id); {
		case errors.Is(err, ErrNotFound): // deleted in the meantime, or of another installation
		case err != nil:
			errs = append(errs, err) // the next call continues
		}
	}
	s.seen = seen
	return errors.Join(errs...)
}

// complete revokes a grant in SQL unless it is revoked there.
func (l *Ledger) complete(ctx context.Context, id string) error {
	g, err := l.Store.Grant(ctx, id)
	if err != nil {
		return fmt.Errorf("complete a revocation: %w", err)
	}
	if g.Revoked() {
		return nil
	}
	reason := ReasonInterrupted
	if l.Listed != nil && l.Listed(revocation.ByClientID(id)) {
		reason = ReasonClient
	}
	return l.Revoke(ctx, "system", id, reason)
}
