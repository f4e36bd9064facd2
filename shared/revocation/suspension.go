package revocation

import (
	"strconv"
	"strings"
	"time"
)

// Subject is whose tokens a suspension refuses: those of a client or of a tenant.
type Subject struct {
	kind, id string
}

// Client is the subject of the tokens that a client got, and of those that others got on the
// strength of its grants.
func Client(id string) Subject { return Subject{"client", id} }

// Tenant is the subject of the tokens of a tenant.
func Tenant(id string) Subject { return Subject{"tenant", id} }

// Suspension refuses the tokens of a subject that were issued before a time, and leaves its grants
// as they are: a token that is issued later is accepted. Of two of the same subject the one with
// the later At counts, and of two with the same At the one that was written later.
type Suspension struct {
	Subject
	At     time.Time // when it was decided, in whole seconds
	Before time.Time // tokens that were issued before it are refused; in whole seconds
}

// suspended begins the entries that are suspensions.
const suspended = "suspended:"

// ID is the entry of the list that says it. A reader that does not know suspensions ignores it.
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

// ByClientID is the entry that stands before a grant's when its own client revokes it, so that
// whoever completes an interrupted revocation knows whose it was.
func ByClientID(grantID string) string { return "client-revoked:" + grantID }

// IsGrant says whether an entry of the list is a grant, and not a key, a suspension or ByClientID.
func IsGrant(id string) bool {
	for _, prefix := range []string{suspended, KeyID(""), ByClientID("")} {
		if strings.HasPrefix(id, prefix) {
			return false
		}
	}
	return true
}
