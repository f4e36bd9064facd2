package keyring

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// ErrWrongKey says that the key-encryption key does not open what is stored: it is another one, or the row was altered.
var ErrWrongKey = errors.New("the key-encryption key does not open the stored signing keys")

// KeySize is the size of the key-encryption key, in bytes.
const KeySize = 32

// rsaBits is the size of new RSA keys. 2048 is what RFC 7518 §3.3 asks for and every validator takes.
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

// seal encrypts a private key, bound to its kid and algorithm.
func seal(kek []byte, private crypto.Signer, kid, algorithm string) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("encoding a signing key: %w", err)
	}
	gcm, err := newGCM(kek)
	if err != nil {
		return nil, err
	}
	return gcm.Seal(nil, nil, der, []byte(kid+"|"+algorithm)), nil
}

func unseal(kek []byte, s Sealed) (crypto.Signer, error) {
	gcm, err := newGCM(kek)
	if err != nil {
		return nil, err
	}
	der, err := gcm.Open(nil, nil, s.Private, []byte(s.KID+"|"+s.Algorithm))
	if err != nil {
		return nil, ErrWrongKey
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("decoding signing key %s: %w", s.KID, err)
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("signing key %s cannot sign", s.KID)
	}
	return signer, nil
}

func newGCM(kek []byte) (cipher.AEAD, error) {
	if len(kek) != KeySize {
		return nil, fmt.Errorf("the key-encryption key has %d bytes, not %d", len(kek), KeySize)
	}
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, fmt.Errorf("preparing the key-encryption key: %w", err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("preparing the key-encryption key: %w", err)
	}
	return gcm, nil
}
