package keyring

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// key is an opened signing key, with what is the same for all tokens computed once.
type key struct {
	Sealed
	under   Sealer // nil, like all fields below, for a withdrawn key
	private crypto.Signer
	public  jose.JSONWebKey
	headers map[string]string // encoded JOSE header by typ, with its dot
}

// IdentityType is the JOSE "typ" of an ID token, which no one accepts as an access token (RFC 8725
// §3.11).
const IdentityType = "JWT"

// openKey opens a stored key. A withdrawn one has a state and nothing else.
func (s sealers) openKey(ctx context.Context, stored Sealed) (*key, error) {
	k := &key{Sealed: stored, headers: map[string]string{}}
	if !stored.Withdrawn.IsZero() {
		return k, nil
	}
	der, under, err := s.open(ctx, stored.Under, stored.Private, stored.of())
	if err != nil {
		return nil, err
	}
	k.under = under
	if k.private, err = parsePrivate(der, stored.KID); err != nil {
		return nil, err
	}
	k.public = jose.JSONWebKey{Key: k.private.Public(), KeyID: stored.KID, Algorithm: stored.Algorithm, Use: "sig"}
	for _, typ := range []string{token.Type, IdentityType} {
		header, err := json.Marshal(struct {
			Type      string `json:"typ"`
			Algorithm string `json:"alg"`
			KeyID     string `json:"kid"`
		}{typ, stored.Algorithm, stored.KID})
		if err != nil {
			return nil, fmt.Errorf("encoding the header of key %s: %w", stored.KID, err)
		}
		k.headers[typ] = base64.RawURLEncoding.EncodeToString(header) + "."
	}
	return k, nil
}

// sign returns a compact JWS (RFC 7515 §7.1) of payload with this typ.
func (k *key) sign(typ string, payload []byte) (string, error) {
	enc, header := base64.RawURLEncoding, k.headers[typ]
	out := make([]byte, 0, len(header)+enc.EncodedLen(len(payload))+1+enc.EncodedLen(256))
	out = append(out, header...)
	out = enc.AppendEncode(out, payload)
	signature, err := k.signature(out)
	if err != nil {
		return "", fmt.Errorf("signing with key %s: %w", k.KID, err)
	}
	out = append(out, '.')
	out = enc.AppendEncode(out, signature)
	return string(out), nil
}

func (k *key) signature(input []byte) ([]byte, error) {
	switch private := k.private.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(private, input), nil
	case *rsa.PrivateKey:
		sum := sha256.Sum256(input)
		return rsa.SignPKCS1v15(nil, private, crypto.SHA256, sum[:])
	case *ecdsa.PrivateKey:
		sum := sha256.Sum256(input)
		r, s, err := ecdsa.Sign(rand.Reader, private, sum[:])
		if err != nil {
			return nil, err
		}
		var raw [64]byte // r and s, fixed width (RFC 7518 §3.4)
		r.FillBytes(raw[:32])
		s.FillBytes(raw[32:])
		return raw[:], nil
	}
	return nil, fmt.Errorf("key type %T", k.private)
}
