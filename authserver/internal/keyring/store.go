package keyring

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// ErrNotFound says there is no such key, or it is withdrawn.
var ErrNotFound = errors.New("no such key")

// ErrLast says that a key is the only one of its algorithm: without it nothing could be signed.
var ErrLast = errors.New("the only key of its algorithm")

// Sealed is a signing key as it is stored: the private part only under the key-encryption key.
type Sealed struct {
	KID        string
	Algorithm  string // ES256, RS256 or EdDSA
	Generation int    // 1 for the first key of an algorithm, then ascending (64 bits); (algorithm, generation) is unique
	Private    []byte // sealed with AES-256-GCM, the kid and algorithm as additional data
	CreatedAt  time.Time
	ActiveAt   time.Time // signs from then on, until a later generation does
	Withdrawn  time.Time // zero, or when the operator withdrew it: not published, not used, at once
}

// Store keeps sealed keys.
type Store interface {
	// Keys returns all keys that are not withdrawn, by algorithm and generation.
	Keys(ctx context.Context) ([]Sealed, error)
	// PutKey keeps k unless its (algorithm, generation) exists, with the audit line in the same transaction, and says whether it did: of many
	// replicas at once exactly one gets true.
	PutKey(ctx context.Context, k Sealed, e audit.Event) (bool, error)
	// WithdrawKey withdraws a key, with the audit line in the same transaction. An unknown or withdrawn kid is ErrNotFound, the only key of its algorithm
	// ErrLast: of two withdrawals at once, one of them meets that.
	WithdrawKey(ctx context.Context, kid string, at time.Time, e audit.Event) error
}
