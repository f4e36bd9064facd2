package keyring

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// ErrNotFound says that there is no such key, or it is withdrawn.
var ErrNotFound = errors.New("no such key")

// ErrSigns says that the active key cannot be withdrawn: an older one would sign again, or none.
var ErrSigns = errors.New("the key signs now")

// ErrChanged says that what was to be resealed changed meanwhile.
var ErrChanged = errors.New("the sealed rows have changed")

// Sealed is a signing key as it is stored, with its private part sealed.
type Sealed struct {
	KID       string
	Algorithm string // ES256, RS256 or EdDSA
	// 1 for the first key of an algorithm, then ascending (64 bits); (algorithm, generation) is
	// unique
	Generation int
	Private    []byte // sealed, bound to kid and algorithm; empty when it is withdrawn
	Under      string // id of the sealing key; empty in old rows
	CreatedAt  time.Time
	ActiveAt   time.Time // signs from then on, until a later generation does
	Withdrawn  time.Time // zero, or when the operator withdrew it: neither published nor used from then on
}

// Secret is a stored secret of the issuer.
type Secret struct {
	Name      string
	Sealed    []byte // bound to the name
	Under     string
	CreatedAt time.Time
}

// Resealing is a row to be sealed under another key: a signing key by its kid, or a secret by its
// name.
type Resealing struct {
	KID, Name string // exactly one is set
	Old, New  []byte
}

// Store stores sealed keys and secrets.
type Store interface {
	// Keys returns all keys, by algorithm and generation.
	Keys(ctx context.Context) ([]Sealed, error)
	// PutKey stores k unless its (algorithm, generation) exists, with the audit record in the same
	// transaction, and reports whether it did: of concurrent replicas exactly one gets true. It
	// returns ErrChanged when the sealing key in use is another one by now.
	PutKey(ctx context.Context, k Sealed, e audit.Event) (bool, error)
	// WithdrawKey withdraws a key and deletes its private part, with the audit record in the same
	// transaction. It returns ErrNotFound for an unknown or withdrawn kid, and ErrSigns for the key
	// of its algorithm that signs at that time, also of two concurrent withdrawals for one.
	WithdrawKey(ctx context.Context, kid string, at time.Time, e audit.Event) error
	// Secret returns the secret of this name, or ErrNotFound.
	Secret(ctx context.Context, name string) (Secret, error)
	// PutSecret stores a secret unless there is one of its name.
	PutSecret(ctx context.Context, s Secret) error
	// Reseal replaces rows, sealed under the key of this id, with the audit record, in one
	// transaction. It returns ErrChanged and changes nothing when a row is not as expected, or
	// another row that is not withdrawn is under another key.
	Reseal(ctx context.Context, under string, rows []Resealing, e audit.Event) error
}
