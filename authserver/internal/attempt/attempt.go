// Package attempt records clients' attempts to connect: how far each came, and in one sentence why
// it stopped.
//
// One attempt takes several requests. Log gathers what they add in memory and writes it together,
// so that no request waits for it. The records are for finding faults and are no audit records:
// what does not fit is dropped and counted, and old records are deleted.
package attempt

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// Step is how far an attempt came; steps are ordered.
type Step int

// The steps of an attempt. Clients of grant types other than authorization_code leave some out.
const (
	Discovery    Step = 10 // the metadata was read
	Registration Step = 20 // the client registered, or tried to
	Authorize    Step = 30 // a browser brought the authorization request, or the client pushed it
	SignIn       Step = 40 // a person was asked to sign in
	Consent      Step = 50 // a person was asked for consent
	Redirect     Step = 60 // the browser was sent back to the client with a code
	Code         Step = 70 // the client sent its code
	Token        Step = 80 // the client got a token, or asked for one by another grant type
	Call         Step = 90 // the client called an MCP server; only that server knows
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

// The outcomes of an attempt.
const (
	Open      = "open"   // it is under way
	Done      = "done"   // the client got its token
	Failed    = "failed" // it was rejected, and came no further since
	Abandoned = "left"   // it was abandoned; never stored, but derived from Open and the time
)

// Window is how long an open attempt may rest before it counts as abandoned, and how far back
// earlier requests are joined to it. An authorization request waits as long for its person.
const Window = 10 * time.Minute

// Attempt is one attempt. It never holds a code, token, verifier, state, secret or password, nor a
// URL with a query.
type Attempt struct {
	ID         string // derived from what names the attempt, so that all replicas use the same
	Client     string // client_id as the client sent it; empty until it did
	ClientName string // may be empty
	Program    string // the product token of the client's User-Agent (RFC 9110 §10.1.5)
	Source     string // the address of the first request, as in the log
	Tenant     string
	User       string
	Resource   string // the requested resource
	StartedAt  time.Time
	UpdatedAt  time.Time
	Step       Step // the furthest step
	Outcome    string
	Reason     string // why it failed or was abandoned: one sentence for the operator
	Support    string // id of the rejected request in the log
	Refusals   int64  // how many requests were rejected
	NoResource bool   // no resource parameter was sent (RFC 8707)
	Unknown    bool   // the client is not registered
}

// With returns the attempt with what another request adds. The furthest step wins, and of two
// requests at the same step the later one: a failure stays until the attempt gets further or
// succeeds at that step. All other fields keep their first value. Stores implement the same rule in
// SQL.
func (r Attempt) With(o Attempt) Attempt {
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
	r.NoResource, r.Unknown = r.NoResource || o.NoResource, r.Unknown && o.Unknown
	return r
}

// Seen returns the attempt as it is at now: an open attempt that rested longer than Window is
// abandoned, for a reason that depends on its step.
func (r Attempt) Seen(now time.Time) Attempt {
	if r.Outcome == Open && now.Sub(r.UpdatedAt) > Window {
		r.Outcome, r.Reason = Abandoned, left[r.Step]
	}
	return r
}

// Filter selects attempts. Zero fields do not restrict.
type Filter struct {
	ID      string
	Failed  bool     // failed or abandoned; reading the metadata alone does not count as abandoned
	Done    bool     // the client got a token
	Clients []string // any of these client ids
	Tenant  string
	Since   time.Time // last updated at or after
	Now     time.Time // required with Failed
	Limit   int       // required
}

// The bounds of what is stored. The oldest attempts are deleted first.
const (
	Kept       = 30 * 24 * time.Hour
	Most       = 50_000 // attempts
	MostOfOne  = 1_000  // attempts of one client; all unregistered clients count as one
	atOnce     = 50     // attempts written in one transaction
	mostWait   = 10_000 // attempts that wait to be written
	mostSource = 120    // attempts that one address may begin in a minute
)

// Store stores attempts.
type Store interface {
	// PutAttempts stores attempts in one transaction. Each is merged with what is stored under its
	// ID as Attempt.With defines, whichever replica wrote that. An entry that begins an attempt
	// takes over, and deletes, what was open at an earlier step within Window: the registration of
	// its client and the discovery of its address.
	PutAttempts(ctx context.Context, entries []Entry) error
	// Attempts returns attempts, the last updated first.
	Attempts(ctx context.Context, f Filter) ([]Attempt, error)
}

// Entry is what one request adds.
type Entry struct {
	Attempt
	Begins bool // the attempt may have begun with this request
}
