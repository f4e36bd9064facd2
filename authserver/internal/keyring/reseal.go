package keyring

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// rootName names the one stored secret, from which the issuer's other secrets are derived.
const rootName = "root"

// sealer returns the key under which new things are sealed: that of the newest signing key, which
// all replicas know.
func (r *Ring) sealer() Sealer {
	var newest *key
	for _, keys := range r.keys.Load().byAlgorithm {
		if k := keys.newest(); k != nil && (newest == nil || k.CreatedAt.After(newest.CreatedAt)) {
			newest = k
		}
	}
	if newest != nil {
		return newest.under
	}
	return (*r.known.Load())[0]
}

// EnsureSecret reads the issuer's root secret, and creates it when there is none. It stays as long
// as the installation, whatever the sealing key. Where keys were sealed before there was such a
// secret, inherited returns, for the sealing key's id, what was used instead; nil when that cannot
// be known.
func (r *Ring) EnsureSecret(ctx context.Context, inherited func(under string) []byte) error {
	err := r.LoadSecret(ctx)
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	if r.sealedSince() { // another secret would silently change everything derived from this one
		return fmt.Errorf("%w: keys were made since there was one; put its row (sealed_secrets) back from a backup",
			err)
	}
	if err := r.makeSecret(ctx, inherited); err != nil {
		return err
	}
	return r.LoadSecret(ctx) // another replica may have been faster
}

// Born reports whether the installation begins with this process: it created the root secret, or
// there was never a key.
func (r *Ring) Born() bool { return r.born.Load() || len(r.keys.Load().byAlgorithm) == 0 }

// sealedSince reports whether a key was sealed since the issuer has a root secret.
func (r *Ring) sealedSince() bool {
	for _, keys := range r.keys.Load().byAlgorithm {
		if slices.ContainsFunc(keys, func(k *key) bool { return k.Under != "" }) {
			return true
		}
	}
	return false
}

// LoadSecret reads the issuer's root secret, or returns ErrNotFound.
func (r *Ring) LoadSecret(ctx context.Context) error {
	s, err := r.Store.Secret(ctx, rootName)
	if err != nil {
		return fmt.Errorf("reading the issuer's secret: %w", err)
	}
	secret, _, err := r.known.Load().open(ctx, s.Under, s.Sealed, s.Name)
	if err != nil {
		return err
	}
	r.secret.Store(&secret)
	return nil
}

func (r *Ring) makeSecret(ctx context.Context, inherited func(under string) []byte) error {
	r.turn.Lock()
	defer r.turn.Unlock()
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	for _, keys := range r.keys.Load().byAlgorithm {
		for _, k := range keys {
			if k.Under == "" && k.under != nil && inherited != nil {
				if s := inherited(k.under.ID()); s != nil {
					secret = s
				}
			}
		}
	}
	under := r.sealer()
	sealed, err := under.Seal(ctx, secret, rootName)
	if err != nil {
		return fmt.Errorf("sealing the issuer's secret: %w", err)
	}
	if err := r.Store.PutSecret(ctx, Secret{Name: rootName, Sealed: sealed, Under: under.ID(),
		CreatedAt: r.Now()}); err != nil {
		return fmt.Errorf("keeping the issuer's secret: %w", err)
	}
	r.born.Store(true)
	return nil
}

// HasSecret reports whether the root secret is loaded.
func (r *Ring) HasSecret() bool { return r.secret.Load() != nil }

// Secret returns the issuer's root secret, which replicas share; EnsureSecret must have succeeded.
// It is a MAC key; each use has its own prefix.
func (r *Ring) Secret() []byte { return *r.secret.Load() }

// Derive derives a key for one purpose, with an optional salt. It reveals neither the secret nor
// another purpose's key.
func (r *Ring) Derive(purpose, salt string) []byte {
	mac := hmac.New(sha256.New, r.Secret())
	fmt.Fprintf(mac, "key for %s\x00%s", purpose, salt)
	return mac.Sum(nil)
}

// Reseal seals everything under one sealing key, in one transaction: next, which the ring knows
// from then on, or the first of Config when nil. It returns how many rows were resealed and the
// key's id. Keys and secrets in use do not change.
func (r *Ring) Reseal(ctx context.Context, actor string, next Sealer) (rows int, under string, err error) {
	r.turn.Lock()
	defer r.turn.Unlock()
	if next != nil {
		known := append(sealers{next},
			slices.DeleteFunc(slices.Clone(*r.known.Load()), func(s Sealer) bool { return s.ID() == next.ID() })...)
		r.known.Store(&known)
	}
	target := (*r.known.Load())[0]
	for range 3 {
		if rows, err = r.reseal(ctx, actor, target); !errors.Is(err, ErrChanged) {
			break
		}
	}
	return rows, target.ID(), err
}

func (r *Ring) reseal(ctx context.Context, actor string, target Sealer) (int, error) {
	if err := r.Reload(ctx); err != nil {
		return 0, err
	}
	var rows []Resealing
	for _, keys := range r.keys.Load().byAlgorithm {
		for _, k := range keys {
			if !k.Withdrawn.IsZero() || k.Under == target.ID() {
				continue
			}
			sealed, err := r.turned(ctx, target, k.Under, k.Private, k.of())
			if err != nil {
				return 0, err
			}
			rows = append(rows, Resealing{KID: k.KID, Old: k.Private, New: sealed})
		}
	}
	switch s, err := r.Store.Secret(ctx, rootName); {
	case errors.Is(err, ErrNotFound): // no server has run yet
	case err != nil:
		return 0, fmt.Errorf("reading the issuer's secret: %w", err)
	case s.Under != target.ID():
		sealed, err := r.turned(ctx, target, s.Under, s.Sealed, s.Name)
		if err != nil {
			return 0, err
		}
		rows = append(rows, Resealing{Name: s.Name, Old: s.Sealed, New: sealed})
	}
	if len(rows) == 0 {
		return 0, nil
	}
	event := audit.Event{Time: r.Now(), Actor: actor, Action: "key.reseal", Target: target.ID(),
		Detail: strconv.Itoa(len(rows)) + " rows"}
	if err := r.Store.Reseal(ctx, target.ID(), rows, event); err != nil {
		return 0, fmt.Errorf("sealing anew: %w", err)
	}
	return len(rows), r.Reload(ctx)
}

// turned reseals what was sealed under another key, and checks that it can be opened again, because
// a key that only seals would lose everything.
func (r *Ring) turned(ctx context.Context, target Sealer, under string, sealed []byte, of string) ([]byte, error) {
	secret, _, err := r.known.Load().open(ctx, under, sealed, of)
	if err != nil {
		return nil, err
	}
	anew, err := target.Seal(ctx, secret, of)
	if err != nil {
		return nil, fmt.Errorf("sealing %s under %s: %w", of, target.ID(), err)
	}
	if again, err := target.Open(ctx, anew, of); err != nil || !hmac.Equal(again, secret) {
		return nil, fmt.Errorf("what was sealed under %s cannot be opened with it: %w", target.ID(), err)
	}
	return anew, nil
}
