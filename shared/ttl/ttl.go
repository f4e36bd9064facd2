// Package ttl is short memory: small values under keys that expire.
//
// Anything in it may be lost at any moment (a restart, an emptied Redis) without anything being
// lost or wrongly allowed.
package ttl

import (
	"context"
	"errors"
	"time"
)

// ErrFull says that a bounded memory is full, and nothing in it may be dropped.
var ErrFull = errors.New("short memory is full")

// Store is short memory. Keys are made by the caller and contain no secret (hash it first). Every
// method is atomic, safe for concurrent use and bounded in time by ctx. A lifetime of zero or less
// is a programming error.
//
// A store is bounded. owner is whom an entry counts against, such as the source of requests or the
// grant: in a full store, the owner with the most entries loses its oldest, so that filling a store
// costs one's own entries first. An entry keeps its first owner.
type Store interface {
	// Put stores value under key for life, replacing an existing one.
	Put(ctx context.Context, owner, key string, value []byte, life time.Duration) error
	// Get returns the value and true, or nil and false when there is none or it has expired.
	Get(ctx context.Context, key string) ([]byte, bool, error)
	// PutIfAbsent stores value only if key has none, and reports whether it did: of concurrent
	// calls, exactly one gets true.
	PutIfAbsent(ctx context.Context, owner, key string, value []byte, life time.Duration) (bool, error)
	// Once marks key as used for life, and reports whether it was not: of concurrent calls, exactly
	// one gets true. When a mark was dropped early, the owner's keys that would expire no later are
	// answered ErrFull from then on, so that none counts as unused again.
	Once(ctx context.Context, owner, key string, life time.Duration) (bool, error)
	// Take returns and removes the value: of concurrent calls, exactly one gets it.
	Take(ctx context.Context, key string) ([]byte, bool, error)
	// Add adds delta to the counter under key and returns the sum and the counter's remaining
	// lifetime. The first Add sets the lifetime; later ones do not change it.
	Add(ctx context.Context, owner, key string, delta int64, life time.Duration) (sum int64, left time.Duration,
		err error)
}
