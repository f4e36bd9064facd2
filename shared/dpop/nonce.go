package dpop

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// The values of the setting for nonces.
const (
	NonceRequired = "required"
	NonceOptional = "optional"
)

// Step is how long a nonce is the newest. It is accepted for one more step, so that every nonce is
// valid for that long at least.
const Step = 2 * time.Minute

// skew is how far a replica's clock may be ahead: its newest nonce is accepted already.
const skew = 30 * time.Second

// Nonces makes and verifies nonces without storing any (RFC 9449 §8): each is a MAC over its time
// step. Replicas with the same key accept each other's. A nonce proves that a proof was made
// recently, whatever the client's clock says, and not in advance.
type Nonces struct {
	Key []byte // shared by the servers that accept the nonces, and secret otherwise
}

// at returns the nonce of a time.
func (n *Nonces) at(t time.Time) string {
	mac := hmac.New(sha256.New, n.Key)
	mac.Write(binary.BigEndian.AppendUint64([]byte("DPoP nonce\x00"), uint64(t.Unix()/int64(Step/time.Second))))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// good reports whether a nonce is ours and not expired.
func (n *Nonces) good(shown string, now time.Time) bool {
	for _, t := range []time.Time{now, now.Add(-Step), now.Add(skew)} {
		if subtle.ConstantTimeCompare([]byte(shown), []byte(n.at(t))) == 1 {
			return true
		}
	}
	return false
}
