package assertion

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/ratelimit"
)

// Keys fetches key sets.
type Keys interface {
	FetchKeys(ctx context.Context, address string) ([]byte, error)
}

// keysLifetime is for how long keys are not fetched again, and maxKeysAge for how long they are
// valid when their URL does not answer: a withdrawn key must not stay valid for ever. fetchAgain is
// the time between two fetches for an unknown kid, and retryAfter that while there are no keys at
// all.
const (
	keysLifetime = 5 * time.Minute
	maxKeysAge   = 24 * time.Hour
	fetchAgain   = 30 * time.Second
	retryAfter   = time.Second
)

// maxKnown bounds the number of key sets of a cache.
const maxKnown = 1000

// source is where the keys of a sender are: given, or at a URL.
type source struct {
	jwks, uri string
	owner     string // of the keys: owners with the same URL do not share a cache entry
	keyCache  *keyCache
}

// keyCache caches the key sets that were fetched for one kind of owners.
type keyCache struct {
	fetch Keys               // nil: nothing is fetched
	limit *ratelimit.Limiter // of fetches, by source; nil: none
	now   func() time.Time

	mu      sync.Mutex
	sets    map[string]*set
	waiting atomic.Int64 // requests that wait for a fetch of another
}

// set is the key set of one owner at one URL.
type set struct {
	last atomic.Pointer[fetched]

	turn  chan struct{} // held by the request that may fetch
	tried time.Time     // when the last fetch began
}

// fetched is a key set as it was fetched.
type fetched struct {
	keys []jose.JSONWebKey
	read time.Time
}

// keys returns the given keys, or those at the URL.
func (s source) keys(ctx context.Context, kid string) ([]jose.JSONWebKey, error) {
	if s.uri == "" {
		keys, err := client.ParseKeys([]byte(s.jwks))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		return keys, nil
	}
	if s.keyCache.fetch == nil {
		return nil, fmt.Errorf("%w: nothing is fetched here", ErrInvalid)
	}
	keys, err := s.keyCache.set(s.owner+" "+s.uri).current(ctx, s, kid)
	if err != nil {
		return nil, fmt.Errorf("%w: its keys: %w", ErrInvalid, err)
	}
	return keys, nil
}

func (s *keyCache) set(name string) *set {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.sets[name]; known != nil {
		return known
	}
	if s.sets == nil {
		s.sets = map[string]*set{}
	}
	for other := range s.sets {
		if len(s.sets) < maxKnown {
			break
		}
		delete(s.sets, other) // any: it is only fetched again
	}
	made := &set{turn: make(chan struct{}, 1)}
	s.sets[name] = made
	return made
}

// current returns the keys. It fetches them when they are old or lack the kid, but not too often.
func (k *set) current(ctx context.Context, s source, kid string) ([]jose.JSONWebKey, error) {
	if h := k.last.Load(); h.serves(kid, s.keyCache.now()) {
		return h.keys, nil
	}
	if !s.keyCache.wait(ctx, k) {
		return k.last.Load().still(s.keyCache.now())
	}
	defer func() { <-k.turn }()
	now, h := s.keyCache.now(), k.last.Load()
	wait := fetchAgain
	if h == nil {
		wait = retryAfter
	}
	if h.serves(kid, now) || !k.tried.IsZero() && now.Sub(k.tried) < wait {
		return h.still(now)
	}
	if s.keyCache.limit != nil {
		if ok, _ := s.keyCache.limit.Allow(ctx, httpd.Source(ctx)); !ok {
			return h.still(now)
		}
	}
	k.tried = now
	document, err := s.keyCache.fetch.FetchKeys(ctx, s.uri)
	if err == nil {
		var keys []jose.JSONWebKey
		if keys, err = client.ParseKeys(document); err == nil {
			k.last.Store(&fetched{keys, now})
			return keys, nil
		}
	}
	if keys, _ := h.still(now); keys != nil {
		return keys, nil
	}
	return nil, err
}

// maxWait bounds the requests that wait for keys that another fetches, for all sets together:
// they are in flight, and strangers may name hosts that do not answer.
const maxWait = 12

// wait waits for the turn to use a set, while not too many do.
func (s *keyCache) wait(ctx context.Context, k *set) bool {
	select {
	case k.turn <- struct{}{}:
		return true
	default:
	}
	if s.waiting.Add(1) > maxWait {
		s.waiting.Add(-1)
		return false
	}
	defer s.waiting.Add(-1)
	select {
	case k.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// serves reports whether the keys are new enough and have the kid.
func (h *fetched) serves(kid string, now time.Time) bool {
	return h != nil && now.Sub(h.read) < keysLifetime &&
		slices.ContainsFunc(h.keys, func(key jose.JSONWebKey) bool { return key.KeyID == kid })
}

var errNoKeys = errors.New("they are not known, and cannot be fetched now")

// still returns keys that are old, as long as they are valid.
func (h *fetched) still(now time.Time) ([]jose.JSONWebKey, error) {
	if h == nil || now.Sub(h.read) >= maxKeysAge {
		return nil, errNoKeys
	}
	return h.keys, nil
}
