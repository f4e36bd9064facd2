// Package callerassertion signs the JWTs with which a gateway tells a server who is calling: for
// one server, one minute and one request.
package callerassertion

import (
	"crypto"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

// Type is the typ of an assertion, which no verifier of access tokens accepts (RFC 8725 §3.11).
const Type = "gatehouse-caller+jwt"

// Life is the lifetime of an assertion.
const Life = time.Minute

const minSecret = 32

// algorithm is EdDSA with Ed25519 (RFC 8037 §3.1): every call needs a signature, and this one costs
// two thirds of ES256, without garbage, and less to verify.
const algorithm = "EdDSA"

// Signer signs assertions. It is safe for concurrent use.
type Signer struct {
	key    ed25519.PrivateKey
	kid    string
	header string // encoded, with its dot
}

// New returns a signer. Its key is derived from secret, so that replicas with the same secret have
// the same key; without a secret it is generated, for one process.
func New(secret config.Secret) (*Signer, error) {
	key, err := deriveKey(secret)
	if err != nil {
		return nil, err
	}
	thumb, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("naming the key of vouchers: %w", err)
	}
	s := &Signer{key: key, kid: base64.RawURLEncoding.EncodeToString(thumb)}
	s.header = encode(mustJSON(struct {
		Type      string `json:"typ"`
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
	}{Type, algorithm, s.kid})) + "."
	return s, nil
}

// deriveKey derives the key from a secret.
func deriveKey(secret config.Secret) (ed25519.PrivateKey, error) {
	if secret == "" {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	if len(secret) < minSecret {
		return nil, fmt.Errorf("the secret of the assertion key is shorter than %d characters; make one with: head "+
			"-c 32 /dev/urandom | base64", minSecret)
	}
	seed, err := hkdf.Key(sha256.New, []byte(secret.Reveal()), nil, "gatehouse gateway caller assertions, Ed25519",
		ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("deriving the key of vouchers: %w", err)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// Claims are the claims of an assertion.
type Claims struct {
	Issuer   string   `json:"iss"` // URI of the gateway's resource
	Audience string   `json:"aud"` // URL of the server
	Subject  string   `json:"sub"`
	TenantID string   `json:"tenant_id"`
	ClientID string   `json:"client_id"`
	GrantID  string   `json:"grant_id"`
	Scope    []string `json:"scopes"`
	ID       string   `json:"jti"` // of this request, as in the gateway's log
	IssuedAt int64    `json:"iat"`
	Expires  int64    `json:"exp"`
}

// Sign returns an assertion of a caller, from a gateway's resource to a server.
func (s *Signer) Sign(c mcp.Caller, from, to, request string, now time.Time) string {
	scopes := c.Scopes
	if scopes == nil {
		scopes = []string{}
	}
	payload := mustJSON(Claims{
		Issuer: from, Audience: to, Subject: c.Subject, TenantID: c.TenantID, ClientID: c.ClientID, GrantID: c.GrantID,
		Scope: scopes, ID: request,
		IssuedAt: now.Unix(), Expires: now.Add(Life).Unix(),
	})
	base64url := base64.RawURLEncoding
	b := make([]byte, 0, len(s.header)+base64url.EncodedLen(len(payload))+1+base64url.EncodedLen(ed25519.SignatureSize))
	b = base64url.AppendEncode(append(b, s.header...), payload)
	signature := ed25519.Sign(s.key, b)
	return string(base64url.AppendEncode(append(b, '.'), signature))
}

// KeySet returns the public key as a JWK set (RFC 7517 §5).
func (s *Signer) KeySet() []byte {
	return mustJSON(
		jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: s.key.Public(), KeyID: s.kid, Algorithm: algorithm,
			Use: "sig"}}})
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("voucher: a value that is no JSON: " + err.Error()) // a programming error
	}
	return b
}
