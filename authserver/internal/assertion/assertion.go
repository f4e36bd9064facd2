// Package assertion owns the belief in signed assertions that others make: clients that prove who
// they are (private_key_jwt; RFC 7523, RFC 10070), and organisations' identity providers that say
// who somebody is (ID-JAG).
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

// Type is the one client_assertion_type (RFC 7523 §2.2).
const Type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// ErrInvalid says that an assertion does not prove what it says. Why not is for the log alone.
var ErrInvalid = errors.New("the assertion is not believed")

// The bounds of an assertion.
const (
	maxSize = 8 << 10 // bytes
	maxID   = 256     // of a jti, bytes
	maxLife = 5 * time.Minute
	leeway  = 30 * time.Second
)

// Algorithms of signatures that are believed.
func Algorithms() []string { return []string{"ES256", "RS256", "PS256", "EdDSA"} }

// Checker believes assertions. It is safe for concurrent use.
type Checker struct {
	Settings
	clients, issuers shelf
}

// Settings are what a Checker needs.
type Settings struct {
	Issuer string             // the sole audience (RFC 10070 §4)
	Used   ttl.Store          // ids that were used, until they expire
	Keys   Keys               // of clients; nil: nothing is fetched, so that a jwks_uri of theirs is worth nothing
	Limit  *ratelimit.Limiter // of fetches for clients, by where the requests come from; nil: none
	Trust  trustedissuer.Store
	// of trusted issuers, whose addresses the operator wrote down; what is fetched for strangers
	// must not be in its way
	Issuers Keys
	Now     func() time.Time
}

// New makes a checker. It fetches nothing yet.
func New(s Settings) *Checker {
	return &Checker{Settings: s, clients: shelf{fetch: s.Keys, limit: s.Limit, now: s.Now},
		issuers: shelf{fetch: s.Issuers, now: s.Now}}
}

// Subject is whom an assertion says it is from, believing nothing.
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

// claims are an assertion's (RFC 7523 §3).
type claims struct {
	Issuer    string          `json:"iss"`
	Subject   string          `json:"sub"`
	Audience  json.RawMessage `json:"aud"`
	Expires   numericDate     `json:"exp"` // 0: missing
	NotBefore numericDate     `json:"nbf"`
	IssuedAt  numericDate     `json:"iat"`
	ID        string          `json:"jti"`
}

// numericDate is a time, which may have a fraction.
type numericDate = jws.NumericDate

// skewed is an assertion of another time.
type skewed struct {
	error
	off time.Duration
}

func (a *skewed) Unwrap() error { return a.error }

// ClockOff is how far the clock that made the assertion is ahead of ours.
func (a *skewed) ClockOff() time.Duration { return a.off }

// askew adds to an error how far the clock that made the assertion is ahead of ours, as far as it
// tells: when it was made, or else how long it has been over. When that is as it should be,
// something else is wrong.
func (c *claims) askew(now numericDate, err error) error {
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

// farthest bounds how far a clock is said to be off, in seconds.
const farthest = 100 * 365 * 24 * 3600

// Check believes that the client made the assertion, for us, now, and for the first time; or
// answers ErrNotBelieved, or an inner error when the stores do not answer. The id is spent last,
// when all else is right: nobody can spend another's.
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
	return c.spend(ctx, of, a)
}

// spend uses an assertion up: of many at once, one is the first.
func (c *Checker) spend(ctx context.Context, of client.Client, a claims) error {
	sum := sha256.Sum256([]byte(of.ID + " " + a.ID)) // clients do not share ids
	first, err := c.Used.Once(ctx, of.ID, "assertion:"+hex.EncodeToString(sum[:]),
		time.Unix(int64(a.Expires), 0).Add(leeway+time.Second).Sub(c.Now()))
	if err != nil {
		return fmt.Errorf("remembering an assertion: %w", err)
	}
	if !first {
		return &invalid{"jti was used before; make a new assertion for each request", ErrInvalid}
	}
	return nil
}

// checkClaims holds the claims of a client's assertion against RFC 7523 section 3 and RFC 10070
// section 4.
func (c *Checker) checkClaims(of client.Client, a claims) error {
	if a.Issuer != of.ID || a.Subject != of.ID {
		return &invalid{"iss and sub must both be the client_id", ErrInvalid}
	}
	return c.checkCommon(a, maxLife, ErrInvalid)
}

// checkCommon holds the claims that all assertions have against their rules. longest bounds how far
// exp may be ahead; sentinel is what the error wraps.
func (c *Checker) checkCommon(a claims, longest time.Duration, sentinel error) error {
	now, slack := numericDate(c.Now().Unix()), numericDate(leeway/time.Second)
	wrong := func(format string, args ...any) error { return &invalid{fmt.Sprintf(format, args...), sentinel} }
	switch {
	case sole(a.Audience) != c.Issuer:
		return wrong("aud must be %s and nothing else", c.Issuer)
	case a.Expires == 0:
		return wrong("exp is missing")
	case now >= a.Expires+slack:
		return a.askew(now, wrong("exp is %s ago", seconds(now-a.Expires)))
	case a.Expires > now+numericDate(longest/time.Second)+slack:
		return a.askew(now, wrong("exp is %s ahead; it may be %s ahead at most", seconds(a.Expires-now),
			seconds(numericDate(longest/time.Second))))
	case a.NotBefore > now+slack:
		return a.askew(now, wrong("nbf is %s ahead", seconds(a.NotBefore-now)))
	case a.IssuedAt > now+slack:
		return a.askew(now, wrong("iat is %s ahead", seconds(a.IssuedAt-now)))
	case a.ID == "":
		return wrong("jti is missing")
	case len(a.ID) > maxID:
		return wrong("jti is longer than %d bytes", maxID)
	}
	return nil
}

// seconds is a number of seconds as people read it.
func seconds(n numericDate) string { return (time.Duration(min(n, farthest)) * time.Second).String() }

// invalid is what is wrong with an assertion whose signature holds.
type invalid struct {
	reason string
	error
}

func (e *invalid) Error() string { return e.error.Error() + ": " + e.reason }

func (e *invalid) Unwrap() error { return e.error }

// InvalidReason is the reason in words for whoever made the assertion. Only who has the key gets to
// see it.
func (e *invalid) InvalidReason() string { return e.reason }

// sole is the one value of an audience, or empty (RFC 10070 §4).
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

// verify checks the form, the type and the signature, with a key of whoever made it: what a token
// brings with it (jwk, jku, x5u) is not read.
func (c *Checker) verify(ctx context.Context, of source, raw string, types ...string) ([]byte, error) {
	// What go-jose decodes by itself, the header, has one reading by then.
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
	return nil, fmt.Errorf("%w: no key of whoever should have made it fits", ErrInvalid)
}

// fits says whether a key may sign with an algorithm: the key decides, not the token (RFC 8725
// §3.1).
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
