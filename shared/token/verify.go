package token

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/shared/jws"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// The errors of Verify; every error is one of these.
var (
	ErrMalformed = errors.New("the access token is malformed")
	ErrType      = errors.New("the token is not an access token")
	ErrSignature = errors.New("the access token's signature is not right")
	ErrIssuer    = errors.New("the access token is from another issuer")
	ErrAudience  = errors.New("the access token is for another resource")
	ErrExpired   = errors.New("the access token has expired")
	ErrNotYet    = errors.New("the access token is not valid yet")
	ErrClaims    = errors.New("the access token lacks a claim or has a wrong one")
	// ErrUnknownKey says that no published key has this kid.
	ErrUnknownKey = errors.New("the access token is signed with a key that is not published")
	// ErrKeysUnavailable says that the keys are unknown now. It is not the token's fault.
	ErrKeysUnavailable = errors.New("the issuer's keys cannot be fetched")
)

// MaxSize bounds an access token, in bytes. One for all scopes of a resource fits, also into a
// request's headers.
const MaxSize = 48 << 10

// maxKeyID bounds a kid, in bytes.
const maxKeyID = 256

// Keys finds the issuer's public keys.
type Keys interface {
	// Key returns the published key of this kid, ErrUnknownKey when none has it, ErrKeysUnavailable
	// when that cannot be known.
	Key(ctx context.Context, kid string) (jose.JSONWebKey, error)
}

// Rules say which tokens to accept.
type Rules struct {
	Issuer     string        // compared byte for byte (RFC 9068 §4)
	Audience   string        // the one resource that the token must be for
	Algorithms []string      // accepted signature algorithms; never "none", never symmetric
	Leeway     time.Duration // allowed clock difference
	Now        func() time.Time
}

// Verify verifies a token (RFC 9068 §4, RFC 8725) and returns its claims. It is strict: one compact
// form, one type, the key's own algorithm, one audience, every claim present, no claim twice.
func (r Rules) Verify(ctx context.Context, raw string, keys Keys) (Claims, error) {
	v, err := r.VerifyKeyed(ctx, raw, keys)
	return v.Claims, err
}

// Verified is a verified token with the key that signed it, for callers that cache it and must drop
// it with its key.
type Verified struct {
	Claims
	KeyID string
	Key   any // the public key itself, as go-jose has it
}

// VerifyKeyed is Verify for callers that cache results.
func (r Rules) VerifyKeyed(ctx context.Context, raw string, keys Keys) (Verified, error) {
	h, payload, err := split(raw)
	if err != nil {
		return Verified{}, err
	}
	if err := r.checkHeader(h); err != nil {
		return Verified{}, err
	}
	key, err := keys.Key(ctx, h.KeyID)
	if err != nil {
		return Verified{}, err
	}
	if key.Algorithm != h.Algorithm {
		return Verified{}, ErrSignature // the key says its algorithm, not the token (RFC 8725 §3.1)
	}
	signed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(key.Algorithm)})
	if err != nil {
		return Verified{}, ErrMalformed
	}
	if _, err := signed.Verify(key.Key); err != nil {
		return Verified{}, ErrSignature
	}
	c, err := parseClaims(payload)
	if err != nil {
		return Verified{}, err
	}
	return Verified{c, h.KeyID, key.Key}, r.checkClaims(c)
}

// header is the JOSE header. Keys in the token itself (jwk, jku, x5u, x5c) are not read.
type header struct {
	Type      string          `json:"typ"`
	Algorithm string          `json:"alg"`
	KeyID     string          `json:"kid"`
	Critical  json.RawMessage `json:"crit"`
	Encoded   json.RawMessage `json:"b64"`
}

// split parses the compact form without verifying anything.
func split(raw string) (header, []byte, error) {
	var h header
	members, payload, err := jws.Split(raw, MaxSize)
	if err != nil {
		return h, nil, ErrMalformed
	}
	for name, into := range map[string]any{"typ": &h.Type, "alg": &h.Algorithm, "kid": &h.KeyID} {
		if value, there := members[name]; there && strictjson.Unmarshal(value, into) != nil {
			return h, nil, ErrMalformed
		}
	}
	h.Critical, h.Encoded = members["crit"], members["b64"]
	return h, payload, nil
}

func (r Rules) checkHeader(h header) error {
	if t := strings.ToLower(h.Type); t != Type && t != "application/"+Type {
		return ErrType // RFC 9068 §4: an id token or any other JWT of the same issuer is not an access token
	}
	if !slices.Contains(r.Algorithms, h.Algorithm) || strings.HasPrefix(h.Algorithm, "HS") ||
		strings.EqualFold(h.Algorithm, "none") {
		return ErrSignature
	}
	if h.KeyID == "" || len(h.KeyID) > maxKeyID || h.Critical != nil || h.Encoded != nil {
		return ErrMalformed
	}
	return nil
}

// date is a time, which may have a fraction.
type date = jws.NumericDate

// parseClaims reads the claims by their exact names, each once.
func parseClaims(payload []byte) (Claims, error) {
	var c Claims
	members, err := strictjson.Map(payload)
	if err != nil {
		return c, ErrMalformed
	}
	for name, into := range map[string]any{
		"iss": &c.Issuer, "sub": &c.Subject, "client_id": &c.ClientID, "tenant_id": &c.TenantID, "grant_id": &c.GrantID,
		"jti": &c.ID, "scope": &c.Scope, "scopes": &c.Scopes, "iat": (*date)(&c.IssuedAt), "exp": (*date)(&c.Expires),
	} {
		value, there := members[name]
		if !there || string(value) == "null" || strictjson.Unmarshal(value, into) != nil {
			return c, fmt.Errorf("%w: %s", ErrClaims, name)
		}
	}
	if value, there := members["nbf"]; there && strictjson.Unmarshal(value, (*date)(&c.NotBefore)) != nil {
		return c, fmt.Errorf("%w: nbf", ErrClaims)
	}
	if value, there := members["grant_client_id"]; there && (strictjson.Unmarshal(value, &c.GrantClientID) != nil ||
		c.GrantClientID == "") {
		return c, fmt.Errorf("%w: grant_client_id", ErrClaims)
	}
	if c.Audience, err = audience(members["aud"]); err != nil {
		return c, err
	}
	if value, there := members["act"]; there {
		if c.Actor, err = actor(value, maxActors); err != nil {
			return c, err
		}
	}
	if value, there := members["cnf"]; there {
		c.Confirmation, err = confirmation(value)
	}
	return c, err
}

// confirmation reads cnf: a thumbprint and nothing else. A token bound in an unknown way (such as
// RFC 8705 §3.1) is rejected, because it would be taken for a bearer token.
func confirmation(value json.RawMessage) (Confirmation, error) {
	var c Confirmation
	members, err := strictjson.Map(value)
	if err != nil || len(members) != 1 || strictjson.Unmarshal(members["jkt"], &c.JKT) != nil || !isThumbprint(c.JKT) {
		return Confirmation{}, fmt.Errorf("%w: cnf", ErrClaims)
	}
	return c, nil
}

// isThumbprint reports whether s can be a SHA-256 thumbprint (RFC 7638 §3).
func isThumbprint(s string) bool {
	sum, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(sum) == sha256.Size && len(s) == base64.RawURLEncoding.EncodedLen(sha256.Size)
}

// maxActors bounds the nesting of actors.
const maxActors = 8

// actor reads an act claim (RFC 8693 §4.1), each member once and by its exact name.
func actor(value json.RawMessage, depth int) (*Actor, error) {
	members, err := strictjson.Map(value)
	if err != nil || depth == 0 {
		return nil, fmt.Errorf("%w: act", ErrClaims)
	}
	var a Actor
	if strictjson.Unmarshal(members["sub"], &a.Subject) != nil || a.Subject == "" {
		return nil, fmt.Errorf("%w: act", ErrClaims)
	}
	if id, there := members["client_id"]; there && strictjson.Unmarshal(id, &a.ClientID) != nil {
		return nil, fmt.Errorf("%w: act", ErrClaims)
	}
	if inner, there := members["act"]; there {
		if a.Actor, err = actor(inner, depth-1); err != nil {
			return nil, err
		}
	}
	return &a, nil
}

// audience reads aud, a string or an array of exactly one.
func audience(value json.RawMessage) (string, error) {
	var one string
	if strictjson.Unmarshal(value, &one) == nil && one != "" {
		return one, nil
	}
	var many []string
	if strictjson.Unmarshal(value, &many) != nil || len(many) != 1 || many[0] == "" {
		return "", ErrAudience
	}
	return many[0], nil
}

func (r Rules) checkClaims(c Claims) error {
	now, leeway := r.Now().Unix(), int64(r.Leeway/time.Second)
	switch {
	case c.Issuer != r.Issuer:
		return ErrIssuer
	case c.Audience != r.Audience:
		return ErrAudience
	case c.Expires <= 0 || now >= c.Expires+leeway || c.Expires > 253402300799: // the year 9999
		return ErrExpired
	case c.IssuedAt > now+leeway || c.NotBefore > now+leeway:
		return ErrNotYet
	case c.Subject == "" || c.ClientID == "" || c.TenantID == "" || c.GrantID == "" || c.ID == "" || c.IssuedAt <= 0:
		return ErrClaims
	}
	return checkScopes(c)
}

// checkScopes requires that the string and the array agree.
func checkScopes(c Claims) error {
	words := strings.Split(c.Scope, " ")
	if c.Scope == "" {
		words = nil
	}
	in := func(some, all []string) bool {
		return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
	}
	if len(words) != len(c.Scopes) || !in(words, c.Scopes) || !in(c.Scopes, words) {
		return fmt.Errorf("%w: scope and scopes differ", ErrClaims)
	}
	return nil
}
