package keyring

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// Config configures a Ring.
type Config struct {
	Store Store
	// Sealers are the known sealing keys, at least one. New keys are sealed under the key that
	// sealed the newest, so that replicas that do not know another yet can open them; only Reseal
	// seals everything under the first of these.
	Sealers []Sealer
	// the longest lifetime of a token with clock skew: how long a superseded key stays published
	TokenLife time.Duration
	Age       time.Duration // how long a key signs until RotateByAge replaces it; 0: forever
	Now       func() time.Time
}

// Ring holds the signing keys. It is safe for concurrent use; signing takes no lock.
type Ring struct {
	Config
	keys   atomic.Pointer[set]
	known  atomic.Pointer[sealers]
	secret atomic.Pointer[[]byte] // see EnsureSecret
	born   atomic.Bool            // this process made it

	turn sync.Mutex // serializes creating and sealing
	load sync.Mutex // serializes reading, so that an older state never replaces a newer one
}

// set is the keys at one moment.
type set struct {
	byAlgorithm map[string]keys
	document    Document
}

// Document is the published key set (RFC 7517 §5), ready to be sent.
type Document struct {
	JSON []byte
	ETag string
}

// Open reads the keys, or returns ErrWrongKey when no sealing key fits.
func Open(ctx context.Context, c Config) (*Ring, error) {
	if len(c.Sealers) == 0 {
		return nil, errors.New("there is no sealing key")
	}
	r := &Ring{Config: c}
	known := sealers(c.Sealers)
	r.known.Store(&known)
	r.keys.Store(&set{})
	return r, r.Reload(ctx)
}

// Reload reads the keys again, so that this replica knows what another created or withdrew. On an
// error the old set stays.
func (r *Ring) Reload(ctx context.Context) error {
	r.load.Lock()
	defer r.load.Unlock()
	stored, err := r.Store.Keys(ctx)
	if err != nil {
		return fmt.Errorf("reading signing keys: %w", err)
	}
	s := &set{byAlgorithm: map[string]keys{}}
	for _, k := range stored {
		opened, err := r.opened(ctx, k)
		if err != nil {
			return err
		}
		s.byAlgorithm[k.Algorithm] = append(s.byAlgorithm[k.Algorithm], opened)
	}
	for _, keys := range s.byAlgorithm {
		slices.SortFunc(keys, func(a, b *key) int { return cmp.Compare(a.Generation, b.Generation) })
	}
	if s.document, err = s.publish(r.Now(), r.TokenLife); err != nil {
		return err
	}
	r.keys.Store(s)
	return nil
}

// opened opens a stored key unless it is open already, because opening is slow.
func (r *Ring) opened(ctx context.Context, stored Sealed) (*key, error) {
	for _, old := range r.keys.Load().byAlgorithm[stored.Algorithm] {
		if old.KID == stored.KID && old.Under == stored.Under && bytes.Equal(old.Private, stored.Private) &&
			old.Withdrawn.Equal(stored.Withdrawn) {
			again := *old
			again.Sealed = stored
			return &again, nil
		}
	}
	return r.known.Load().openKey(ctx, stored)
}

// Document returns the published key set as of the last Reload.
func (r *Ring) Document() Document { return r.keys.Load().document }

// Sign signs claims as an access token (RFC 9068 §2.1) with the active key of the algorithm.
func (r *Ring) Sign(algorithm string, claims token.Claims) (string, error) {
	return r.sign(algorithm, token.Type, claims)
}

// SignIdentity signs claims as an ID token (OpenID Connect Core §2) with the active key of the
// algorithm.
func (r *Ring) SignIdentity(algorithm string, claims any) (string, error) {
	return r.sign(algorithm, IdentityType, claims)
}

func (r *Ring) sign(algorithm, typ string, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encoding claims: %w", err)
	}
	keys := r.keys.Load().byAlgorithm[algorithm]
	if i := keys.active(r.Now()); i >= 0 {
		return keys[i].sign(typ, payload)
	}
	return "", fmt.Errorf("no key signs %s now", algorithm)
}

// Key returns the published key of this kid, or token.ErrUnknownKey. It implements token.Keys for
// the issuer's own tokens.
func (r *Ring) Key(_ context.Context, kid string) (jose.JSONWebKey, error) {
	keys, i := r.find(kid)
	if i < 0 || !published(keys.state(i, r.Now(), r.TokenLife)) {
		return jose.JSONWebKey{}, token.ErrUnknownKey
	}
	return keys[i].public, nil
}

// PastKey is Key for hints that prove nothing by themselves, such as an old ID token: it finds
// expired keys too, but none that was withdrawn.
func (r *Ring) PastKey(kid string) (jose.JSONWebKey, error) {
	keys, i := r.find(kid)
	if i < 0 || !keys[i].Withdrawn.IsZero() {
		return jose.JSONWebKey{}, token.ErrUnknownKey
	}
	return keys[i].public, nil
}

// find returns the keys of a key's algorithm, and its index; -1 when there is none of this kid.
func (r *Ring) find(kid string) (keys, int) {
	for _, keys := range r.keys.Load().byAlgorithm {
		if i := slices.IndexFunc(keys, func(k *key) bool { return k.KID == kid }); i >= 0 {
			return keys, i
		}
	}
	return nil, -1
}

// publish writes the key set document.
func (s *set) publish(now time.Time, tokenLife time.Duration) (Document, error) {
	document := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, keys := range s.byAlgorithm {
		for i, k := range keys {
			if published(keys.state(i, now, tokenLife)) {
				document.Keys = append(document.Keys, k.public)
			}
		}
	}
	slices.SortFunc(document.Keys, func(a, b jose.JSONWebKey) int { return cmp.Compare(a.KeyID, b.KeyID) })
	body, err := json.Marshal(document)
	if err != nil {
		return Document{}, fmt.Errorf("encoding the key set: %w", err)
	}
	sum := sha256.Sum256(body)
	return Document{JSON: body, ETag: `"` + hex.EncodeToString(sum[:12]) + `"`}, nil
}

// thumbprint is the kid: the key's RFC 7638 thumbprint, so that no two keys share one.
func thumbprint(public crypto.PublicKey) (string, error) {
	jwk := jose.JSONWebKey{Key: public}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("naming a signing key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}
