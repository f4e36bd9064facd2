package manifest

import (
	"fmt"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/shared/config/configfile"
)

// The bounds of a manifest.
const (
	MaxFile    = 16 << 20 // bytes
	MaxEntries = 50_000   // resources, tenants, roles and clients together
	MaxWords   = 100_000  // scopes, aliases, redirect URIs and other list entries together
	// MaxValues bounds the JSON objects and list entries of a Manifest within these bounds.
	MaxValues = 1 + 2*MaxEntries + MaxWords
)

// Entries counts resources, tenants, roles and clients.
func (b Manifest) Entries() int {
	n := len(b.Resources) + len(b.Tenants) + len(b.Clients)
	for _, t := range b.Tenants {
		n += len(t.Roles) + len(t.Clients)
	}
	return n
}

// Words counts the entries of all lists.
func (b Manifest) Words() (n int) {
	of := func(clients []Client) {
		for _, c := range clients {
			n += len(c.Scopes) + len(c.RedirectURIs) + len(c.PostLogoutRedirectURIs)
		}
	}
	for _, r := range b.Resources {
		n += len(r.Scopes) + len(r.Aliases)
	}
	for _, t := range b.Tenants {
		for _, list := range []*Words{t.Policy.Scopes, t.Policy.Clients, t.Policy.Registrations} {
			if list != nil {
				n += len(*list)
			}
		}
		for _, r := range t.Roles {
			n += len(r.Scopes) + len(r.Includes)
		}
		of(t.Clients)
	}
	of(b.Clients)
	return n
}

// Check returns an error for an entry without a name or with a duplicate name, and for too many
// entries. It is a *configfile.LineError where a line is known.
func (b Manifest) Check() error {
	if n := b.Entries(); n > MaxEntries {
		return fmt.Errorf("it names %d things; %d are as many as one file may", n, MaxEntries)
	}
	if n := b.Words(); n > MaxWords {
		return fmt.Errorf("it has %d scopes, aliases, redirect URIs and words of lists; %d are as many as one file may",
			n, MaxWords)
	}
	var c checker
	for _, r := range b.Resources {
		c.once("resource", "uri", r.URI, r.Line)
		for _, s := range r.Scopes {
			c.once("scope", "name", s.Name, s.Line)
		}
		c.forget("scope")
	}
	for _, t := range b.Tenants {
		c.once("tenant", "id", t.ID, t.Line)
		for _, r := range t.Roles {
			c.once("role", "name; say it as role: NAME", r.Name, r.Line)
		}
		c.clients(t.Clients)
		c.forget("role")
	}
	c.clients(b.Clients)
	return c.err
}

// checker remembers in which line each name of a kind stands, and keeps the first error.
type checker struct {
	seen map[string]map[string]int
	err  error
}

// once checks that an entry has a name that no other of its kind has.
func (c *checker) once(kind, word, name string, line int) {
	before, there := c.seen[kind][name]
	wrong := ""
	switch {
	case strings.TrimSpace(name) == "":
		wrong = fmt.Sprintf("the %s has no %s", kind, word)
	case there:
		wrong = fmt.Sprintf("the %s %.200q is in line %d already", kind, name, before)
	}
	if wrong != "" && c.err == nil {
		c.err = &configfile.LineError{Line: line, Reason: wrong}
	}
	if c.seen == nil {
		c.seen = map[string]map[string]int{}
	}
	if c.seen[kind] == nil {
		c.seen[kind] = map[string]int{}
	}
	c.seen[kind][name] = line
}

// forget begins a new scope of names of a kind.
func (c *checker) forget(kind string) { delete(c.seen, kind) }

// clients checks the clients of one tenant, or of none. Names are compared without surrounding
// spaces.
func (c *checker) clients(all []Client) {
	for _, k := range all {
		c.once("client", "name", strings.TrimSpace(k.Name), k.Line)
	}
	c.forget("client")
}
