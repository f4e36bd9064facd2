package guard

import (
	"crypto/sha256"
	"time"

	"github.com/maypok86/otter/v2"
)

// defaultCacheSize is the default of Config.CacheSize.
const defaultCacheSize = 100_000

// cache holds verified tokens by their hash until they expire; the tokens themselves are not kept.
// An evicted token is verified again.
type cache = otter.Cache[[sha256.Size]byte, verified]

func newCache(size int, now func() time.Time) *cache {
	return otter.Must(&otter.Options[[sha256.Size]byte, verified]{
		MaximumSize: size, Clock: cacheClock{now},
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[[sha256.Size]byte, verified]) time.Duration {
			return time.Unix(e.Value.expires, 0).Add(Leeway).Sub(now()) // not negative: the token was valid now
		}),
	})
}

// cacheClock is the clock of the guard. It never ticks: expired entries are removed on writes, so
// that the cache needs no goroutine that would have to be stopped.
type cacheClock struct{ now func() time.Time }

// NowNano implements otter.Clock.
func (c cacheClock) NowNano() int64 { return c.now().UnixNano() }

// Tick implements otter.Clock.
func (c cacheClock) Tick(time.Duration) <-chan time.Time { return nil }

func hash(raw string) [sha256.Size]byte { return sha256.Sum256([]byte(raw)) }
