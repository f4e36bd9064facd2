// Package tokentest is a test kit: an issuer with real keys, a JWKS over HTTP, and valid and
// invalid tokens.
package tokentest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// Issuer is an issuer for tests. It has one key per algorithm: ES256, RS256 and EdDSA.
type Issuer struct {
	t       testing.TB
	server  *httptest.Server
	hits    atomic.Int64
	mu      sync.Mutex
	keys    []signingKey
	failure func(http.ResponseWriter, *http.Request)
}

type signingKey struct {
	kid, algorithm string
	private        crypto.Signer
}

// NewIssuer starts an issuer that ends with the test.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{t: t}
	for _, algorithm := range []string{"ES256", "RS256", "EdDSA"} {
		i.keys = append(i.keys, newKey(t, algorithm))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		write(w, map[string]any{"issuer": i.URL(), "jwks_uri": i.JWKSURL()})
	})
	mux.HandleFunc("GET /oauth2/jwks", i.jwks)
	i.server = httptest.NewServer(mux)
	t.Cleanup(i.server.Close)
	return i
}

func newKey(t testing.TB, algorithm string) signingKey {
	t.Helper()
	var private crypto.Signer
	var err error
	switch algorithm {
	case "RS256":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return signingKey{rand.Text(), algorithm, private}
}

// URL is the issuer identifier.
func (i *Issuer) URL() string { return i.server.URL }

// JWKSURL is where the keys are.
func (i *Issuer) JWKSURL() string { return i.server.URL + "/oauth2/jwks" }

// JWKSHits counts the fetches of the keys.
func (i *Issuer) JWKSHits() int64 { return i.hits.Load() }

// Close takes the issuer off the network.
func (i *Issuer) Close() { i.server.Close() }

// KeyID is the kid that signs the algorithm now.
func (i *Issuer) KeyID(algorithm string) string { return i.key(algorithm).kid }

// Public returns the public key that verifies the algorithm's tokens now.
func (i *Issuer) Public(algorithm string) crypto.PublicKey { return i.key(algorithm).private.Public() }

func (i *Issuer) key(algorithm string) signingKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n := len(i.keys) - 1; n >= 0; n-- {
		if i.keys[n].algorithm == algorithm {
			return i.keys[n]
		}
	}
	i.t.Fatalf("tokentest: no key for %s", algorithm)
	return signingKey{}
}

// Rotate makes a new key that signs from now on; the old one stays published. It returns the new
// kid.
func (i *Issuer) Rotate(algorithm string) string {
	k := newKey(i.t, algorithm)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, k)
	return k.kid
}

// Withdraw unpublishes a key.
func (i *Issuer) Withdraw(kid string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n, k := range i.keys {
		if k.kid == kid {
			i.keys = append(i.keys[:n:n], i.keys[n+1:]...)
			return
		}
	}
	i.t.Fatalf("tokentest: no key %s", kid)
}

// Fail answers requests for the keys with f until it is called with nil.
func (i *Issuer) Fail(f http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.failure = f
}

// KeySet is the published set.
func (i *Issuer) KeySet() jose.JSONWebKeySet {
	i.mu.Lock()
	defer i.mu.Unlock()
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range i.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.private.Public(), KeyID: k.kid, Algorithm: k.algorithm,
			Use: "sig"})
	}
	return set
}

func (i *Issuer) jwks(w http.ResponseWriter, r *http.Request) {
	i.hits.Add(1)
	i.mu.Lock()
	failure := i.failure
	i.mu.Unlock()
	if failure != nil {
		failure(w, r)
		return
	}
	write(w, i.KeySet())
}

func write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

// Claims returns valid claims for a resource, of ann of acme.
func (i *Issuer) Claims(audience string, scopes ...string) token.Claims {
	now := time.Now()
	return token.Claims{
		Issuer: i.URL(), Subject: "usr_ann", Audience: audience, ClientID: "cli_agent", TenantID: "acme",
		GrantID: "grt_1", ID: rand.Text(),
		Scope: strings.Join(scopes, " "), Scopes: append([]string{}, scopes...), IssuedAt: now.Unix(),
		Expires: now.Add(10 * time.Minute).Unix(),
	}
}

// Option changes a token.
type Option func(*bent)

type bent struct {
	algorithm string
	header    map[string]any
	signer    crypto.Signer
}

// Algorithm signs with the issuer's key for it; ES256 is the default.
func Algorithm(name string) Option { return func(b *bent) { b.algorithm = name } }

// Header sets a member of the JOSE header; nil removes it.
func Header(name string, value any) Option { return func(b *bent) { b.header[name] = value } }

// Signer signs with a key that is not the issuer's.
func Signer(s crypto.Signer) Option { return func(b *bent) { b.signer = s } }

// Sign signs claims (any JSON value, or raw JSON as []byte) as a compact JWS, changed by options.
func (i *Issuer) Sign(claims any, options ...Option) string {
	i.t.Helper()
	b := &bent{algorithm: "ES256", header: map[string]any{}}
	for _, o := range options {
		o(b)
	}
	k := i.key(b.algorithm)
	header := map[string]any{"typ": token.Type, "alg": k.algorithm, "kid": k.kid}
	for name, value := range b.header {
		header[name] = value
		if value == nil {
			delete(header, name)
		}
	}
	if b.signer == nil {
		b.signer = k.private
	}
	payload, raw := claims.([]byte)
	if !raw {
		payload = i.marshal(claims)
	}
	input := Encode(i.marshal(header)) + "." + Encode(payload)
	signature, err := sign(b.signer, input)
	if err != nil {
		i.t.Fatal(err)
	}
	return input + "." + Encode(signature)
}

// Encode is base64url without padding.
func Encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (i *Issuer) marshal(v any) []byte {
	i.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		i.t.Fatal(err)
	}
	return b
}

func sign(key crypto.Signer, input string) ([]byte, error) {
	sum := sha256.Sum256([]byte(input))
	switch k := key.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(k, []byte(input)), nil
	case *rsa.PrivateKey:
		return rsa.SignPKCS1v15(nil, k, crypto.SHA256, sum[:])
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			return nil, err
		}
		out := make([]byte, 64)
		r.FillBytes(out[:32])
		s.FillBytes(out[32:])
		return out, nil
	}
	return nil, fmt.Errorf("tokentest: cannot sign with %T", key)
}
