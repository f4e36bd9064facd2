// Package dpop verifies DPoP proofs (RFC 9449).
package dpop

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

// The headers of request and response (RFC 9449 §4.1, §8.1), the proof's JOSE "typ" (§4.2), and the
// authentication scheme (§7.1).
const (
	Header      = "DPoP"
	NonceHeader = "DPoP-Nonce"
	Type        = "dpop+jwt"
	Scheme      = "DPoP"
)

// The errors of a proof, wrapped in a message that contains nothing of the proof.
var (
	// ErrProof says that a proof is invalid (RFC 9449 §4.3).
	ErrProof = errors.New("the DPoP proof does not hold")
	// ErrNonce says that an otherwise valid proof has no nonce of this server, or an expired one
	// (RFC 9449 §8, §9).
	ErrNonce = errors.New("the DPoP proof needs a nonce of this server")
)

// Window is the default of Checker.Window (RFC 9449 §11.1; MCP SEP-1932).
const Window = 5 * time.Minute

// replicaSkew is how long a used proof is remembered after it expired, for replicas whose clocks
// are behind.
const replicaSkew = 30 * time.Second

// Algorithms returns the accepted signature algorithms; none is symmetric (RFC 9449 §4.3 no. 5).
func Algorithms() []string { return []string{"ES256", "RS256", "PS256", "EdDSA"} }

// Checker verifies proofs. It is safe for concurrent use.
type Checker struct {
	// Used stores used proofs until they expire. Required.
	Used ttl.Store
	// Nonces are offered to clients; a nonce in a proof must be valid. Nil: none is offered.
	Nonces *Nonces
	// NonceRequired rejects proofs without a nonce. It has no effect without Nonces.
	NonceRequired bool
	// Window is how far a proof's iat may be from now. 0: the package's Window.
	Window time.Duration
	// Since is when Used began to store: an older proof without a nonce may have been used. Zero:
	// Used outlives this process.
	Since time.Time
	// Now is required.
	Now func() time.Time
}

// Request is what a proof must be for.
type Request struct {
	Shown       []string // the values of the request's DPoP header
	Method      string
	URL         string // without query; from the configuration, never from a header
	AccessToken string // the request's access token; empty for none
}

// Proof is a valid proof that is not consumed yet.
type Proof struct {
	JKT string // the key's SHA-256 thumbprint, base64url (RFC 7638 §3)
	// a newer nonce for the response (RFC 9449 §8.2); empty: the client has the newest
	Nonce string
	id    string // key in Used
	ends  time.Time
}

// Verify checks a request's proof by RFC 9449 §4.3, except for single use, which is Consume's, so
// that a rejected request uses up neither the proof nor memory. The error is ErrProof or ErrNonce.
func (c *Checker) Verify(r Request) (Proof, error) {
	if len(r.Shown) != 1 {
		return Proof{}, refuse("there must be one DPoP header")
	}
	p, err := verify(r.Shown[0])
	if err != nil {
		return Proof{}, err
	}
	now := c.Now()
	made := time.Unix(p.made, 0)
	switch {
	case p.method != r.Method:
		return Proof{}, refuse("htm is not the request's method")
	case !sameURL(p.url, r.URL):
		return Proof{}, refuse("htu is not the request's URL")
	case r.AccessToken != "" && p.token != Hash(r.AccessToken):
		return Proof{}, refuse("ath is not of the request's access token")
	case c.Nonces != nil && (p.nonce != "" || c.NonceRequired) && !c.Nonces.good(p.nonce, now):
		return Proof{}, fmt.Errorf("%w: make another proof with the one of the DPoP-Nonce header", ErrNonce)
	case now.Sub(made).Abs() > c.window():
		return Proof{}, &askew{refuse("iat is not now; set your clock"), made.Sub(now)}
	case made.Before(c.Since.Truncate(time.Second)) && (c.Nonces == nil || p.nonce == ""):
		return Proof{}, refuse("it was made before this server started; make another for each request")
	}
	// A proof is identified by key, jti and URL (RFC 9449 §11.1), so that servers with one store do
	// not consume each other's.
	sum := sha256.Sum256([]byte(p.jkt + " " + r.URL + " " + p.id))
	believed := Proof{JKT: p.jkt, id: "dpop:" + hex.EncodeToString(sum[:16]), ends: made.Add(c.window())}
	if newest := c.Nonce(); newest != p.nonce {
		believed.Nonce = newest
	}
	return believed, nil
}

// Consume marks a proof used: of concurrent requests with the same proof one succeeds, and the
// others get ErrProof. Any other error is the store's, and then the proof must be rejected. It
// stays stored a little longer than it is valid, for replicas whose clocks are behind. owner is
// whom it counts against in a full store, such as the grant of the token.
func (c *Checker) Consume(ctx context.Context, owner string, p Proof) error {
	life := max(p.ends.Sub(c.Now()), 0) + replicaSkew
	first, err := c.Used.Once(ctx, owner, p.id, life)
	if err != nil {
		return fmt.Errorf("remembering a DPoP proof: %w", err)
	}
	if !first {
		return refuse("it was used before; make another for each request")
	}
	return nil
}

// CheckWindow returns what is wrong with a Window; zero is the default.
func CheckWindow(window time.Duration) error {
	if window != 0 && (window < time.Second || window > Window) {
		return fmt.Errorf("the DPoP window %s is not between 1s and %s", window, Window)
	}
	return nil
}

func (c *Checker) window() time.Duration {
	if c.Window > 0 {
		return c.Window
	}
	return Window
}

// Nonce returns the newest nonce; empty when none is offered.
func (c *Checker) Nonce() string {
	if c.Nonces == nil {
		return ""
	}
	return c.Nonces.at(c.Now())
}

// Hash returns an access token's hash for the ath claim (RFC 9449 §4.2).
func Hash(accessToken string) string {
	sum := sha256.Sum256([]byte(accessToken))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// askew is the error of a proof whose iat is outside the window.
type askew struct {
	error
	off time.Duration
}

func (a *askew) Unwrap() error { return a.error }

// ClockOff returns how far the client's clock is ahead of ours.
func (a *askew) ClockOff() time.Duration { return a.off }

func refuse(why string) error { return fmt.Errorf("%w: %s", ErrProof, why) }
