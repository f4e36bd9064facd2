// Package ratelimit owns how often something may be tried.
package ratelimit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

// Limiter allows Limit tries of a key in each Window. It counts before it allows, so that tries in parallel get no more than tries in a row.
type Limiter struct {
	Store  ttl.Store
	Name   string // tells this limit's counters from others'
	Limit  int64
	Window time.Duration

	once  sync.Once
	local *ttl.Memory
}

// localEntries bounds the counters kept while the store does not answer.
const localEntries = 10_000

// Allow counts a try and says whether it is within the limit; if not, how long to wait at most. When the store does not answer, counters of
// this process serve meanwhile: neither is the limit gone, nor is everyone locked out.
func (l *Limiter) Allow(ctx context.Context, key string) (ok bool, wait time.Duration) {
	sum := sha256.Sum256([]byte(key)) // keys hold what strangers wrote
	name := "limit:" + l.Name + ":" + hex.EncodeToString(sum[:16])
	n, err := l.Store.Add(ctx, name, 1, l.Window)
	if err != nil {
		l.once.Do(func() { l.local = ttl.NewMemory(ttl.Options{MaxEntries: localEntries}) })
		if n, err = l.local.Add(ctx, name, 1, l.Window); err != nil {
			return false, l.Window
		}
	}
	return n <= l.Limit, l.Window
}
