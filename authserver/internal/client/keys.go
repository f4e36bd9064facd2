package client

import (
	"crypto/rsa"
	"encoding/json"
	"errors"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// The bounds of a client's keys.
const (
	maxKeys      = 20
	maxKeysBytes = 16 << 10
)

// ErrKeys says that a document is not a set of public keys for client authentication.
var ErrKeys = errors.New("not a set of public signing keys: at most 20, EC, Ed25519, or RSA of 2048 bits and more, " +
	"nothing private, no secret")

// ParseKeys reads a client's key set (RFC 7517 §5). It is rejected whole when it holds a private or
// weak key; keys for other uses are left out.
func ParseKeys(document []byte) ([]jose.JSONWebKey, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if len(document) > maxKeysBytes || strictjson.Unmarshal(document, &raw) != nil || len(raw.Keys) == 0 ||
		len(raw.Keys) > maxKeys {
		return nil, ErrKeys
	}
	var keys []jose.JSONWebKey
	for _, r := range raw.Keys {
		var key jose.JSONWebKey
		if foreign(r) {
			continue
		}
		if key.UnmarshalJSON(r) != nil || !key.Valid() || !key.IsPublic() {
			return nil, ErrKeys
		}
		if k, ok := key.Key.(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
			return nil, ErrKeys
		}
		if key.Use == "" || key.Use == "sig" {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, ErrKeys
	}
	return keys, nil
}

// foreign reports whether a key is of an unknown type and holds nothing private; such keys are
// ignored (RFC 7517 §5).
func foreign(raw json.RawMessage) bool {
	var kind struct {
		Type  string          `json:"kty"`
		Curve string          `json:"crv"`
		D     json.RawMessage `json:"d"`
		K     json.RawMessage `json:"k"`
		Priv  json.RawMessage `json:"priv"`
	}
	if strictjson.Unmarshal(raw, &kind) != nil || kind.D != nil || kind.K != nil || kind.Priv != nil {
		return false
	}
	switch kind.Type {
	case "EC":
		return kind.Curve != "P-256" && kind.Curve != "P-384" && kind.Curve != "P-521"
	case "OKP":
		return kind.Curve != "Ed25519"
	case "RSA", "oct", "":
		return false
	}
	return true
}

// setKeys sets the keys of a client with private_key_jwt: by value or by URL, exactly one (RFC 7591
// §2).
func (c *Client) setKeys(m oauth.ClientMetadata) error {
	switch {
	case (len(m.JWKS) > 0) == (m.JWKSURI != ""):
		return oauth.InvalidClientMetadata("private_key_jwt needs either jwks or jwks_uri")
	case m.JWKSURI != "":
		if err := CheckDocumentURL(m.JWKSURI); err != nil {
			return oauth.InvalidClientMetadata("jwks_uri cannot be used: " + err.Error())
		}
		c.JWKSURI = m.JWKSURI
		return nil
	}
	if _, err := ParseKeys(m.JWKS); err != nil {
		return oauth.InvalidClientMetadata("jwks is " + err.Error())
	}
	c.JWKS = string(m.JWKS)
	return nil
}
