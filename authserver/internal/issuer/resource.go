package issuer

import (
	"slices"
	"strings"
	"time"
	"unicode"
)

// Scope is a scope of a resource.
type Scope struct {
	Name        string
	Description string // in plain words, for the consent page: "Read your customers' names and e-mail addresses"
	Baseline    bool   // granted when a client asks for no scope at all
	Access      string // AccessRead, AccessWrite, or empty: then the name decides
}

// The access that a scope gives.
const (
	AccessRead  = "read"  // nothing can be changed with it
	AccessWrite = "write" // something can be changed with it
)

// Writes reports whether something can be changed with the scope. Where Access is empty, only a
// scope whose name says that it reads counts as reading ("notes:read", "search.query").
func (s Scope) Writes() bool {
	if s.Access != "" {
		return s.Access != AccessRead
	}
	reads := false
	for _, word := range strings.FieldsFunc(strings.ToLower(s.Name),
		func(c rune) bool { return !unicode.IsLetter(c) }) {
		switch word {
		case "read", "reader", "readonly", "view", "viewer", "list", "get", "search", "query", "find":
			reads = true
		case "write", "writer", "readwrite", "rw", "create", "update", "delete", "admin", "manage", "edit", "send",
			"execute", "run", "full", "all",
			"add", "append", "approve", "assign", "cancel", "change", "deploy", "drop", "grant", "import", "insert",
			"invite", "merge", "modify", "move",
			"patch", "publish", "purge", "put", "remove", "rename", "replace", "revoke", "save", "submit", "transfer",
			"upload":
			return true
		}
	}
	return !reads
}

// Resource is a protected MCP server whose tokens are issued here.
type Resource struct {
	URI                 string // as oauth.ParseResource returns it; the aud of its tokens
	Name                string // for people
	Algorithm           string // of its tokens' signatures: ES256, RS256 or EdDSA
	AccessTokenLifetime time.Duration
	Scopes              []Scope
	// Aliases are what some clients send instead of URI, as oauth.ParseIndicator returns it. They
	// are compared exactly and are in no token.
	Aliases []string
}

// named reports whether uri is the URI of the resource or one of its aliases, and whether it is an
// alias.
func (r Resource) named(uri string) (alias, ok bool) {
	if r.URI == uri {
		return false, true
	}
	ok = slices.Contains(r.Aliases, uri)
	return ok, ok
}

// The relaxations of RFC 8707 and OAuth 2.1 that some clients need.
const (
	RelaxedNoResource    = "no resource: the default one"
	RelaxedResourceAlias = "an alias of the resource"
	RelaxedNoState       = "no state, or a short one"
)

// ScopeNames returns the names of the resource's scopes, in their order.
func (r Resource) ScopeNames() []string {
	names := make([]string, len(r.Scopes))
	for i, s := range r.Scopes {
		names[i] = s.Name
	}
	return names
}

// Baseline returns the scopes of a request that names none.
func (r Resource) Baseline() []string {
	var names []string
	for _, s := range r.Scopes {
		if s.Baseline {
			names = append(names, s.Name)
		}
	}
	return names
}

// Scope returns the scope of this name: of the resource, or of OpenID Connect.
func (r Resource) Scope(name string) (Scope, bool) {
	for _, s := range append(identityScopes(), r.Scopes...) {
		if s.Name == name {
			return s, true
		}
	}
	return Scope{}, false
}
