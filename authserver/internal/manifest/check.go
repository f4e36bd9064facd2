package manifest

import (
	"fmt"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/shared/config/configfile"
)

// The bounds of a file.
const (
	MaxFile    = 16 << 20 // bytes
	MaxEntries = 50_000   // resources, tenants, roles and clients together
	MaxWords   = 100_000  // scopes, aliases, redirect URIs and words of lists together
	// MaxValues are as many JSON objects and members of lists as a Blueprint can have that is
	// within these: itself, and a policy for each tenant beside.
	MaxValues = 1 + 2*MaxEntries + MaxWords
)

// Entries counts resources, tenants, roles and clients.
func (b Blueprint) Entries() int {
	n := len(b.Resources) + len(b.Tenants) + len(b.Clients)
	for _, t := range b.Tenants {
		n += len(t.Roles) + len(t.Clients)
	}
	return n
}

// Words counts what is in the lists of the entries.
func (b Blueprint) Words() (n int) {
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

// Check says which entry has no name, or the same as another, and whether there are too many. It is
// a *configfile.LineError where there is a line to name.
func (b Blueprint) Check() error {
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

// checker knows in which line the entries of a kind are, by name, and keeps what is wrong first.
type checker struct {
	seen map[string]map[string]int
	err  error
}

// once checks that an entry has its name, and that no other of its kind has it.
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

// forget ends the place in which names of a kind are each there once.
func (c *checker) forget(kind string) { delete(c.seen, kind) }

// clients checks those of one tenant, or of none. Names are the same but for spaces around them.
func (c *checker) clients(all []Client) {
	for _, k := range all {
		c.once("client", "name", strings.TrimSpace(k.Name), k.Line)
	}
	c.forget("client")
}
