package guard

import (
	"crypto/sha256"
	"sync"
	"time"
)

// cache remembers verified tokens by their hash: the token itself is not kept. It is bounded, and cut into shards so that requests do not queue at
// one lock.
type cache struct {
	shards [16]shard
	most   int // a shard
}

type shard struct {
	mu     sync.RWMutex
	tokens map[[sha256.Size]byte]verified
}

func newCache(size int) *cache {
	c := &cache{}
	c.most = max(1, size/len(c.shards))
	for i := range c.shards {
		c.shards[i].tokens = map[[sha256.Size]byte]verified{}
	}
	return c
}

func hash(raw string) [sha256.Size]byte { return sha256.Sum256([]byte(raw)) }

func (c *cache) shard(key [sha256.Size]byte) *shard { return &c.shards[int(key[0])%len(c.shards)] }

func (c *cache) get(key [sha256.Size]byte) (verified, bool) {
	s := c.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, ok := s.tokens[key]
	return v, ok
}

// probe is how many tokens a full shard looks at for one that is over.
const probe = 8

// put remembers a token. A full shard forgets one that is over, or else any: it is only verified again.
func (c *cache) put(key [sha256.Size]byte, v verified, now time.Time) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.tokens[key]; !there && len(s.tokens) >= c.most {
		victim, looked := key, 0
		for k, old := range s.tokens {
			victim = k
			if looked++; !now.Before(old.until) || looked == probe {
				break
			}
		}
		delete(s.tokens, victim)
	}
	s.tokens[key] = v
}
