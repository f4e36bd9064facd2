package revocation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a List that replicas share. Each question is one round trip, on purpose: a list that were copied to every replica from time to time
// would let an ended grant act until the next copy.
type Redis struct {
	client redis.UniversalClient
	prefix string
	now    func() time.Time
}

// NewRedis makes a List of a connection; prefix begins every key. now may be nil: time.Now.
func NewRedis(client redis.UniversalClient, prefix string, now func() time.Time) *Redis {
	if now == nil {
		now = time.Now
	}
	return &Redis{client, prefix, now}
}

func (r *Redis) ended(grantID string) string { return r.prefix + "ended:" + grantID }

func (r *Redis) complete() string { return r.prefix + "ended-complete" }

// Ended implements Reader. A Redis that was flushed or restarted has lost its mark of completeness with everything else, so that the answer is
// ErrUnknown until the issuer has restored the list.
func (r *Redis) Ended(ctx context.Context, grantID string) (bool, error) {
	values, err := r.client.MGet(ctx, r.ended(grantID), r.complete()).Result()
	if err != nil {
		return false, errors.Join(ErrUnknown, err)
	}
	if len(values) == 2 && values[0] != nil {
		return true, nil
	}
	if len(values) != 2 || values[1] == nil {
		return false, ErrUnknown
	}
	return false, nil
}

// Add implements List.
func (r *Redis) Add(ctx context.Context, grantID string, until time.Time) error {
	life := until.Sub(r.now())
	if life <= 0 {
		return nil
	}
	if err := r.client.Set(ctx, r.ended(grantID), "1", life).Err(); err != nil {
		return fmt.Errorf("writing the list of ended grants: %w", err)
	}
	return nil
}

// Restore implements List. The mark is written last, in the same transaction.
func (r *Redis) Restore(ctx context.Context, ended map[string]time.Time, life time.Duration) error {
	now := r.now()
	_, err := r.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for id, until := range ended {
			if left := until.Sub(now); left > 0 {
				p.Set(ctx, r.ended(id), "1", left)
			}
		}
		p.Set(ctx, r.complete(), "1", life)
		return nil
	})
	if err != nil {
		return fmt.Errorf("restoring the list of ended grants: %w", err)
	}
	return nil
}
