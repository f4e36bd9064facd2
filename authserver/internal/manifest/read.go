package manifest

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/config/configfile"
)

// anyOf is the word for a policy list that allows everything.
const anyOf = "any"

// Read parses a manifest. Unknown keys, values of a wrong type and duplicate keys are errors that
// name the line.
func Read(content []byte) (Manifest, error) {
	var b Manifest
	if len(content) > MaxFile {
		return b, fmt.Errorf("it is over %d bytes", MaxFile)
	}
	document, err := configfile.ParseDocument(content)
	if err != nil {
		return b, err
	}
	if document.Empty() {
		return b, &configfile.LineError{Line: 1, Reason: "the file names nothing: no resources, no tenants, no clients"}
	}
	var r reader
	r.fields(document, "the file", words{
		"resources": r.each(func(n configfile.Node) { b.Resources = append(b.Resources, r.resource(n)) }),
		"tenants":   r.each(func(n configfile.Node) { b.Tenants = append(b.Tenants, r.tenant(n)) }),
		"clients":   r.each(func(n configfile.Node) { b.Clients = append(b.Clients, r.client(n)) }),
	})
	if r.err != nil {
		return b, r.err
	}
	return b, b.Check()
}

// reader keeps the first error.
type reader struct{ err error }

// words maps the known keys to what reads their values.
type words map[string]func(configfile.Node)

// fields reads a mapping.
func (r *reader) fields(n configfile.Node, what string, known words) {
	if r.err != nil {
		return
	}
	fields, err := n.Fields(what, slices.Collect(maps.Keys(known)))
	r.keep(err)
	for _, f := range fields {
		if r.err != nil {
			return
		}
		known[f.Name](f.Value)
	}
}

func (r *reader) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}

// each reads a list entry by entry.
func (r *reader) each(read func(configfile.Node)) func(configfile.Node) {
	return func(n configfile.Node) {
		items, err := n.Items()
		r.keep(err)
		for _, item := range items {
			if r.err != nil {
				return
			}
			read(item)
		}
	}
}

func (r *reader) text(to *string) func(configfile.Node) {
	return func(n configfile.Node) {
		s, err := n.Text()
		r.keep(err)
		*to = s
	}
}

func (r *reader) texts(to *[]string) func(configfile.Node) {
	return r.each(func(n configfile.Node) {
		s, err := n.Text()
		r.keep(err)
		*to = append(*to, s)
	})
}

func (r *reader) words(to *Words) func(configfile.Node) {
	return r.each(func(n configfile.Node) {
		s, err := n.Text()
		r.keep(err)
		*to = append(*to, Word{s, n.Line()})
	})
}

func (r *reader) flag(to *bool) func(configfile.Node) {
	return func(n configfile.Node) {
		b, err := n.Bool()
		r.keep(err)
		*to = b
	}
}

func (r *reader) life(to *time.Duration) func(configfile.Node) {
	return func(n configfile.Node) {
		d, err := n.Duration()
		r.keep(err)
		*to = d
	}
}

// ceiling reads a policy list or "any". An empty list is rejected, because it could be taken for
// one that allows nothing.
func (r *reader) ceiling(to **Words, open bool) func(configfile.Node) {
	return func(n configfile.Node) {
		*to = &Words{}
		if s, err := n.Text(); err == nil && s == anyOf && open {
			return
		}
		r.words(*to)(n)
		if len(**to) > 0 || r.err != nil {
			return
		}
		if open {
			r.keep(n.Wrong("the list is empty; the word %s takes the restriction away", anyOf))
		} else {
			r.keep(n.Wrong("the list is empty: the policy would allow no scope"))
		}
	}
}

func (r *reader) span(to **time.Duration) func(configfile.Node) {
	return func(n configfile.Node) {
		*to = new(time.Duration)
		r.life(*to)(n)
	}
}

func (r *reader) resource(n configfile.Node) Resource {
	it := Resource{Line: n.Line()}
	r.fields(n, "a resource", words{
		"uri": r.text(&it.URI), "name": r.text(&it.Name), "algorithm": r.text(&it.Algorithm),
		"access_token_lifetime": r.life(&it.AccessTokenLifetime), "aliases": r.texts(&it.Aliases),
		"scopes": r.each(func(n configfile.Node) {
			s := Scope{Line: n.Line()}
			r.fields(n, "a scope", words{"name": r.text(&s.Name), "description": r.text(&s.Description),
				"baseline": r.flag(&s.Baseline), "access": r.text(&s.Access)})
			it.Scopes = append(it.Scopes, s)
		}),
	})
	return it
}

func (r *reader) tenant(n configfile.Node) Tenant {
	t := Tenant{Line: n.Line()}
	r.fields(n, "a tenant", words{
		"id": r.text(&t.ID),
		"name": func(n configfile.Node) {
			t.Name = new(string)
			r.text(t.Name)(n)
		},
		"policy":  func(n configfile.Node) { t.Policy = r.policy(n) },
		"roles":   r.each(func(n configfile.Node) { t.Roles = append(t.Roles, r.role(n)) }),
		"clients": r.each(func(n configfile.Node) { t.Clients = append(t.Clients, r.client(n)) }),
	})
	return t
}

func (r *reader) policy(n configfile.Node) Policy {
	p := Policy{Line: n.Line()}
	r.fields(n, "a policy", words{
		"scopes": r.ceiling(&p.Scopes, false), "clients": r.ceiling(&p.Clients, true),
		"registrations":              r.ceiling(&p.Registrations, true),
		"max_access_token_lifetime":  r.span(&p.MaxAccessTokenLifetime),
		"max_refresh_token_lifetime": r.span(&p.MaxRefreshTokenLifetime),
	})
	return p
}

func (r *reader) role(n configfile.Node) Role {
	it := Role{Line: n.Line()}
	r.fields(n, "a role", words{"role": r.text(&it.Name), "scopes": r.words(&it.Scopes),
		"includes": r.words(&it.Includes), "admin": r.flag(&it.Admin)})
	return it
}

func (r *reader) client(n configfile.Node) Client {
	c := Client{Line: n.Line()}
	r.fields(n, "a client", words{
		"name": r.text(&c.Name), "scopes": r.words(&c.Scopes), "redirect_uris": r.texts(&c.RedirectURIs),
		"post_logout_redirect_uris": r.texts(&c.PostLogoutRedirectURIs),
		"public":                    r.flag(&c.Public), "require_pushed_requests": r.flag(&c.PushRequired),
		"server":         r.text(&c.Server),
		"token_exchange": r.flag(&c.TokenExchange), "assertions": r.flag(&c.Assertions),
	})
	return c
}
