// Package attempt owns the log of attempts: each client's way in, how far it came, and in one
// sentence why it came no further.
//
// A record is made of what several requests had to do with one attempt: Log gathers them in memory
// and writes them together, so that no request waits for it. It is no record of acts, as the audit
// lines are: what finds no room is left out and counted, and old records go.
package attempt

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// Step is how far an attempt came. They are in the order of the way.
type Step int

// The steps of the way in. Those that clients of other grant types than authorization_code do not
// take are left out.
const (
	Discovery    Step = 10 // somebody read the metadata
	Registration Step = 20 // the client registered, or tried to
	Authorize    Step = 30 // a browser brought the request, or the client pushed it
	SignIn       Step = 40 // somebody was asked who they are
	Consent      Step = 50 // a person was asked
	Redirect     Step = 60 // the browser was sent back to the client with a code
	Code         Step = 70 // the client brought its code
	Token        Step = 80 // it got a token, or asked for one in another way than by a code
	Call         Step = 90 // it called an MCP server: only that server knows
)

var words = map[Step]string{
	Discovery: "discovery", Registration: "registration", Authorize: "authorize", SignIn: "sign-in", Consent: "consent",
	Redirect: "redirect", Code: "code",
	Token: "token", Call: "call",
}

func (s Step) String() string { return words[s] }

// MarshalText implements encoding.TextMarshaler.
func (s Step) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Step) UnmarshalText(text []byte) error {
	for step, word := range words {
		if word == string(text) {
			*s = step
			return nil
		}
	}
	return fmt.Errorf("there is no step %.40q", text)
}

// What became of an attempt.
const (
	Open   = "open"   // it is under way
	Done   = "done"   // the client got its token
	Failed = "failed" // it was refused, and came no further since
	Left   = "left"   // nobody went on with it. It is not kept so: time makes it of what is open
)

// Window is how long an attempt may rest before it counts as left, and within which what came
// before is taken for its beginning. A request waits for its person for so long, too.
const Window = 10 * time.Minute

// Record is one attempt. It holds no code, token, verifier, state, secret or password, in no form,
// and no address with a query.
type Record struct {
	ID         string // made of what names the attempt, so that replicas make the same
	Client     string // as it names itself; empty: it did not yet
	ClientName string // may be empty
	Program    string // the product that the client's own requests name (RFC 9110 §10.1.5)
	Source     string // the address of the first request, as the log has it
	Tenant     string
	User       string
	Resource   string // that was asked for
	StartedAt  time.Time
	UpdatedAt  time.Time
	Step       Step // the furthest
	Outcome    string
	Reason     string // why it failed or was left: one sentence for the operator
	Support    string // the name in the log of the request that was refused
	Refusals   int64  // how often
	Bare       bool   // it named no resource (RFC 8707)
	Stranger   bool   // it is no client that is known here
}

// With is the record with what another request adds. The furthest step counts, and of two that are
// as far the later one: so a failure stays unless the attempt gets further, or succeeds there at
// another try. Of all else what was known first stays. Stores do the same in their own language.
func (r Record) With(o Record) Record {
	if o.Step > r.Step || o.Step == r.Step && !o.UpdatedAt.Before(r.UpdatedAt) {
		r.Step, r.Outcome, r.Reason, r.Support = o.Step, o.Outcome, o.Reason, o.Support
	}
	r.Client, r.ClientName, r.Program, r.Source = cmp.Or(r.Client, o.Client), cmp.Or(r.ClientName, o.ClientName),
		cmp.Or(r.Program, o.Program), cmp.Or(r.Source, o.Source)
	r.Tenant, r.User, r.Resource = cmp.Or(r.Tenant, o.Tenant), cmp.Or(r.User, o.User), cmp.Or(r.Resource, o.Resource)
	if o.StartedAt.Before(r.StartedAt) {
		r.StartedAt = o.StartedAt
	}
	if o.UpdatedAt.After(r.UpdatedAt) {
		r.UpdatedAt = o.UpdatedAt
	}
	r.Refusals += o.Refusals
	r.Bare, r.Stranger = r.Bare || o.Bare, r.Stranger && o.Stranger
	return r
}

// Seen is the record as it is to be read at a time: what is open and rested for longer than Window
// was left, for a reason that the step tells.
func (r Record) Seen(now time.Time) Record {
	if r.Outcome == Open && now.Sub(r.UpdatedAt) > Window {
		r.Outcome, r.Reason = Left, left[r.Step]
	}
	return r
}

// Filter says which records are wanted. Zero fields do not restrict.
type Filter struct {
	ID      string
	Failed  bool     // failed or left; reading the metadata and no more is no attempt that was left
	Done    bool     // got a token
	Clients []string // of any of these
	Tenant  string
	Since   time.Time // not last touched before
	Now     time.Time // required with Failed
	Limit   int       // required
}

// The bounds of what is kept. The oldest go first.
const (
	Kept       = 30 * 24 * time.Hour
	Most       = 50_000 // records
	MostOfOne  = 1_000  // of one client; all clients that are not known count as one
	atOnce     = 50     // written in one transaction
	mostWait   = 10_000 // records that wait to be written
	mostSource = 120    // that one address may begin in a minute
)

// Store keeps records.
type Store interface {
	// PutConnections keeps records in one transaction: each is merged with what is kept under its
	// ID, as Record.With says, whichever replica wrote that. An entry that begins an attempt takes
	// up, and removes, what was open at an earlier step within Window: of its client's
	// registration, and of its address's discovery.
	PutConnections(ctx context.Context, entries []Entry) error
	// Connections returns records, the last touched first.
	Connections(ctx context.Context, f Filter) ([]Record, error)
}

// Entry is what one request adds.
type Entry struct {
	Record
	Begins bool // the attempt may have begun with it
}
