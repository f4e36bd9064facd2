package web

import (
	"fmt"
	"html/template"
	"slices"
	"time"
)

// SignIn is the sign-in page.
type SignIn struct {
	Transaction string // the authorization request; empty when the person came directly
	// The code of the device, "-" for the page that asks for one; empty otherwise.
	Device  string
	CSRF    string
	Client  string // the requesting client, if any
	Email   string // as typed before
	Problem string // why the last try failed
}

func (SignIn) file() string   { return "pages/signin.html" }
func (SignIn) policy() string { return forms }

// Request says which request a page asks about, and which page takes the answer.
type Request struct {
	Action      string // the page that takes it
	Transaction string
	UserCode    string // of a device, in place of a transaction: then there is no redirect
	Problem     string // what was wrong with the last answer; empty: nothing
}

// Tenants asks a person of several tenants which one to use.
type Tenants struct {
	Request
	Client  string
	Person  string
	Tenants []Tenant
	Refused []Refused // tenants that do not allow the client
}

// Refused is a tenant that does not allow a client, and why.
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

	Client   string // the client's name
	ClientID string
	// Who registered it: the operator or a tenant; empty: it registered dynamically, and no one
	// checked it.
	Known        string
	Document     string // host of its metadata document; empty: none
	RedirectHost string // where the answer is sent, as people read it
	RedirectURI  string
	Local        bool // the answer is sent to a program on the person's own machine

	Identity    bool   // it asks for the person's identity only
	Resource    string // its name
	ResourceURI string
	Tenant      Tenant
	Several     bool // the person could choose another tenant
	Scopes      []Scope
	TokenLife   time.Duration
	RefreshLife time.Duration // how long the grant can be refreshed at most
	RefreshIdle time.Duration // how long the grant can be refreshed when unused
	Renewed     bool          // the grant can be refreshed
}

// Scope is a scope on a form.
type Scope struct {
	Name, Description string
	Fixed             bool // ticked, and cannot be changed
	Writes            bool // it allows changes
	Ticked            bool // ticked when the page opens
}

// Reads returns the scopes that allow no changes.
func (c Consent) Reads() []Scope {
	return slices.DeleteFunc(slices.Clone(c.Scopes), func(s Scope) bool { return s.Writes })
}

// Writes returns the scopes that allow changes.
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

// Most returns how long the grant can be refreshed at most, for people.
func (c Consent) Most() string { return span(c.RefreshLife) }

// Idle returns how long the grant can be refreshed when unused, for people.
func (c Consent) Idle() string { return span(min(c.RefreshIdle, c.RefreshLife)) }

// span returns a duration in the largest unit that divides it.
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

// Problem is an error page: what was wrong and what to do.
type Problem struct {
	Status  int
	Code    string // the RFC's error code, which has a page that explains it
	What    string // for the person
	Detail  string // for the application's developer
	Support string // id of the request in the log

	Back   template.URL // the application's redirect URI with the error; empty: none
	BackTo string       // its host, as people read it
}

func (Problem) file() string   { return "pages/problem.html" }
func (Problem) policy() string { return forms }

// SignOut asks whether to sign out.
type SignOut struct {
	CSRF     string
	Person   string
	Client   string // the requesting application; empty: none is known
	ClientID string
	To       string // redirect URI; empty: none
	Host     string // its host
	State    string // state parameter
}

func (SignOut) file() string   { return "pages/signout.html" }
func (SignOut) policy() string { return strict }

// SignedOut says that no one is signed in, with a link to go on.
type SignedOut struct {
	Back   template.URL // checked as a redirect URI: its scheme runs nothing
	BackTo string       // its host
}

func (SignedOut) file() string   { return "pages/signedout.html" }
func (SignedOut) policy() string { return forms }

// Device asks for the code that a device shows.
type Device struct{ Person string }

func (Device) file() string   { return "pages/device.html" }
func (Device) policy() string { return forms }

// Done says that a device was answered.
type Done struct{}

func (Done) file() string   { return "pages/done.html" }
func (Done) policy() string { return forms }

// Explanation explains an error code.
type Explanation struct {
	Code      string
	Person    string // for the person: what it means and what to do
	Developer string // for the application's developer
}

func (Explanation) file() string   { return "pages/explanation.html" }
func (Explanation) policy() string { return forms }

// Agents shows a person's connected agents.
type Agents struct {
	CSRF       string
	Person     string
	Agents     []Agent
	Alarms     []Agent  // agents revoked because a used code or token came back
	LooksAfter []Tenant // tenants that the person administers
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
	Ended    time.Time // zero while it is active

	Suspended bool // its client is disabled, or its tenant suspended
}

func (Agents) file() string   { return "pages/agents.html" }
func (Agents) policy() string { return forms }
