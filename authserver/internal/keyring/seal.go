package keyring

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// ErrWrongKey says that no known sealing key opens what is stored: it was sealed under another one,
// or changed.
var ErrWrongKey = errors.New("the key-encryption key does not open the stored signing keys")

// KeySize is the size of the key-encryption key, in bytes.
const KeySize = 32

// Sealer is a sealing key: AES of this process, or a key-management service's.
type Sealer interface {
	// ID names the key and reveals nothing of it. It is stored with what is sealed, and never
	// empty.
	ID() string
	// Seal encrypts a secret, bound to of: Open needs the same.
	Seal(ctx context.Context, secret []byte, of string) ([]byte, error)
	// Open decrypts what Seal returned, or returns ErrWrongKey for another key, another of, or
	// changed bytes.
	Open(ctx context.Context, sealed []byte, of string) ([]byte, error)
}

// aesKey is a Sealer by AES-256-GCM with random nonces.
type aesKey struct {
	id  string
	gcm cipher.AEAD
}

// NewAES returns a Sealer of KeySize random bytes.
func NewAES(key []byte) (Sealer, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("the key-encryption key has %d bytes, not %d", len(key), KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("preparing the key-encryption key: %w", err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("preparing the key-encryption key: %w", err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("gatehouse name of a sealing key"))
	return &aesKey{hex.EncodeToString(mac.Sum(nil)[:8]), gcm}, nil
}

func (k *aesKey) ID() string { return k.id }

func (k *aesKey) Seal(_ context.Context, secret []byte, of string) ([]byte, error) {
	return k.gcm.Seal(nil, nil, secret, []byte(of)), nil
}

func (k *aesKey) Open(_ context.Context, sealed []byte, of string) ([]byte, error) {
	secret, err := k.gcm.Open(nil, nil, sealed, []byte(of))
	if err != nil {
		return nil, ErrWrongKey
	}
	return secret, nil
}

// sealers are the known sealing keys; Reseal seals everything under the first.
type sealers []Sealer

// open opens what was sealed under the key of this id, or under any when it is empty, and returns
// the key too.
func (s sealers) open(ctx context.Context, under string, sealed []byte, of string) ([]byte, Sealer, error) {
	for _, k := range s {
		if under != "" && under != k.ID() {
			continue
		}
		secret, err := k.Open(ctx, sealed, of)
		if err == nil {
			return secret, k, nil
		}
		if !errors.Is(err, ErrWrongKey) {
			return nil, nil, fmt.Errorf("opening what lies under the sealing key %s: %w", k.ID(), err)
		}
	}
	return nil, nil, ErrWrongKey
}

// of returns what a private key is bound to.
func (s *Sealed) of() string { return s.KID + "|" + s.Algorithm }

// rsaBits is the size of new RSA keys, which RFC 7518 §3.3 requires and every verifier accepts.
const rsaBits = 2048

func newPrivate(algorithm string) (crypto.Signer, error) {
	switch jose.SignatureAlgorithm(algorithm) {
	case jose.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.RS256:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	case jose.EdDSA:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("signing algorithm %q is not offered; use ES256, RS256 or EdDSA", algorithm)
}

func parsePrivate(der []byte, kid string) (crypto.Signer, error) {
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("decoding signing key %s: %w", kid, err)
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("signing key %s cannot sign", kid)
	}
	return signer, nil
}
