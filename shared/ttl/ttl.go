// Package ttl owns short memory: small values under keys that expire.
//
// Whatever is here may be lost at any moment (a restart, a flushed Redis) and nothing may be lost or wrongly allowed by that.
package ttl

import (
	"context"
	"time"
)

// Store is short memory. Keys are made by the caller and hold no secret (hash it first). Every method is atomic, safe for
// concurrent use and bounded in time by ctx. A life of zero or less is a programmer's error.
type Store interface {
	// Put keeps value under key for life, replacing what was there.
	Put(ctx context.Context, key string, value []byte, life time.Duration) error
	// Get returns the value and true, or nil and false when there is none or it has expired.
	Get(ctx context.Context, key string) ([]byte, bool, error)
	// PutIfAbsent keeps value only if key holds nothing, and says whether it did: of many at once, exactly one gets true.
	PutIfAbsent(ctx context.Context, key string, value []byte, life time.Duration) (bool, error)
	// Take returns the value and removes it in one act: of many at once, exactly one gets it.
	Take(ctx context.Context, key string) ([]byte, bool, error)
	// Add adds delta to the counter under key and returns the sum, and how long the counter still lives. The first Add makes the counter with this life; later
	// ones leave the life as it is.
	Add(ctx context.Context, key string, delta int64, life time.Duration) (sum int64, left time.Duration, err error)
}
