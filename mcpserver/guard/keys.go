package guard

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// When the issuer's keys are fetched.
const (
	fetchTime    = 5 * time.Second // a fetch takes at most this
	refreshEvery = time.Minute     // in the background: so long may a withdrawn key still be believed
	coolDown     = 5 * time.Second // between fetches because of an unknown kid, however many tokens bring one
	retryAfter   = time.Second     // between fetches while there are no keys at all
	staleAfter   = 24 * time.Hour  // so long keys are believed while the issuer is out of reach
)

// coolDown is shorter than the time from the publication of a key to its first signature, which is
// ten seconds at least: by the time a token of a new key arrives, the fetch that somebody's
// invented kid caused has found the key, or another fetch may begin.

// mostAbsent bounds how many kids are remembered that the newest key set does not have.
const mostAbsent = 1000

// maxDocument bounds what is read of the issuer, in bytes.
const maxDocument = 512 << 10

// keys are the issuer's published keys, fetched once for all who wait.
type keys struct {
	issuer string
	url    string // empty: as the issuer's metadata say
	http   *http.Client
	now    func() time.Time
	log    *slog.Logger
	local  func() []byte // the key set of an issuer in this process; nil: none

	current atomic.Pointer[published]
	failing atomic.Bool // the last fetch did not succeed: a kid that is not known may be one that we have not heard of

	mu      sync.Mutex
	flight  *fetch    // under way; nil: none
	tried   time.Time // when the last fetch began
	unknown time.Time // when an unknown kid last made us fetch
	// absent are kids that a fetch since unknown did not find. They are refused without another
	// fetch.
	absent  map[string]struct{}
	learned []byte // what was last taken from local
}

// published is a key set and when it was fetched.
type published struct {
	set token.KeySet
	at  time.Time
}

// fetch is a fetch under way.
type fetch struct {
	began time.Time
	done  chan struct{}
	err   error
}

// fresh returns the keys, if there are any that may be believed.
func (k *keys) fresh() *published {
	p := k.current.Load()
	if p == nil || k.now().Sub(p.at) > staleAfter {
		return nil
	}
	return p
}

// published says whether the current set has this very key under keyID: an issuer may have put
// another in its place.
func (k *keys) published(keyID string, key any) bool {
	p := k.fresh()
	if p == nil {
		return false
	}
	now, ok := p.set[keyID].Key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && now.Equal(key)
}

// Key implements token.Keys. A kid is unknown (ErrUnknownKey) when a key set that was fetched after
// it was asked for does not have it; while none can be fetched, ErrKeysUnavailable.
func (k *keys) Key(ctx context.Context, keyID string) (jose.JSONWebKey, error) {
	p := k.fresh()
	if p != nil {
		if key, ok := p.set[keyID]; ok {
			return key, nil
		}
	}
	if keyID == "" && p != nil {
		return jose.JSONWebKey{}, token.ErrUnknownKey
	}
	if k.local != nil {
		return k.learn(ctx, keyID)
	}
	arrived := k.now()
	for {
		f, absent := k.join(ctx, keyID, p != nil)
		switch {
		case absent:
			return jose.JSONWebKey{}, token.ErrUnknownKey
		case f == nil:
			return jose.JSONWebKey{}, token.ErrKeysUnavailable
		}
		if err := f.wait(ctx); err != nil {
			return jose.JSONWebKey{}, fmt.Errorf("%w: %w", token.ErrKeysUnavailable, err)
		}
		if p = k.fresh(); p == nil {
			return jose.JSONWebKey{}, token.ErrKeysUnavailable
		}
		key, err := p.set.Key(ctx, keyID)
		if err == nil {
			return key, nil
		}
		if !f.began.Before(arrived) {
			k.missed(keyID, f)
			return key, err
		}
		// The fetch had begun before this kid arrived, so that the key may be newer than what it
		// read.
	}
}

// withdrawn notes the kids that are published no more. k.mu is held.
func (k *keys) withdrawn(before, now token.KeySet) {
	for kid := range before {
		if _, ok := now[kid]; !ok && len(k.absent) < mostAbsent {
			if k.absent == nil {
				k.absent = map[string]struct{}{}
			}
			k.absent[kid] = struct{}{}
		}
	}
}

// missed notes that a fetch did not find a kid that was there when it began.
func (k *keys) missed(keyID string, f *fetch) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !f.began.Before(k.unknown) && len(k.absent) < mostAbsent {
		k.absent[keyID] = struct{}{}
	}
}

// learn takes the keys of an issuer in this process, which needs no request.
func (k *keys) learn(ctx context.Context, keyID string) (jose.JSONWebKey, error) {
	document := k.local()
	k.mu.Lock()
	defer k.mu.Unlock()
	if !bytes.Equal(document, k.learned) {
		set, err := token.ParseKeySet(document)
		if err != nil {
			return jose.JSONWebKey{}, fmt.Errorf("%w: %w", token.ErrKeysUnavailable, err)
		}
		k.learned = document
		k.current.Store(&published{set, k.now()})
	}
	p := k.fresh()
	if p == nil {
		return jose.JSONWebKey{}, token.ErrKeysUnavailable
	}
	return p.set.Key(ctx, keyID)
}

// join finds the fetch under way, or begins one if it is time: one for all who wait. known says
// that there are keys, and only keyID is missing. absent says that it was looked for since the last
// fetch that a kid caused, and is not there; without it and without a fetch, nothing can be said of
// the kid now.
func (k *keys) join(ctx context.Context, keyID string, known bool) (f *fetch, absent bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	switch {
	case k.flight != nil:
		return k.flight, false
	case known && now.Sub(k.unknown) < coolDown:
		_, absent := k.absent[keyID]
		return nil, absent && !k.failing.Load()
	case !known && now.Sub(k.tried) < retryAfter:
		return nil, false
	case known:
		k.unknown = now
	}
	k.absent = map[string]struct{}{}
	return k.begin(ctx), false
}

// begin begins a fetch, which goes on when whoever asked for it gives up. k.mu is held and no other
// fetch is under way.
func (k *keys) begin(ctx context.Context) *fetch {
	k.tried = k.now()
	k.flight = &fetch{began: k.tried, done: make(chan struct{})}
	go k.fly(context.WithoutCancel(ctx), k.flight)
	return k.flight
}

func (f *fetch) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *keys) fly(ctx context.Context, f *fetch) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	set, err := k.load(ctx)
	k.failing.Store(err != nil)
	before := k.current.Load()
	if err == nil {
		k.current.Store(&published{set, k.now()})
	} else {
		k.log.Warn("the issuer's keys could not be fetched; those known are kept", "issuer", k.issuer, "error", err)
	}
	k.mu.Lock()
	if err == nil && before != nil {
		k.withdrawn(before.set, set)
	}
	f.err, k.flight = err, nil
	k.mu.Unlock()
	close(f.done)
}

// load asks the issuer. What is not a key set to believe changes nothing.
func (k *keys) load(ctx context.Context) (token.KeySet, error) {
	where := k.url
	if where == "" {
		var err error
		if where, err = k.discover(ctx); err != nil {
			return nil, err
		}
	}
	document, err := k.get(ctx, where)
	if err != nil {
		return nil, err
	}
	return token.ParseKeySet(document)
}

// discover reads where the keys are (RFC 8414 §3). Metadata of another issuer are not ours (§3.3),
// nor are keys that travel in clear from an issuer that does not.
func (k *keys) discover(ctx context.Context) (string, error) {
	u, err := url.Parse(k.issuer)
	if err != nil {
		return "", fmt.Errorf("parsing the issuer: %w", err)
	}
	document, err := k.get(ctx, u.Scheme+"://"+u.Host+"/.well-known/oauth-authorization-server"+
		strings.TrimSuffix(u.EscapedPath(), "/"))
	if err != nil {
		return "", err
	}
	var m struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	if err := strictjson.Unmarshal(document, &m); err != nil || m.Issuer != k.issuer {
		return "", errors.New("the metadata are not this issuer's")
	}
	j, err := url.Parse(m.JWKS)
	if err != nil || j.Scheme != "https" && (j.Scheme != "http" || u.Scheme != "http") || j.Host == "" {
		return "", errors.New("the metadata name no safe jwks_uri")
	}
	return m.JWKS, nil
}

func (k *keys) get(ctx context.Context, where string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, fmt.Errorf("asking the issuer: %w", err)
	}
	r.Header.Set("Accept", "application/json")
	response, err := k.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("asking the issuer: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking the issuer: %s answers %s", where, response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("reading the issuer's answer: %w", err)
	}
	if len(body) > maxDocument {
		return nil, fmt.Errorf("reading the issuer's answer: %s is larger than %d bytes", where, maxDocument)
	}
	return body, nil
}

// run fetches the keys every so often until ctx ends. A fetch that does not succeed is logged by
// fly, and the next turn tries again.
func (k *keys) run(ctx context.Context) {
	turn := time.NewTicker(refreshEvery)
	defer turn.Stop()
	for ctx.Err() == nil {
		k.mu.Lock()
		if k.flight == nil {
			k.begin(ctx)
		}
		k.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-turn.C:
		}
	}
}
