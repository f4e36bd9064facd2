package guard

import (
	"context"
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
	fetchTime    = 5 * time.Second  // a fetch takes at most this
	refreshEvery = time.Minute      // in the background: so long may a withdrawn key still be believed (JK-06)
	coolDown     = 30 * time.Second // between fetches because of an unknown kid, however many tokens bring one (JK-02)
	retryAfter   = time.Second      // between fetches while there are no keys at all
	staleAfter   = 24 * time.Hour   // so long keys are believed while the issuer is out of reach (JK-03)
)

// maxDocument bounds what is read of the issuer, in bytes.
const maxDocument = 512 << 10

// keys are the issuer's published keys, fetched once for all who wait.
type keys struct {
	issuer string
	url    string // empty: as the issuer's metadata say
	http   *http.Client
	now    func() time.Time
	log    *slog.Logger

	current atomic.Pointer[published]
	failing atomic.Bool // the last fetch did not succeed: a kid that is not known may be one that we have not heard of

	mu      sync.Mutex
	flight  *fetch    // under way; nil: none
	tried   time.Time // when the last fetch began
	unknown time.Time // when an unknown kid last made us fetch
}

// published is a key set and when it was fetched.
type published struct {
	set token.KeySet
	at  time.Time
}

// fetch is a fetch under way.
type fetch struct {
	done chan struct{}
	err  error
}

// fresh returns the keys, if there are any that may be believed.
func (k *keys) fresh() *published {
	p := k.current.Load()
	if p == nil || k.now().Sub(p.at) > staleAfter {
		return nil
	}
	return p
}

// published says whether a key is in the current set.
func (k *keys) published(keyID string) bool {
	p := k.fresh()
	if p == nil {
		return false
	}
	_, ok := p.set[keyID]
	return ok
}

// Key implements token.Keys.
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
	f := k.join(ctx, p != nil)
	switch {
	case f == nil && p != nil && !k.failing.Load():
		return jose.JSONWebKey{}, token.ErrUnknownKey // asked not long ago, and it was not there
	case f == nil:
		return jose.JSONWebKey{}, token.ErrKeysUnavailable
	}
	if err := f.wait(ctx); err != nil {
		return jose.JSONWebKey{}, fmt.Errorf("%w: %w", token.ErrKeysUnavailable, err)
	}
	if p = k.fresh(); p == nil {
		return jose.JSONWebKey{}, token.ErrKeysUnavailable
	}
	return p.set.Key(ctx, keyID)
}

// join finds the fetch under way, or begins one if it is time: one for all who wait. known says that there are keys, and only one is missing.
func (k *keys) join(ctx context.Context, known bool) *fetch {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	switch {
	case k.flight != nil:
		return k.flight
	case known && now.Sub(k.unknown) < coolDown, !known && now.Sub(k.tried) < retryAfter:
		return nil
	case known:
		k.unknown = now
	}
	return k.begin(ctx)
}

// begin begins a fetch, which goes on when whoever asked for it gives up. k.mu is held and no other fetch is under way.
func (k *keys) begin(ctx context.Context) *fetch {
	k.flight, k.tried = &fetch{done: make(chan struct{})}, k.now()
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
	if err == nil {
		k.current.Store(&published{set, k.now()})
	} else {
		k.log.Warn("the issuer's keys could not be fetched; those known are kept", "issuer", k.issuer, "error", err)
	}
	k.mu.Lock()
	f.err, k.flight = err, nil
	k.mu.Unlock()
	close(f.done)
}

// load asks the issuer. What is not a key set to believe changes nothing (JK-05).
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

// discover reads where the keys are (RFC 8414 §3). Metadata of another issuer are not ours (§3.3), nor are keys that travel in clear from an issuer
// that does not.
func (k *keys) discover(ctx context.Context) (string, error) {
	u, err := url.Parse(k.issuer)
	if err != nil {
		return "", fmt.Errorf("parsing the issuer: %w", err)
	}
	document, err := k.get(ctx, u.Scheme+"://"+u.Host+"/.well-known/oauth-authorization-server"+strings.TrimSuffix(u.EscapedPath(), "/"))
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

// run fetches the keys every so often until ctx ends. A fetch that does not succeed is logged by fly, and the next turn tries again.
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
