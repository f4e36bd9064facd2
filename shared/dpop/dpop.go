// Package dpop owns DPoP proofs (RFC 9449): what one says, and how to believe that whoever sends a
// request has the key that it names.
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

// The headers of a request and of its answer (RFC 9449 §4.1, §8.1), the proof's JOSE "typ" (§4.2),
// and the scheme of a token that needs one (§7.1).
const (
	Header      = "DPoP"
	NonceHeader = "DPoP-Nonce"
	Type        = "dpop+jwt"
	Scheme      = "DPoP"
)

// What can be wrong with a proof. Both come wrapped in a sentence of this package that holds
// nothing of the proof, so that strangers may see it.
var (
	// ErrProof says that a proof does not hold (RFC 9449 §4.3).
	ErrProof = errors.New("the DPoP proof does not hold")
	// ErrNonce says that a proof that holds otherwise has no nonce of ours, or one that is over
	// (RFC 9449 §8, §9).
	ErrNonce = errors.New("the DPoP proof needs a nonce of this server")
)

// Window is how far a proof's iat may be from now, before or after, where a Checker does not say
// (RFC 9449 §11.1; MCP SEP-1932). The clocks of clients are not ours.
const Window = 5 * time.Minute

// replicaSkew is how long a used proof stays remembered after it could last be believed, for
// replicas whose clocks are behind.
const replicaSkew = 30 * time.Second

// Algorithms of proofs' signatures that are believed: none that is symmetric (RFC 9449 §4.3 no. 5).
func Algorithms() []string { return []string{"ES256", "RS256", "PS256", "EdDSA"} }

// Checker believes proofs. It is safe for concurrent use.
type Checker struct {
	// Used remembers the proofs that were used until they are too old to be used again. Required.
	Used ttl.Store
	// Nonces are offered to clients, and a proof that has one must have a good one. Nil: none is
	// offered.
	Nonces *Nonces
	// NonceRequired refuses proofs without a nonce. Without Nonces it means nothing.
	NonceRequired bool
	// Window is how far a proof's iat may be from now. 0: the package's Window.
	Window time.Duration
	// Since is when Used began to remember: a proof without a nonce that was made before is not
	// known to be unused. Zero: Used outlives this process.
	Since time.Time
	// Now is required.
	Now func() time.Time
}

// Request is what a proof must have been made for.
type Request struct {
	Shown       []string // the values of the request's DPoP header
	Method      string
	URL         string // as the client knows it, without query: of our configuration, never of a header
	AccessToken string // that the request presents; empty for none
}

// Proof is a proof that is believed, but not spent.
type Proof struct {
	JKT string // the key's SHA-256 thumbprint, base64url (RFC 7638 §3)
	// a newer nonce, with which the answer tells the client to go on (RFC 9449 §8.2); empty: it has
	// the newest
	Nonce string
	id    string // by which it is remembered
	ends  time.Time
}

// Believe holds a request's proof against RFC 9449 §4.3, all but its being used once: that is
// Spend's, so that a request that comes to nothing uses up neither the proof nor memory. The error
// is ErrProof or ErrNonce.
func (c *Checker) Believe(r Request) (Proof, error) {
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
	// A key and an id make one proof, in the context of the URL that it is for (RFC 9449 §11.1):
	// servers that share a store do not spend each other's.
	sum := sha256.Sum256([]byte(p.jkt + " " + r.URL + " " + p.id))
	believed := Proof{JKT: p.jkt, id: "dpop:" + hex.EncodeToString(sum[:16]), ends: made.Add(c.window())}
	if newest := c.Nonce(); newest != p.nonce {
		believed.Nonce = newest
	}
	return believed, nil
}

// Spend uses a proof up: of many requests with the same, one succeeds, and the others get ErrProof.
// Any other error is the store's, and then the proof must not count. It stays remembered a little
// longer than it could be believed, for replicas whose clocks are behind. owner is whom it counts
// against in a memory that is full, such as the grant of the token that it came with.
func (c *Checker) Spend(ctx context.Context, owner string, p Proof) error {
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

// CheckWindow says what is wrong with a Window, if anything; zero is the default.
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

// Nonce is the newest nonce; empty when none is asked for.
func (c *Checker) Nonce() string {
	if c.Nonces == nil {
		return ""
	}
	return c.Nonces.at(c.Now())
}

// Hash is an access token's hash, as ath has it (RFC 9449 §4.2).
func Hash(accessToken string) string {
	sum := sha256.Sum256([]byte(accessToken))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// askew is a proof of another time.
type askew struct {
	error
	off time.Duration
}

func (a *askew) Unwrap() error { return a.error }

// ClockOff is how far the clock that made the proof is ahead of ours.
func (a *askew) ClockOff() time.Duration { return a.off }

func refuse(why string) error { return fmt.Errorf("%w: %s", ErrProof, why) }
