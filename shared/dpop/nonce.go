package dpop

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// What a setting says of nonces: whether a proof must have one, or may.
const (
	NonceRequired = "required"
	NonceOptional = "optional"
)

// Step is how long a nonce is the newest. It is taken for one step more, so that every nonce is
// good for as long as that at least.
const Step = 2 * time.Minute

// skew is how far the clock of a replica may be ahead of ours: its newest nonce is taken already.
const skew = 30 * time.Second

// Nonces makes nonces and knows them again without remembering any (RFC 9449 §8): each is a code
// over the step of time that it is of. Replicas with the same key know each other's. A nonce says
// that a proof was made lately, whatever its maker's clock says, and not ahead of time.
type Nonces struct {
	Key []byte // known to who asks for the nonces, and to nobody else
}

// at is the nonce of a moment.
func (n *Nonces) at(t time.Time) string {
	mac := hmac.New(sha256.New, n.Key)
	mac.Write(binary.BigEndian.AppendUint64([]byte("DPoP nonce\x00"), uint64(t.Unix()/int64(Step/time.Second))))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// good says whether a nonce is ours and not over.
func (n *Nonces) good(shown string, now time.Time) bool {
	for _, t := range []time.Time{now, now.Add(-Step), now.Add(skew)} {
		if subtle.ConstantTimeCompare([]byte(shown), []byte(n.at(t))) == 1 {
			return true
		}
	}
	return false
}
