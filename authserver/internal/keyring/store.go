package keyring

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// ErrNotFound says there is no such key, or it is withdrawn.
var ErrNotFound = errors.New("no such key")

// ErrSigns says that a key cannot be withdrawn because it signs now: without it an older one would
// sign again, or none.
var ErrSigns = errors.New("the key signs now")

// ErrChanged says that what was to be sealed anew is not what is stored any more: somebody else was
// quicker.
var ErrChanged = errors.New("the sealed rows have changed")

// Sealed is a signing key as it is stored: the private part only under a sealing key.
type Sealed struct {
	KID       string
	Algorithm string // ES256, RS256 or EdDSA
	// 1 for the first key of an algorithm, then ascending (64 bits); (algorithm, generation) is
	// unique
	Generation int
	Private    []byte // sealed, bound to kid and algorithm; empty of a key that is withdrawn
	Under      string // the id of the sealing key; empty when nobody wrote it down
	CreatedAt  time.Time
	ActiveAt   time.Time // signs from then on, until a later generation does
	Withdrawn  time.Time // zero, or when the operator withdrew it: not published, not used, at once
}

// Secret is a secret of the issuer's own, as it is stored.
type Secret struct {
	Name      string
	Sealed    []byte // bound to the name
	Under     string
	CreatedAt time.Time
}

// Resealing is a row that is to lie under another sealing key: of a signing key by its kid, or of a
// secret by its name.
type Resealing struct {
	KID, Name string // one of both
	Old, New  []byte
}

// Store keeps what is sealed.
type Store interface {
	// Keys returns all keys, by algorithm and generation.
	Keys(ctx context.Context) ([]Sealed, error)
	// PutKey keeps k unless its (algorithm, generation) exists, with the audit line in the same
	// transaction, and says whether it did: of many replicas at once exactly one gets true.
	// ErrChanged when everything lies under another sealing key than this one by now.
	PutKey(ctx context.Context, k Sealed, e audit.Event) (bool, error)
	// WithdrawKey withdraws a key and forgets its private part, with the audit line in the same
	// transaction. An unknown or withdrawn kid is ErrNotFound. ErrSigns when it is the one of its
	// algorithm that signs at that time: of two withdrawals at once, one of them meets that.
	WithdrawKey(ctx context.Context, kid string, at time.Time, e audit.Event) error
	// Secret returns the secret of this name, or ErrNotFound.
	Secret(ctx context.Context, name string) (Secret, error)
	// PutSecret keeps a secret unless there is one of its name.
	PutSecret(ctx context.Context, s Secret) error
	// Reseal puts rows under the sealing key of this id, with the audit line, in one transaction.
	// ErrChanged, and nothing is done, when a row is not as it was, or when another one that is not
	// withdrawn lies under another key.
	Reseal(ctx context.Context, under string, rows []Resealing, e audit.Event) error
}
