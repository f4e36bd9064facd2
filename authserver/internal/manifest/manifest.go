// Package manifest reads the file of gatehouse apply: the resources, tenants, policies, roles and
// clients that should exist, each with its line.
//
// It checks syntax only. Package admin checks whether scopes exist and roles fit, and names the
// lines that are kept here.
package manifest

import "time"

// Manifest is what should exist. What it does not name stays as it is.
type Manifest struct {
	Resources []Resource
	Tenants   []Tenant
	Clients   []Client // of no tenant
}

// Word is an entry of a list.
type Word struct {
	Text string
	Line int
}

// Words is a list.
type Words []Word

// Texts returns the entries without their lines.
func (w Words) Texts() []string {
	texts := make([]string, len(w))
	for i, word := range w {
		texts[i] = word.Text
	}
	return texts
}

// Resource is a protected server; what is left out gets its default.
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
	Access            string // read or write; default: derived from the name
}

// Tenant is a tenant. What is left out stays as it is; each of its roles and clients is complete.
type Tenant struct {
	Line    int
	ID      string  // required
	Name    *string // nil: unchanged; the id for a new tenant
	Policy  Policy
	Roles   []Role
	Clients []Client
}

// Policy is what a tenant allows. nil is unchanged, and unrestricted for a new tenant.
type Policy struct {
	Line                                            int // 0: absent
	Scopes, Clients, Registrations                  *Words
	MaxAccessTokenLifetime, MaxRefreshTokenLifetime *time.Duration
}

// Role is a role of a tenant, complete.
type Role struct {
	Line             int
	Name             string // required
	Scopes, Includes Words
	Admin            bool
}

// Client is a client of the operator, complete; its fields decide its kind, as in gatehouse client
// create. Its name identifies it within its tenant.
type Client struct {
	Line                                 int
	Name                                 string // required
	Scopes                               Words
	RedirectURIs, PostLogoutRedirectURIs []string
	Public, PushRequired                 bool
	Server                               string // URI of the protected server that it is
	TokenExchange, Assertions            bool
}
