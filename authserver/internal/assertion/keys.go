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

// Keys fetches the key set at an address.
type Keys interface {
	FetchKeys(ctx context.Context, address string) ([]byte, error)
}

// For how long keys are taken for true without being fetched again, and at most when their address
// does not answer: a key that was withdrawn must not prove anything for ever. How often they are
// fetched for a kid that is not among them, and while there are none at all.
const (
	keysLife   = 5 * time.Minute
	mostLife   = 24 * time.Hour
	fetchAgain = 30 * time.Second
	retryAfter = time.Second
)

// mostKnown bounds how many sets a shelf remembers.
const mostKnown = 1000

// source is where somebody's keys are: here, or at an address.
type source struct {
	jwks, uri string
	owner     string // whose they are: nobody spoils what is known of another's, though both name one address
	shelf     *shelf
}

// shelf remembers the keys that were fetched for one kind of owners.
type shelf struct {
	fetch Keys               // nil: nothing is fetched, so that an address is worth nothing
	limit *ratelimit.Limiter // of fetches, by where the requests come from; nil: none
	now   func() time.Time

	mu      sync.Mutex
	sets    map[string]*set
	waiting atomic.Int64 // for keys that others fetch
}

// set is the keys of one owner at one address.
type set struct {
	had atomic.Pointer[had]

	turn  chan struct{} // of whoever looks at it and may fetch
	tried time.Time     // when a fetch last began
}

// had is keys as they were fetched.
type had struct {
	keys []jose.JSONWebKey
	read time.Time
}

// keys are as they were given, or as their address has them.
func (s source) keys(ctx context.Context, kid string) ([]jose.JSONWebKey, error) {
	if s.uri == "" {
		keys, err := client.ParseKeys([]byte(s.jwks))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		return keys, nil
	}
	if s.shelf.fetch == nil {
		return nil, fmt.Errorf("%w: nothing is fetched here", ErrInvalid)
	}
	keys, err := s.shelf.set(s.owner+" "+s.uri).current(ctx, s, kid)
	if err != nil {
		return nil, fmt.Errorf("%w: its keys: %w", ErrInvalid, err)
	}
	return keys, nil
}

func (s *shelf) set(name string) *set {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.sets[name]; known != nil {
		return known
	}
	if s.sets == nil {
		s.sets = map[string]*set{}
	}
	for other := range s.sets {
		if len(s.sets) < mostKnown {
			break
		}
		delete(s.sets, other) // any: it is only fetched again
	}
	made := &set{turn: make(chan struct{}, 1)}
	s.sets[name] = made
	return made
}

// current returns the keys, fetched anew when what is known of them is old or lacks the kid, at
// most once in a while whoever asks.
func (k *set) current(ctx context.Context, s source, kid string) ([]jose.JSONWebKey, error) {
	if h := k.had.Load(); h.serves(kid, s.shelf.now()) {
		return h.keys, nil
	}
	if !s.shelf.wait(ctx, k) {
		return k.had.Load().still(s.shelf.now())
	}
	defer func() { <-k.turn }()
	now, h := s.shelf.now(), k.had.Load()
	wait := fetchAgain
	if h == nil {
		wait = retryAfter
	}
	if h.serves(kid, now) || !k.tried.IsZero() && now.Sub(k.tried) < wait {
		return h.still(now)
	}
	if s.shelf.limit != nil {
		if ok, _ := s.shelf.limit.Allow(ctx, httpd.Source(ctx)); !ok {
			// whoever asks too often has only stopped himself
			return h.still(now)
		}
	}
	k.tried = now
	document, err := s.shelf.fetch.FetchKeys(ctx, s.uri)
	if err == nil {
		var keys []jose.JSONWebKey
		if keys, err = client.ParseKeys(document); err == nil {
			k.had.Store(&had{keys, now})
			return keys, nil
		}
	}
	if keys, _ := h.still(now); keys != nil {
		return keys, nil
	}
	return nil, err
}

// mostWait bounds the requests that wait for keys which another fetches, of all sets together: each
// has a place among the requests under way, and strangers name hosts that do not answer.
const mostWait = 12

// wait waits for the turn to look at a set, while not too many do.
func (s *shelf) wait(ctx context.Context, k *set) bool {
	select {
	case k.turn <- struct{}{}:
		return true
	default:
	}
	if s.waiting.Add(1) > mostWait {
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

// serves says whether keys are young enough and hold the kid.
func (h *had) serves(kid string, now time.Time) bool {
	return h != nil && now.Sub(h.read) < keysLife &&
		slices.ContainsFunc(h.keys, func(key jose.JSONWebKey) bool { return key.KeyID == kid })
}

var errNoKeys = errors.New("they are not known, and cannot be fetched now")

// still returns keys that are old, as long as they may be believed at all.
func (h *had) still(now time.Time) ([]jose.JSONWebKey, error) {
	if h == nil || now.Sub(h.read) >= mostLife {
		return nil, errNoKeys
	}
	return h.keys, nil
}
