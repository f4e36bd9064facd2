package ttl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a Store that replicas share. Each method is one command or one script, hence atomic.
type Redis struct {
	client redis.UniversalClient
	prefix string
	add    *redis.Script
}

// NewRedis makes a Store of a connection; prefix begins every key.
func NewRedis(client redis.UniversalClient, prefix string) *Redis {
	return &Redis{client, prefix, redis.NewScript(`local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) left = tonumber(ARGV[2]) end
return {sum, left}`)}
}

// OpenRedis connects to redis:// or rediss:// and asks whether it answers. The error does not show the URL, which may hold a password.
func OpenRedis(ctx context.Context, url string) (redis.UniversalClient, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("the Redis URL is malformed; give it as redis://host:6379/0 or rediss://…")
	}
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.ContextTimeoutEnabled = 2*time.Second, 2*time.Second, 2*time.Second, true
	client := redis.NewClient(o)
	if err := client.Ping(ctx).Err(); err != nil {
		return nil, fmt.Errorf("asking Redis at %s: %w", o.Addr, errors.Join(err, client.Close()))
	}
	return client, nil
}

// Put implements Store.
func (r *Redis) Put(ctx context.Context, key string, value []byte, life time.Duration) error {
	return r.client.Set(ctx, r.prefix+key, value, life).Err()
}

// Get implements Store.
func (r *Redis) Get(ctx context.Context, key string) ([]byte, bool, error) {
	return found(r.client.Get(ctx, r.prefix+key).Bytes())
}

// PutIfAbsent implements Store.
func (r *Redis) PutIfAbsent(ctx context.Context, key string, value []byte, life time.Duration) (bool, error) {
	err := r.client.SetArgs(ctx, r.prefix+key, value, redis.SetArgs{Mode: "NX", TTL: life}).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, err
}

// Take implements Store.
func (r *Redis) Take(ctx context.Context, key string) ([]byte, bool, error) {
	return found(r.client.GetDel(ctx, r.prefix+key).Bytes())
}

// Add implements Store.
func (r *Redis) Add(ctx context.Context, key string, delta int64, life time.Duration) (int64, time.Duration, error) {
	got, err := r.add.Run(ctx, r.client, []string{r.prefix + key}, delta, life.Milliseconds()).Int64Slice()
	if err != nil {
		return 0, 0, err
	}
	if len(got) != 2 {
		return 0, 0, fmt.Errorf("adding to a counter: Redis answered %d numbers, expected 2", len(got))
	}
	return got[0], time.Duration(got[1]) * time.Millisecond, nil
}

func found(value []byte, err error) ([]byte, bool, error) {
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	return value, err == nil, err
}
