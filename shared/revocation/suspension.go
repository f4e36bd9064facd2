package revocation

import (
	"strconv"
	"strings"
	"time"
)

// Subject is whose tokens a suspension rejects: those of a client or a tenant.
type Subject struct {
	kind, id string
}

// Client returns the subject of a client's tokens, and of those exchanged from its grants.
func Client(id string) Subject { return Subject{"client", id} }

// Tenant returns the subject of a tenant's tokens.
func Tenant(id string) Subject { return Subject{"tenant", id} }

// Suspension rejects the tokens of a subject that were issued before a time, and leaves its grants:
// later tokens are accepted. Of two for one subject the later At is valid, and of equal ones the
// later written.
type Suspension struct {
	Subject
	At     time.Time // when it was decided, in whole seconds
	Before time.Time // tokens issued before it are rejected; in whole seconds
}

// suspended begins the entries that are suspensions.
const suspended = "suspended:"

// ID returns the list entry of the suspension. Readers that do not support suspensions ignore it.
func (s Suspension) ID() string {
	return suspended + strconv.FormatInt(s.At.Unix(), 10) + ":" + strconv.FormatInt(s.Before.Unix(), 10) + ":" +
		s.kind + ":" + s.id
}

// readSuspension reads the id of an entry.
func readSuspension(id string) (s Suspension, ok bool) {
	rest, ok := strings.CutPrefix(id, suspended)
	fields := strings.SplitN(rest, ":", 4)
	if !ok || len(fields) != 4 {
		return s, false
	}
	at, err1 := strconv.ParseInt(fields[0], 10, 64)
	before, err2 := strconv.ParseInt(fields[1], 10, 64)
	return Suspension{Subject{fields[2], fields[3]}, time.Unix(at, 0), time.Unix(before, 0)}, err1 == nil && err2 == nil
}

// ByClientID returns the entry before a grant's when its own client revokes it, so that an
// interrupted revocation can be attributed when it is completed.
func ByClientID(grantID string) string { return "client-revoked:" + grantID }

// IsGrant reports whether an entry is a grant, and not a key, a suspension or ByClientID.
func IsGrant(id string) bool {
	for _, prefix := range []string{suspended, KeyID(""), ByClientID("")} {
		if strings.HasPrefix(id, prefix) {
			return false
		}
	}
	return true
}
