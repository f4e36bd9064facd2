// Package dpoptest is a test kit: a client's key that makes valid and invalid DPoP proofs.
package dpoptest

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
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
)

// Key is a client's key pair.
type Key struct {
	// Now is the client's clock.
	Now func() time.Time

	t         testing.TB
	algorithm string
	private   crypto.Signer
}

// NewKey returns a key for an algorithm of dpop.Algorithms.
func NewKey(t testing.TB, algorithm string) *Key {
	t.Helper()
	k := &Key{Now: time.Now, t: t, algorithm: algorithm}
	var err error
	switch algorithm {
	case "RS256", "PS256":
		k.private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "EdDSA":
		_, k.private, err = ed25519.GenerateKey(rand.Reader)
	default:
		k.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	k.must(err)
	return k
}

// Of returns a Key of a private key, which may be one that must not be accepted.
func Of(t testing.TB, algorithm string, private crypto.Signer) *Key {
	return &Key{Now: time.Now, t: t, algorithm: algorithm, private: private}
}

// JWK returns the public key.
func (k *Key) JWK() jose.JSONWebKey { return jose.JSONWebKey{Key: k.private.Public()} }

// PrivateJWK returns what must never be in a proof.
func (k *Key) PrivateJWK() jose.JSONWebKey { return jose.JSONWebKey{Key: k.private} }

// JKT returns the key's thumbprint (RFC 7638).
func (k *Key) JKT() string {
	k.t.Helper()
	jwk := k.JWK()
	sum, err := jwk.Thumbprint(crypto.SHA256)
	k.must(err)
	return encode(sum)
}

// Option changes a proof.
type Option func(header, claims map[string]any)

// Header sets a member of the JOSE header; nil removes it.
func Header(name string, value any) Option {
	return func(header, _ map[string]any) { set(header, name, value) }
}

// Claim sets a claim; nil removes it.
func Claim(name string, value any) Option {
	return func(_, claims map[string]any) { set(claims, name, value) }
}

// Token makes the proof for a request that presents an access token.
func Token(raw string) Option { return Claim("ath", dpop.Hash(raw)) }

func set(members map[string]any, name string, value any) {
	members[name] = value
	if value == nil {
		delete(members, name)
	}
}

// Proof returns a proof for one request.
func (k *Key) Proof(method, url string, options ...Option) string {
	k.t.Helper()
	header := map[string]any{"typ": dpop.Type, "alg": k.algorithm, "jwk": k.JWK()}
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": url, "iat": k.Now().Unix()}
	for _, o := range options {
		o(header, claims)
	}
	return k.Sign(k.marshal(header), k.marshal(claims))
}

// Sign returns a header and claims as a compact JWS.
func (k *Key) Sign(header, claims []byte) string {
	k.t.Helper()
	input := encode(header) + "." + encode(claims)
	sum := sha256.Sum256([]byte(input))
	var signature []byte
	var err error
	switch key := k.private.(type) {
	case *rsa.PrivateKey:
		var o crypto.SignerOpts = crypto.SHA256
		if k.algorithm == "PS256" {
			o = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
		}
		signature, err = key.Sign(rand.Reader, sum[:], o)
	case *ecdsa.PrivateKey:
		r, s, e := ecdsa.Sign(rand.Reader, key, sum[:])
		k.must(e)
		size := (key.Params().BitSize + 7) / 8
		signature = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	case ed25519.PrivateKey:
		signature = ed25519.Sign(key, []byte(input))
	}
	k.must(err)
	return input + "." + encode(signature)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (k *Key) marshal(v any) []byte {
	k.t.Helper()
	b, err := json.Marshal(v)
	k.must(err)
	return b
}

func (k *Key) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}
