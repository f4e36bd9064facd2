// Package ratelimit limits how often something may be tried.
package ratelimit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

// Limiter allows Limit tries of a key in each Window. It counts before it allows, so that parallel
// tries gain nothing.
type Limiter struct {
	Store  ttl.Store
	Name   string // prefix of this limit's counters
	Limit  int64
	Window time.Duration

	once  sync.Once
	local *ttl.Memory
}

// localEntries bounds the counters kept while the store does not answer.
const localEntries = 10_000

// Allow counts a try, and returns whether it is within the limit and how long the window still
// lasts. While the store does not answer, counters of this process are used: the limit stays, and
// no one is locked out.
func (l *Limiter) Allow(ctx context.Context, key string) (ok bool, wait time.Duration) {
	n, left, err := l.add(ctx, key, 1)
	if err != nil {
		return false, l.Window
	}
	return n <= l.Limit, left
}

// Return takes back a try that Allow counted and that the limit is not for, such as a right
// password.
func (l *Limiter) Return(ctx context.Context, key string) {
	if n, _, err := l.add(ctx, key, -1); err == nil && n < 0 { // the window ended in between
		l.add(ctx, key, 1)
	}
}

func (l *Limiter) add(ctx context.Context, key string, delta int64) (n int64, left time.Duration, err error) {
	sum := sha256.Sum256([]byte(key)) // keys contain text from clients
	name := "limit:" + l.Name + ":" + hex.EncodeToString(sum[:16])
	if n, left, err = l.Store.Add(ctx, l.Name, name, delta, l.Window); err == nil {
		return n, left, nil
	}
	l.once.Do(func() { l.local = ttl.NewMemory(ttl.Options{MaxEntries: localEntries}) })
	return l.local.Add(ctx, l.Name, name, delta, l.Window)
}
