// Package redisttl implements ttl.Store in Redis, for stores that several replicas share.
package redisttl

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

// Store is a ttl.Store that replicas share. Each method is one command or one script, hence atomic.
type Store struct {
	client redis.UniversalClient
	prefix string
	max    int
}

// New returns a Store on a connection; prefix begins every key. It holds at most max entries (0
// means 100,000). Stores with the same prefix share that limit.
func New(client redis.UniversalClient, prefix string, max int) *Store {
	if max == 0 {
		max = 100_000
	}
	return &Store{client, prefix, max}
}

// forget is the part of both scripts that removes an entry from the count. The count is in four
// keys: "all" has the entries by expiry, "owner" the owner of each, "of:OWNER" those of one owner
// by expiry, "most" the number of each owner.
const forget = `local P, key = ARGV[1] .. 'bound:', ARGV[2]
local function forget(k)
  local of = redis.call('HGET', P .. 'owner', k)
  if not of then return end
  redis.call('HDEL', P .. 'owner', k)
  redis.call('ZREM', P .. 'all', k)
  redis.call('ZREM', P .. 'of:' .. of, k)
  if tonumber(redis.call('ZINCRBY', P .. 'most', -1, of)) <= 0 then redis.call('ZREM', P .. 'most', of) end
end
`

// keep returns {1, time kept in ms}; {0, 0} when there is an entry that must not be replaced; {-1,
// 0} when there is no room. For a counter it returns the sum instead of 1, after a 2.
var keep = redis.NewScript(forget + `local owner, value, life, max, mode =
	ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local there = redis.call('EXISTS', KEYS[1]) == 1
if there and mode == 'add' then return {2, redis.call('INCRBY', KEYS[1], value), redis.call('PTTL', KEYS[1])} end
if there and mode ~= 'put' then return {0, 0} end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local expires = now + life
if there and redis.call('HEXISTS', P .. 'owner', key) == 1 then
  owner = redis.call('HGET', P .. 'owner', key)
else
  forget(key)
  for _, k in ipairs(redis.call('ZRANGEBYSCORE', P .. 'all', '-inf', now, 'LIMIT', 0, 100)) do forget(k) end
  if mode == 'once' then
    redis.call('ZREMRANGEBYSCORE', P .. 'floors', '-inf', now)
    local floor = redis.call('ZSCORE', P .. 'floors', owner)
    if floor and expires <= tonumber(floor) then return {-1, 0} end
  end
  if redis.call('ZCARD', P .. 'all') >= max then
    local top = redis.call('ZREVRANGE', P .. 'most', 0, 0, 'WITHSCORES')
    if not top[1] or mode == 'once' and tonumber(top[2]) <= 1 then return {-1, 0} end
    local first = redis.call('ZRANGE', P .. 'of:' .. top[1], 0, 0, 'WITHSCORES')
    if mode == 'once' then
      redis.call('ZADD', P .. 'floors', 'GT', first[2], top[1])
      local left = tonumber(first[2]) - now + 1
      if redis.call('PTTL', P .. 'floors') < left then redis.call('PEXPIRE', P .. 'floors', left) end
    end
    redis.call('DEL', ARGV[1] .. first[1])
    forget(first[1])
  end
  redis.call('HSET', P .. 'owner', key, owner)
  redis.call('ZINCRBY', P .. 'most', 1, owner)
end
redis.call('SET', KEYS[1], value, 'PX', life)
redis.call('ZADD', P .. 'all', expires, key)
redis.call('ZADD', P .. 'of:' .. owner, expires, key)
for _, k in ipairs({'all', 'owner', 'most', 'of:' .. owner}) do
  if redis.call('PTTL', P .. k) < life then redis.call('PEXPIRE', P .. k, life) end
end
if mode == 'add' then return {2, tonumber(value), life} end
return {1, life}`)

var take = redis.NewScript(forget + `local value = redis.call('GETDEL', KEYS[1])
forget(key)
return value`)

// Open connects to redis:// or rediss:// and asks whether it answers. The error does not show
// the URL, which may hold a password.
func Open(ctx context.Context, url string) (redis.UniversalClient, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("the Redis URL is malformed; give it as redis://host:6379/0 or rediss://…")
	}
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.ContextTimeoutEnabled = 2*time.Second, 2*time.Second,
		2*time.Second, true
	client := redis.NewClient(o)
	if err := client.Ping(ctx).Err(); err != nil {
		return nil, fmt.Errorf("asking Redis at %s: %w", o.Addr, errors.Join(err, client.Close()))
	}
	return client, nil
}

// Put implements ttl.Store.
func (s *Store) Put(ctx context.Context, owner, key string, value []byte, life time.Duration) error {
	_, err := s.keep(ctx, "put", owner, key, value, life)
	return err
}

// Get implements ttl.Store.
func (s *Store) Get(ctx context.Context, key string) ([]byte, bool, error) {
	return found(s.client.Get(ctx, s.prefix+key).Bytes())
}

// PutIfAbsent implements ttl.Store.
func (s *Store) PutIfAbsent(ctx context.Context, owner, key string, value []byte, life time.Duration) (bool, error) {
	got, err := s.keep(ctx, "absent", owner, key, value, life)
	return err == nil && got[0] == 1, err
}

// Once implements ttl.Store.
func (s *Store) Once(ctx context.Context, owner, key string, life time.Duration) (bool, error) {
	got, err := s.keep(ctx, "once", owner, key, []byte("1"), life)
	return err == nil && got[0] == 1, err
}

// Take implements ttl.Store.
func (s *Store) Take(ctx context.Context, key string) ([]byte, bool, error) {
	text, err := take.Run(ctx, s.client, []string{s.prefix + key}, s.prefix, key).Text()
	return found([]byte(text), err)
}

// Add implements ttl.Store.
func (s *Store) Add(ctx context.Context, owner, key string, delta int64, life time.Duration) (int64, time.Duration,
	error) {
	got, err := s.keep(ctx, "add", owner, key, strconv.AppendInt(nil, delta, 10), life)
	if err != nil {
		return 0, 0, err
	}
	if len(got) != 3 {
		return 0, 0, fmt.Errorf("adding to a counter: Redis answered %d numbers, expected 3", len(got))
	}
	return got[1], time.Duration(got[2]) * time.Millisecond, nil
}

// keep runs the script of this name.
func (s *Store) keep(ctx context.Context, mode, owner, key string, value []byte, life time.Duration) ([]int64, error) {
	got, err := keep.Run(ctx, s.client, []string{s.prefix + key}, s.prefix, key, owner, value,
		max(life.Milliseconds(), 1), s.max, mode).Int64Slice()
	switch {
	case err != nil:
		return nil, err
	case len(got) < 2:
		return nil, fmt.Errorf("keeping an entry: Redis answered %d numbers, expected 2 or 3", len(got))
	case got[0] < 0:
		return nil, ttl.ErrFull
	}
	return got, nil
}

func found(value []byte, err error) ([]byte, bool, error) {
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return value, true, nil
}
