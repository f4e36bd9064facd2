package token

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// ErrKeySet says that a document is not an acceptable key set.
var ErrKeySet = errors.New("not an acceptable key set")

// KeySet is an issuer's published keys by kid.
type KeySet map[string]jose.JSONWebKey

// Key implements Keys.
func (s KeySet) Key(_ context.Context, kid string) (jose.JSONWebKey, error) {
	key, ok := s[kid]
	if !ok {
		return jose.JSONWebKey{}, ErrUnknownKey
	}
	return key, nil
}

// maxKeys bounds a key set.
const maxKeys = 100

// ParseKeySet parses a JWK set (RFC 7517 §5). It is rejected whole when it is empty, has a private
// or symmetric key, an RSA key under 2048 bits, a duplicate kid or a key without one. Keys for
// other uses or of unknown type are left out.
func ParseKeySet(document []byte) (KeySet, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := strictjson.Unmarshal(document, &raw); err != nil || len(raw.Keys) == 0 || len(raw.Keys) > maxKeys {
		return nil, ErrKeySet
	}
	set := KeySet{}
	for _, r := range raw.Keys {
		var kind struct {
			Type string          `json:"kty"`
			Use  string          `json:"use"`
			D    json.RawMessage `json:"d"`
			K    json.RawMessage `json:"k"`
		}
		if err := strictjson.Unmarshal(r, &kind); err != nil || kind.Type == "oct" || kind.D != nil || kind.K != nil {
			return nil, fmt.Errorf("%w: it holds a secret key", ErrKeySet)
		}
		var key jose.JSONWebKey
		if (kind.Use != "" && kind.Use != "sig") || key.UnmarshalJSON(r) != nil || !key.Valid() {
			continue
		}
		if _, twice := set[key.KeyID]; twice || key.KeyID == "" || key.Algorithm == "" {
			return nil, fmt.Errorf("%w: a key without kid or alg, or a kid twice", ErrKeySet)
		}
		if k, ok := key.Key.(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
			return nil, fmt.Errorf("%w: an RSA key under 2048 bits", ErrKeySet)
		}
		set[key.KeyID] = key
	}
	if len(set) == 0 {
		return nil, ErrKeySet
	}
	return set, nil
}
