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

// Intervals of fetching the issuer's keys.
const (
	fetchTime    = 5 * time.Second // timeout of a fetch
	refreshEvery = time.Minute     // in the background: a withdrawn key is accepted that much longer
	coolDown     = 5 * time.Second // between fetches because of an unknown kid
	retryAfter   = time.Second     // between fetches while there are no keys
	staleAfter   = 24 * time.Hour  // how long keys are used while the issuer cannot be reached
)

// coolDown is shorter than the time from the publication of a key to its first signature, which is
// at least ten seconds: when a token with a new key arrives, either the fetch that an invented kid
// caused has found the key, or another fetch is allowed.

// maxAbsent limits the kids that are remembered as missing from the newest key set.
const maxAbsent = 1000

// maxDocument is the size limit of the issuer's documents, in bytes.
const maxDocument = 512 << 10

// keys are the issuer's published keys, fetched once for all who wait.
type keys struct {
	issuer string
	url    string // empty: from the issuer's metadata
	http   *http.Client
	now    func() time.Time
	log    *slog.Logger
	local  func() []byte // Config.PublishedKeys

	current atomic.Pointer[published]
	failing atomic.Bool // the last fetch failed, so an unknown kid may be a new one

	mu      sync.Mutex
	flight  *fetch    // in flight; nil: none
	tried   time.Time // start of the last fetch
	unknown time.Time // start of the last fetch because of an unknown kid
	// absent are kids that no fetch since unknown has found. They are rejected without another
	// fetch.
	absent  map[string]struct{}
	learned []byte // the last result of local
}

// published is a key set and when it was fetched.
type published struct {
	set token.KeySet
	at  time.Time
}

// fetch is a fetch in flight.
type fetch struct {
	began time.Time
	done  chan struct{}
	err   error
}

// fresh returns the keys, unless they are too old.
func (k *keys) fresh() *published {
	p := k.current.Load()
	if p == nil || k.now().Sub(p.at) > staleAfter {
		return nil
	}
	return p
}

// published reports whether the current set has this key under keyID; an issuer may replace it.
func (k *keys) published(keyID string, key any) bool {
	p := k.fresh()
	if p == nil {
		return false
	}
	now, ok := p.set[keyID].Key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && now.Equal(key)
}

// Key implements token.Keys. It returns ErrUnknownKey if a key set that was fetched after the call
// does not have the kid, and ErrKeysUnavailable if none can be fetched.
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
		// The fetch had started before this call, so the key may be newer than its result.
	}
}

// withdrawn remembers the kids that are no longer published. k.mu must be held.
func (k *keys) withdrawn(before, now token.KeySet) {
	for kid := range before {
		if _, ok := now[kid]; !ok && len(k.absent) < maxAbsent {
			if k.absent == nil {
				k.absent = map[string]struct{}{}
			}
			k.absent[kid] = struct{}{}
		}
	}
}

// missed remembers a kid that a fetch did not find.
func (k *keys) missed(keyID string, f *fetch) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !f.began.Before(k.unknown) && len(k.absent) < maxAbsent {
		k.absent[keyID] = struct{}{}
	}
}

// learn reads the keys of an issuer in this process.
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

// join returns the fetch in flight, or starts one if it is allowed now. known says that there are
// keys, and only keyID is missing. absent says that keyID was not found since the last fetch for an
// unknown kid; if there is neither a fetch nor that, nothing is known of keyID now.
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

// begin starts a fetch, which continues when the caller is canceled. k.mu must be held, and no
// other fetch be in flight.
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
		k.log.Warn("the issuer's keys cannot be fetched; the known ones are kept", "issuer", k.issuer, "error", err)
	}
	k.mu.Lock()
	if err == nil && before != nil {
		k.withdrawn(before.set, set)
	}
	f.err, k.flight = err, nil
	k.mu.Unlock()
	close(f.done)
}

// load fetches the key set. An invalid one changes nothing.
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

// discover reads jwks_uri from the issuer's metadata (RFC 8414 section 3). Metadata of another
// issuer are rejected (section 3.3), and so is a plain http URL of an issuer with https.
func (k *keys) discover(ctx context.Context) (string, error) {
	u, err := url.Parse(k.issuer)
	if err != nil {
		return "", fmt.Errorf("issuer: %w", err)
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
		return "", errors.New("metadata of another issuer")
	}
	j, err := url.Parse(m.JWKS)
	if err != nil || j.Scheme != "https" && (j.Scheme != "http" || u.Scheme != "http") || j.Host == "" {
		return "", errors.New("jwks_uri of the metadata is not an https URL")
	}
	return m.JWKS, nil
}

func (k *keys) get(ctx context.Context, where string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", where, err)
	}
	r.Header.Set("Accept", "application/json")
	response, err := k.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", where, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch %s: status %s", where, response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", where, err)
	}
	if len(body) > maxDocument {
		return nil, fmt.Errorf("fetch %s: larger than %d bytes", where, maxDocument)
	}
	return body, nil
}

// run fetches the keys periodically until ctx is done. Failures are logged by fly.
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
