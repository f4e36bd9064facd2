// Package assertion verifies JWT assertions: of clients that authenticate by private_key_jwt (RFC
// 7523, RFC 10070), and of the identity providers of organisations (ID-JAG).
package assertion

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/trustedissuer"
	"github.com/gatehouse-mcp/gatehouse/shared/jws"
	"github.com/gatehouse-mcp/gatehouse/shared/ratelimit"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

// Type is the client_assertion_type (RFC 7523 section 2.2).
const Type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// ErrInvalid says that an assertion is not valid. The reason is for the log alone.
var ErrInvalid = errors.New("the assertion is not valid")

// The limits of an assertion.
const (
	maxSize     = 8 << 10 // bytes
	maxID       = 256     // of a jti, bytes
	maxLifetime = 5 * time.Minute
	leeway      = 30 * time.Second
)

// Algorithms are the accepted signature algorithms.
func Algorithms() []string { return []string{"ES256", "RS256", "PS256", "EdDSA"} }

// Checker verifies assertions. It is safe for concurrent use.
type Checker struct {
	Settings
	clients, issuers keyCache
}

// Settings are the dependencies of a Checker.
type Settings struct {
	Issuer string             // the sole audience (RFC 10070 section 4)
	Used   ttl.Store          // used values of jti, until they expire
	Keys   Keys               // of clients; nil: a jwks_uri is not fetched
	Limit  *ratelimit.Limiter // of fetches for clients, by source; nil: none
	Trust  trustedissuer.Store
	// Issuers fetches the keys of trusted issuers, whose URLs the operator set; fetches for
	// strangers do not delay it.
	Issuers Keys
	Now     func() time.Time
}

// New returns a checker. It fetches nothing yet.
func New(s Settings) *Checker {
	return &Checker{Settings: s, clients: keyCache{fetch: s.Keys, limit: s.Limit, now: s.Now},
		issuers: keyCache{fetch: s.Issuers, now: s.Now}}
}

// Subject is the sub claim of an assertion that is not verified.
func Subject(raw string) (clientID string, ok bool) {
	_, payload, err := jws.Split(raw, maxSize)
	if err != nil {
		return "", false
	}
	var c struct {
		Subject string `json:"sub"`
	}
	return c.Subject, strictjson.Unmarshal(payload, &c) == nil && c.Subject != ""
}

// claims are the claims of an assertion (RFC 7523 section 3).
type claims struct {
	Issuer    string          `json:"iss"`
	Subject   string          `json:"sub"`
	Audience  json.RawMessage `json:"aud"`
	Expires   numericDate     `json:"exp"` // 0: missing
	NotBefore numericDate     `json:"nbf"`
	IssuedAt  numericDate     `json:"iat"`
	ID        string          `json:"jti"`
}

// numericDate is a time in seconds, which may have a fraction.
type numericDate = jws.NumericDate

// skewed is the error of an assertion whose sender has a wrong clock.
type skewed struct {
	error
	off time.Duration
}

func (a *skewed) Unwrap() error { return a.error }

// ClockOff is by how much the clock of the sender is ahead of ours.
func (a *skewed) ClockOff() time.Duration { return a.off }

// skewed adds to an error by how much the clock of the sender is ahead of ours, according to iat,
// nbf, or an exp in the past. If that is within the leeway, the error has another cause.
func (c *claims) skewed(now numericDate, err error) error {
	made := c.IssuedAt
	if made == 0 && c.NotBefore != 0 {
		made = c.NotBefore
	}
	if made == 0 && c.Expires < now {
		made = c.Expires
	}
	off := time.Duration(min(max(made-now, -farthest), farthest)) * time.Second
	if made == 0 || off.Abs() <= leeway {
		return err
	}
	return &skewed{err, off}
}

// farthest bounds the reported difference of clocks, in seconds.
const farthest = 100 * 365 * 24 * 3600

// Check verifies that the client made the assertion, for this issuer, now, and that it is used for
// the first time; or returns ErrInvalid, or an internal error when the stores do not answer. The
// jti is used up last, so that no client can use up one of another.
func (c *Checker) Check(ctx context.Context, of client.Client, raw string) error {
	payload, err := c.verify(ctx, source{of.JWKS, of.JWKSURI, of.ID, &c.clients}, raw, "", "jwt",
		"client-authentication+jwt")
	if err != nil {
		return err
	}
	var a claims
	if err := strictjson.Unmarshal(payload, &a); err != nil {
		return &invalid{"a claim has the wrong type", ErrInvalid}
	}
	if err := c.checkClaims(of, a); err != nil {
		return err
	}
	return c.use(ctx, of, a)
}

// use marks an assertion used: of many at once, one is the first.
func (c *Checker) use(ctx context.Context, of client.Client, a claims) error {
	sum := sha256.Sum256([]byte(of.ID + " " + a.ID)) // clients do not share ids
	first, err := c.Used.Once(ctx, of.ID, "assertion:"+hex.EncodeToString(sum[:]),
		time.Unix(int64(a.Expires), 0).Add(leeway+time.Second).Sub(c.Now()))
	if err != nil {
		return fmt.Errorf("store a used assertion: %w", err)
	}
	if !first {
		return &invalid{"jti was used before; make a new assertion for each request", ErrInvalid}
	}
	return nil
}

// checkClaims checks the claims of a client assertion (RFC 7523 section 3, RFC 10070 section 4).
func (c *Checker) checkClaims(of client.Client, a claims) error {
	if a.Issuer != of.ID || a.Subject != of.ID {
		return &invalid{"iss and sub must both be the client_id", ErrInvalid}
	}
	return c.checkCommon(a, maxLifetime, ErrInvalid)
}

// checkCommon checks the claims that all assertions have. longest bounds how far exp may be ahead;
// the error wraps sentinel.
func (c *Checker) checkCommon(a claims, longest time.Duration, sentinel error) error {
	now, slack := numericDate(c.Now().Unix()), numericDate(leeway/time.Second)
	wrong := func(format string, args ...any) error { return &invalid{fmt.Sprintf(format, args...), sentinel} }
	switch {
	case sole(a.Audience) != c.Issuer:
		return wrong("aud must be %s and nothing else", c.Issuer)
	case a.Expires == 0:
		return wrong("exp is missing")
	case now >= a.Expires+slack:
		return a.skewed(now, wrong("exp is %s ago", seconds(now-a.Expires)))
	case a.Expires > now+numericDate(longest/time.Second)+slack:
		return a.skewed(now, wrong("exp is %s ahead; it may be %s ahead at most", seconds(a.Expires-now),
			seconds(numericDate(longest/time.Second))))
	case a.NotBefore > now+slack:
		return a.skewed(now, wrong("nbf is %s ahead", seconds(a.NotBefore-now)))
	case a.IssuedAt > now+slack:
		return a.skewed(now, wrong("iat is %s ahead", seconds(a.IssuedAt-now)))
	case a.ID == "":
		return wrong("jti is missing")
	case len(a.ID) > maxID:
		return wrong("jti is longer than %d bytes", maxID)
	}
	return nil
}

// seconds is a number of seconds as people read it.
func seconds(n numericDate) string { return (time.Duration(min(n, farthest)) * time.Second).String() }

// invalid is what is wrong with an assertion whose signature is valid.
type invalid struct {
	reason string
	error
}

func (e *invalid) Error() string { return e.error.Error() + ": " + e.reason }

func (e *invalid) Unwrap() error { return e.error }

// InvalidReason is the reason for the developer of the sender. Only a sender with the key sees it.
func (e *invalid) InvalidReason() string { return e.reason }

// sole is the only value of an audience, or empty (RFC 10070 section 4).
func sole(audience json.RawMessage) string {
	if one, ok := strictjson.Text(audience); ok {
		return one
	}
	var many []string
	if strictjson.Unmarshal(audience, &many) != nil || len(many) != 1 {
		return ""
	}
	return many[0]
}

// verify checks the form, the type and the signature, by a key of the sender: keys that the token
// names itself (jwk, jku, x5u) are not used.
func (c *Checker) verify(ctx context.Context, of source, raw string, types ...string) ([]byte, error) {
	// It also makes sure that go-jose reads the header as we do.
	if _, _, err := jws.Split(raw, maxSize); err != nil {
		return nil, fmt.Errorf("%w: its form", ErrInvalid)
	}
	var algorithms []jose.SignatureAlgorithm
	for _, a := range Algorithms() {
		algorithms = append(algorithms, jose.SignatureAlgorithm(a))
	}
	signed, err := jose.ParseSignedCompact(raw, algorithms)
	if err != nil || len(signed.Signatures) != 1 {
		return nil, fmt.Errorf("%w: its form or algorithm", ErrInvalid)
	}
	header := signed.Signatures[0].Header
	if t, _ := header.ExtraHeaders[jose.HeaderType].(string); !slices.Contains(types, strings.ToLower(t)) {
		return nil, fmt.Errorf("%w: its typ", ErrInvalid)
	}
	keys, err := of.keys(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if header.KeyID != "" && key.KeyID != header.KeyID || header.KeyID == "" && len(keys) > 1 ||
			!fits(key, header.Algorithm) {
			continue
		}
		if payload, err := signed.Verify(key.Key); err == nil {
			return payload, nil
		}
	}
	return nil, fmt.Errorf("%w: no key of its sender fits", ErrInvalid)
}

// fits reports whether a key may be used with an algorithm: the key decides, not the token (RFC
// 8725 section 3.1).
func fits(key jose.JSONWebKey, algorithm string) bool {
	if key.Algorithm != "" && key.Algorithm != algorithm {
		return false
	}
	switch k := key.Key.(type) {
	case *rsa.PublicKey:
		return algorithm == "RS256" || algorithm == "PS256"
	case *ecdsa.PublicKey:
		return algorithm == "ES256" && k.Params().BitSize == 256
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}
