package keyring_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// KY-04: what is stored is sealed, each part for what it is of, and another key opens none of it.
func TestTheSealingKey(t *testing.T) {
	c := newCabinet(t)
	c.ring("ES256", "RS256")
	if _, err := keyring.Open(ctx, c.config("b")); !errors.Is(err, keyring.ErrWrongKey) {
		t.Errorf("another sealing key: got %v, want ErrWrongKey", err)
	}
	for _, size := range []int{0, 16, 31, 33} { // KY-05
		if _, err := keyring.NewAES(make([]byte, size)); err == nil {
			t.Errorf("a sealing key of %d bytes is taken", size)
		}
	}
	for _, k := range stored(t, c) {
		if bytes.Contains(k.Private, []byte("PRIVATE")) || len(k.Private) < 50 || k.Under != sealer('a').ID() {
			t.Errorf("a private key lies in the database as %d bytes under %q", len(k.Private), k.Under)
		}
		for of, want := range map[string]error{k.KID + "|" + k.Algorithm: nil, k.KID + "|EdDSA": keyring.ErrWrongKey,
			"root": keyring.ErrWrongKey} {
			if _, err := sealer('a').Open(ctx, k.Private, of); !errors.Is(err, want) {
				t.Errorf("opened as %s: got %v, want %v", of, err, want)
			}
		}
	}
	if a, again := sealer('a').ID(), sealer('a').ID(); a != again || a == sealer('b').ID() {
		t.Error("the names of sealing keys do not tell them apart")
	}
}

// KY-04: the database's files hold nothing of the private keys, nor of the secret: what they seal
// is nowhere in them.
func TestTheDatabaseHoldsNoPrivateKey(t *testing.T) {
	c := newCabinet(t)
	r := c.ring("ES256", "RS256", "EdDSA")
	_, _, err := r.Reseal(ctx, "operator", sealer('b'))
	must(t, err)
	clear := [][]byte{r.Secret(), bytes.Repeat([]byte{'a'}, keyring.KeySize),
		bytes.Repeat([]byte{'b'}, keyring.KeySize)}
	for _, k := range stored(t, c) {
		der, err := sealer('b').Open(ctx, k.Private, k.KID+"|"+k.Algorithm)
		must(t, err)
		private, err := x509.ParsePKCS8PrivateKey(der)
		must(t, err)
		switch p := private.(type) {
		case *ecdsa.PrivateKey:
			d, err := p.Bytes()
			must(t, err)
			clear = append(clear, d)
		case *rsa.PrivateKey:
			clear = append(clear, p.D.Bytes()[:32], p.Primes[0].Bytes(), p.Primes[1].Bytes())
		case ed25519.PrivateKey:
			clear = append(clear, p.Seed())
		}
	}
	path := strings.TrimPrefix(c.database, "sqlite:")
	for _, name := range []string{path, path + "-wal"} {
		content, err := os.ReadFile(name)
		must(t, err)
		for _, secret := range clear {
			for _, form := range [][]byte{secret, []byte(hex.EncodeToString(secret)),
				[]byte(base64.StdEncoding.EncodeToString(secret)),
				[]byte(base64.RawURLEncoding.EncodeToString(secret))} {
				if bytes.Contains(content, form) {
					t.Errorf("%s holds a private key in the clear", filepath.Base(name))
				}
			}
		}
	}
}

// KY-05: the sealing key is changed while replicas sign. What lay under the old one is opened as
// long as that is known, and not after.
func TestReseal(t *testing.T) {
	c := newCabinet(t)
	r := c.ring("ES256", "RS256")
	secret, raw := r.Secret(), c.sign(r, "ES256")

	// Replicas come to know both, one after the other. What they make meanwhile is for those that
	// do not know the new one yet.
	both, err := keyring.Open(ctx, c.config("ba"))
	must(t, err)
	_, err = both.Rotate(ctx, "operator", "ES256", false)
	must(t, err)
	must(t, r.Reload(ctx))

	rows, under, err := both.Reseal(ctx, "operator", nil)
	must(t, err)
	if rows != 4 || under != sealer('b').ID() { // three keys and the secret
		t.Errorf("got %d rows under %s, want 4 under %s", rows, under, sealer('b').ID())
	}
	if rows, _, err = both.Reseal(ctx, "operator", nil); rows != 0 || err != nil {
		t.Errorf("again: got %d %v, want nothing to do", rows, err)
	}
	for _, k := range stored(t, c) {
		if k.Under != sealer('b').ID() {
			t.Errorf("%s lies under %s", k.KID, k.Under)
		}
	}
	if _, err := keyring.Open(ctx, c.config("a")); !errors.Is(err, keyring.ErrWrongKey) {
		t.Errorf("the old key alone: got %v, want ErrWrongKey", err)
	}
	if !errors.Is(r.Reload(ctx), keyring.ErrWrongKey) || !c.believed(r, c.sign(r, "ES256")) {
		t.Error("a replica that knows the old key alone lost what it had")
	}
	after, err := keyring.Open(ctx, c.config("b"))
	must(t, err)
	must(t, after.EnsureSecret(ctx, nil))
	if !bytes.Equal(after.Secret(), secret) || !c.believed(after, raw) || !c.believed(after, c.sign(after, "RS256")) {
		t.Error("something else than the sealing key has changed")
	}
	events, err := c.store().Events(ctx, audit.Filter{Limit: 1})
	must(t, err)
	if e := events[0]; e.Action != "key.reseal" || e.Target != under || e.Actor != "operator" {
		t.Errorf("the line is %+v", e)
	}
}

// Keys are made, withdrawn and sealed anew at once: everything lies under one key in the end, and
// all of it opens.
func TestResealAmongRotations(t *testing.T) {
	c := newCabinet(t)
	r, replica := c.ring("ES256"), c.ring("ES256")
	for _, s := range []*keyring.Ring{r, replica} { // both know the new key
		_, _, err := s.Reseal(ctx, "operator", sealer('b'))
		must(t, err)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := r.Rotate(ctx, "operator", "ES256", true); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		if _, _, err := r.Reseal(ctx, "operator", sealer('c')); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	again, err := keyring.Open(ctx, c.config("c"))
	must(t, err)
	if !c.believed(again, c.sign(again, "ES256")) {
		t.Error("what was sealed anew does not sign")
	}
}

// An installation from before there was a secret keeps what stood in its place; a new one makes its
// own.
func TestTheSecretIsInherited(t *testing.T) {
	c := newCabinet(t)
	r := c.ring("ES256")
	c.forget(t)
	inherit := func(under string) []byte {
		if under != sealer('a').ID() {
			t.Errorf("asked about the key %q", under)
		}
		return bytes.Repeat([]byte{9}, 32)
	}
	heir, err := keyring.Open(ctx, c.config("ba"))
	must(t, err)
	must(t, heir.EnsureSecret(ctx, inherit))
	must(t, r.EnsureSecret(ctx, nil))
	if !bytes.Equal(heir.Secret(), inherit(sealer('a').ID())) || !bytes.Equal(r.Secret(), heir.Secret()) {
		t.Error("the secret is not the inherited one")
	}
	fresh, err := keyring.Open(ctx, newCabinet(t).config("a"))
	must(t, err)
	must(t, fresh.EnsureSecret(ctx, func(string) []byte { t.Error("a new installation inherits"); return nil }))
	if bytes.Equal(fresh.Secret(), heir.Secret()) || len(fresh.Secret()) != 32 {
		t.Error("a new installation has no secret of its own")
	}
}

// The secret's row is gone, though keys were sealed since it was made: another one would change all
// that was derived from it, and nobody would know.
func TestALostSecretIsNotMadeAnew(t *testing.T) {
	c := newCabinet(t)
	c.ring("ES256")
	db, err := sql.Open("sqlite", strings.TrimPrefix(c.database, "sqlite:"))
	must(t, err)
	defer db.Close()
	_, err = db.Exec("DELETE FROM sealed_secrets")
	must(t, err)
	r, err := keyring.Open(ctx, c.config("a"))
	must(t, err)
	if err := r.EnsureSecret(ctx, nil); !errors.Is(err, keyring.ErrNotFound) ||
		!strings.Contains(err.Error(), "backup") {
		t.Errorf("got %v, want what to do", err)
	}
}

// A key-management service that seals and does not open would lose everything: it is found out
// before anything is written.
func TestASealerThatOnlySeals(t *testing.T) {
	c := newCabinet(t)
	r := c.ring("ES256")
	before := stored(t, c)
	if _, _, err := r.Reseal(ctx, "operator", oneWay{sealer('b')}); err == nil {
		t.Error("sealed under a key that opens nothing")
	}
	if after := stored(t, c); !bytes.Equal(after[0].Private, before[0].Private) || after[0].Under != before[0].Under {
		t.Error("something was written")
	}
	if rows, _, err := r.Reseal(ctx, "operator", sealer('c')); rows != 2 || err != nil {
		t.Errorf("afterwards: got %d %v", rows, err)
	}
}

type oneWay struct{ keyring.Sealer }

func (oneWay) ID() string { return "one-way" }
func (oneWay) Open(context.Context, []byte, string) ([]byte, error) {
	return nil, errors.New("access denied")
}

// Purposes have keys of their own (KY-09).
func TestDerivedKeysAreForOnePurpose(t *testing.T) {
	c := newCabinet(t)
	r := c.ring("ES256")
	seen := map[string]bool{string(r.Secret()): true}
	for _, purpose := range []string{"nonces", "other nonces"} {
		for _, salt := range []string{"", "salt"} {
			if k := string(r.Derive(purpose, salt)); seen[k] || len(k) != 32 {
				t.Errorf("%s with %q is the key of something else", purpose, salt)
			} else {
				seen[k] = true
			}
		}
	}
	c.step(time.Hour)
	if !bytes.Equal(r.Derive("nonces", ""), r.Derive("nonces", "")) {
		t.Error("the key of a purpose changes")
	}
}

// A replica that has not read yet that another one brought all under another sealing key makes its
// next key under that one.
func TestAReplicaThatIsBehindAReseal(t *testing.T) {
	c := newCabinet(t)
	r := c.ring("ES256")
	behind, err := keyring.Open(ctx, c.config("ab"))
	must(t, err)
	_, _, err = r.Reseal(ctx, "operator", sealer('b'))
	must(t, err)
	kid, err := behind.Rotate(ctx, "operator", "ES256", false)
	must(t, err)
	for _, k := range stored(t, c) {
		if k.Under != sealer('b').ID() {
			t.Errorf("key %s (the new one is %s) lies under %s", k.KID, kid, k.Under)
		}
	}
}
