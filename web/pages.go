package web

import (
	"fmt"
	"html/template"
	"slices"
	"time"
)

// SignIn asks who is there.
type SignIn struct {
	Transaction string // the request that brought the person here; empty when they came by themselves
	// the code of the device that brought them here, "-" for the page that asks for one; empty
	// otherwise
	Device  string
	CSRF    string
	Client  string // who asks, if somebody does
	Email   string // as typed before
	Problem string // why the last try did not do
}

func (SignIn) file() string   { return "pages/signin.html" }
func (SignIn) policy() string { return forms }

// Request says which request a page asks about, and which page takes the answer.
type Request struct {
	Action      string // the page that takes it
	Transaction string
	UserCode    string // of a device, in place of a transaction: then there is no redirect
	Problem     string // what was wrong with the answer before; empty: nothing
}

// Tenants asks a person of several tenants for which one to go on.
type Tenants struct {
	Request
	Client  string
	Person  string
	Tenants []Tenant
	Refused []Refused // those that do not let it in
}

// Refused is a tenant of a person's that does not let a client in, and why.
type Refused struct{ Tenant, Why string }

// Tenant is one of a person's tenants.
type Tenant struct{ ID, Name, Role string }

func (Tenants) file() string   { return "pages/tenants.html" }
func (Tenants) policy() string { return forms }

// Consent asks whether a client may act for a person.
type Consent struct {
	Request
	CSRF   string
	Person string // their e-mail address

	Client   string // as it calls itself
	ClientID string
	// who registered it: the operator or a tenant; empty: it did so itself, and nobody checked what
	// it says
	Known        string
	Document     string // the host whose document describes it; empty: none does
	RedirectHost string // where the answer goes, as people read it
	RedirectURI  string
	Local        bool // the answer goes to a program on the person's own machine

	Identity    bool   // it asks who the person is, and for nothing else
	Resource    string // its name
	ResourceURI string
	Tenant      Tenant
	Several     bool // the person could choose another tenant
	Scopes      []Scope
	TokenLife   time.Duration
	RefreshLife time.Duration // how long it can be renewed at most
	RefreshIdle time.Duration // how long it can be renewed when it is not used
	Renewed     bool          // it can be renewed at all
}

// Scope is a scope that a person can tick.
type Scope struct {
	Name, Description string
	Fixed             bool // it is ticked, and cannot be unticked
	Writes            bool // something can be changed with it
	Ticked            bool // it is ticked when the page opens
}

// Reads returns the scopes with which nothing can be changed.
func (c Consent) Reads() []Scope {
	return slices.DeleteFunc(slices.Clone(c.Scopes), func(s Scope) bool { return s.Writes })
}

// Writes returns the scopes with which something can be changed.
func (c Consent) Writes() []Scope {
	return slices.DeleteFunc(slices.Clone(c.Scopes), func(s Scope) bool { return !s.Writes })
}

// Ticked reports whether all scopes are ticked when the page opens.
func (c Consent) Ticked() bool {
	return !slices.ContainsFunc(c.Scopes, func(s Scope) bool { return !s.Ticked })
}

func (Consent) file() string   { return "pages/consent.html" }
func (Consent) policy() string { return strict }

// Token is the lifetime of an access token, for people.
func (c Consent) Token() string { return span(c.TokenLife) }

// Most is for how long it can be renewed at most, and Idle for how long when it is not used, for
// people.
func (c Consent) Most() string { return span(c.RefreshLife) }

// Idle is described at Most.
func (c Consent) Idle() string { return span(min(c.RefreshIdle, c.RefreshLife)) }

// span writes a length of time in the largest unit that divides it.
func span(d time.Duration) string {
	n, unit := d/time.Minute, "minute"
	switch {
	case d%(24*time.Hour) == 0:
		n, unit = d/(24*time.Hour), "day"
	case d%time.Hour == 0:
		n, unit = d/time.Hour, "hour"
	case d < time.Minute:
		n, unit = d/time.Second, "second"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}

// Problem says what was wrong and what to do.
type Problem struct {
	Status  int
	Code    string // the RFC's error code, for the application's developer; there is a page that explains it
	What    string
	Support string // the request's name in the log

	Back   template.URL // where the application is told; empty: it is not
	BackTo string       // and where that is, as people read it
}

func (Problem) file() string   { return "pages/problem.html" }
func (Problem) policy() string { return forms }

// SignOut asks whether a person really wants to sign out, and where they go then.
type SignOut struct {
	CSRF     string
	Person   string
	Client   string // which application sent them; empty: none that is known
	ClientID string
	To       string // where they go then; empty: nowhere
	Host     string // where that is, as people read it
	State    string // goes along
}

func (SignOut) file() string   { return "pages/signout.html" }
func (SignOut) policy() string { return strict }

// SignedOut says that nobody is signed in, and where a person may go on by themselves.
type SignedOut struct {
	Back   template.URL // checked to be an address that runs nothing
	BackTo string       // where that is, as people read it
}

func (SignedOut) file() string   { return "pages/signedout.html" }
func (SignedOut) policy() string { return forms }

// Device asks for the code that a device shows.
type Device struct{ Person string }

func (Device) file() string   { return "pages/device.html" }
func (Device) policy() string { return forms }

// Done says that a device has been answered.
type Done struct{}

func (Done) file() string   { return "pages/done.html" }
func (Done) policy() string { return forms }

// Explanation says what an error code means.
type Explanation struct {
	Code      string
	Person    string // what it means to the person, and what to do
	Developer string // and to the application's developer
}

func (Explanation) file() string   { return "pages/explanation.html" }
func (Explanation) policy() string { return forms }

// Agents shows a person the agents that they let in.
type Agents struct {
	CSRF       string
	Person     string
	Agents     []Agent
	Alarms     []Agent  // that were ended because a code or token came back that had been used
	LooksAfter []Tenant // whose applications the person looks after
	Notice     string   // what the last form did
}

// Agent is one grant of the person's.
type Agent struct {
	GrantID  string
	Client   string
	Tenant   string
	Resource string
	Scopes   []Scope
	Since    time.Time
	Ended    time.Time // zero while it is let in

	Suspended bool // its client is disabled, or its tenant suspended
}

func (Agents) file() string   { return "pages/agents.html" }
func (Agents) policy() string { return forms }
