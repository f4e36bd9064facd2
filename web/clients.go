package web

import "time"

// Clients shows a tenant's applications and programs to its administrators.
type Clients struct {
	CSRF    string
	Person  string
	Tenant  Tenant
	Clients []Client
	More    bool // there are more than shown
	// The scopes that the tenant may have; fixed are those that the person does not have and cannot
	// give to a program.
	Scopes []Scope

	Notice  string // what the last form did
	Problem string // why the last form failed
	Name    string
	// RedirectURIs are as they were typed, and Machine says in which form.
	RedirectURIs string
	Machine      bool
}

// Client is a client of a tenant.
type Client struct {
	ID           string
	Name         string
	Machine      bool   // acts by itself
	Beyond       bool   // it may do more than the person, who cannot replace its secret
	Origin       string // how it was registered
	Proves       string // how it authenticates
	Secret       bool   // it has one
	RedirectURIs []string
	Scopes       []string
	Since        time.Time
	Disabled     bool // the operator disabled it
}

func (Clients) file() string   { return "pages/clients.html" }
func (Clients) policy() string { return forms }

// Secret shows a secret once: a new client's, a replaced one, or an initial access token.
type Secret struct {
	Tenant Tenant
	Issuer string

	Client   string // its name, when it is new
	ClientID string
	Secret   string // empty for a client that has none
	Replaced bool   // there was another secret before
	AtOnce   bool   // the previous secret is no longer valid

	InitialToken string
	Uses, Hours  int
}

func (Secret) file() string   { return "pages/secret.html" }
func (Secret) policy() string { return forms }
