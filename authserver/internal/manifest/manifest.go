// Package manifest owns the file that says which resources, tenants, policies, roles and clients
// there should be: its words, and in which line each stands.
//
// It knows no rules but those of writing. Whether a scope exists or a role fits the others, the
// operator's door says, and names the line that is kept here.
package manifest

import "time"

// Blueprint is what there should be. What it does not name stays as it is.
type Blueprint struct {
	Resources []Resource
	Tenants   []Tenant
	Clients   []Client // of no tenant
}

// Word is a word of a list.
type Word struct {
	Text string
	Line int
}

// Words are a list.
type Words []Word

// Texts are the words alone.
func (w Words) Texts() []string {
	texts := make([]string, len(w))
	for i, word := range w {
		texts[i] = word.Text
	}
	return texts
}

// Resource is a protected server, whole: what is left away gets its default.
type Resource struct {
	Line                int
	URI                 string // required
	Name                string // default the URI
	Algorithm           string // default ES256
	AccessTokenLifetime time.Duration
	Aliases             []string
	Scopes              []Scope
}

// Scope is a scope of a resource.
type Scope struct {
	Line              int
	Name, Description string
	Baseline          bool
	Access            string // read or write; default: by the name
}

// Tenant is a tenant. What is left away of it stays as it is; its roles and clients are each said
// whole.
type Tenant struct {
	Line    int
	ID      string  // required
	Name    *string // nil: it stays; of a new tenant, the id
	Policy  Policy
	Roles   []Role
	Clients []Client
}

// Policy is what a tenant allows. What is nil stays as it is; of a new tenant it is open.
type Policy struct {
	Line                                            int // 0: there is none
	Scopes, Clients, Registrations                  *Words
	MaxAccessTokenLifetime, MaxRefreshTokenLifetime *time.Duration
}

// Role is a role of a tenant, whole.
type Role struct {
	Line             int
	Name             string // required
	Scopes, Includes Words
	Admin            bool
}

// Client is a client that the operator makes, whole: which kind it is, is told from what it has, as
// by gatehouse client create. Its name tells it from the others of its tenant.
type Client struct {
	Line                                 int
	Name                                 string // required
	Scopes                               Words
	RedirectURIs, PostLogoutRedirectURIs []string
	Public, PushRequired                 bool
	Server                               string // the URI of the protected server that it is
	TokenExchange, Assertions            bool
}
