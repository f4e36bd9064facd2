// Package ttl owns short memory: small values under keys that expire.
//
// Whatever is here may be lost at any moment (a restart, a flushed Redis) and nothing may be lost
// or wrongly allowed by that.
package ttl

import (
	"context"
	"errors"
	"time"
)

// ErrFull says that a bounded memory holds as much as it may, and that nothing in it may be dropped
// for what came.
var ErrFull = errors.New("short memory is full")

// Store is short memory. Keys are made by the caller and hold no secret (hash it first). Every
// method is atomic, safe for concurrent use and bounded in time by ctx. A life of zero or less is a
// programmer's error.
//
// A store is bounded. owner is whom an entry counts against, such as the source of requests or the
// grant: when the store is full, the owner that has most loses the entry that it has had longest,
// so that who fills a memory loses its own first and nobody else is refused. An entry keeps the
// owner that it was made for.
type Store interface {
	// Put keeps value under key for life, replacing what was there.
	Put(ctx context.Context, owner, key string, value []byte, life time.Duration) error
	// Get returns the value and true, or nil and false when there is none or it has expired.
	Get(ctx context.Context, key string) ([]byte, bool, error)
	// PutIfAbsent keeps value only if key holds nothing, and says whether it did: of many at once,
	// exactly one gets true.
	PutIfAbsent(ctx context.Context, owner, key string, value []byte, life time.Duration) (bool, error)
	// Once marks key as used for life, and says whether it was not yet: of many at once, exactly
	// one gets true. A mark that was dropped while it lived does not come again: from then on the
	// owner's keys that would expire no later than it are answered ErrFull.
	Once(ctx context.Context, owner, key string, life time.Duration) (bool, error)
	// Take returns the value and removes it in one act: of many at once, exactly one gets it.
	Take(ctx context.Context, key string) ([]byte, bool, error)
	// Add adds delta to the counter under key and returns the sum, and how long the counter still
	// lives. The first Add makes the counter with this life; later ones leave the life as it is.
	Add(ctx context.Context, owner, key string, delta int64, life time.Duration) (sum int64, left time.Duration,
		err error)
}
