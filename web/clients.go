package web

import "time"

// Clients shows the applications and programs of a tenant to somebody who looks after them.
type Clients struct {
	CSRF    string
	Person  string
	Tenant  Tenant
	Clients []Client
	More    bool // than are shown
	// that the tenant may have; fixed are those that the person does not have, and cannot give to a
	// program
	Scopes []Scope

	Notice  string // what the last form did
	Problem string // why the last form did not do, and what was typed in it
	Name    string
	// RedirectURIs are as they were typed, and Machine says in which form.
	RedirectURIs string
	Machine      bool
}

// Client is one of a tenant's.
type Client struct {
	ID           string
	Name         string
	Machine      bool   // acts by itself
	Beyond       bool   // it may do more than the person who looks at it, who gets no secret of it
	Origin       string // how it became known
	Proves       string // how it shows that it is itself
	Secret       bool   // it has one
	RedirectURIs []string
	Scopes       []string
	Since        time.Time
	Disabled     bool // the operator disabled it
}

func (Clients) file() string   { return "pages/clients.html" }
func (Clients) policy() string { return forms }

// Secret shows what is shown once: a new client with its secret, another secret, or an initial
// access token.
type Secret struct {
	Tenant Tenant
	Issuer string

	Client   string // its name, when it is new
	ClientID string
	Secret   string // empty for a client that has none
	Replaced bool   // there was another secret before
	AtOnce   bool   // which does not count any more

	InitialToken string
	Uses, Hours  int
}

func (Secret) file() string   { return "pages/secret.html" }
func (Secret) policy() string { return forms }
