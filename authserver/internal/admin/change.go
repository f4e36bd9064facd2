package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

// The verbs and kinds of changes.
const (
	VerbCreate = "create"
	VerbChange = "change"

	KindResource = "resource"
	KindTenant   = "tenant"
	KindPolicy   = "policy"
	KindRole     = "role"
	KindClient   = "client"
)

// Change is one thing that a file makes otherwise.
type Change struct {
	Verb, Kind string
	Tenant     string // whose it is; of a tenant, itself; may be empty
	Name       string // a resource's URI, a tenant's id
	Fields     []Field
	ClientID   string // of a client; empty while it is not made
	Secret     string // of a client that was made: it is shown this once
}

// Field is what is otherwise of a thing, by its word in the file. From is null of a thing that is
// made.
type Field struct {
	Name     string
	From, To json.RawMessage // a text, a list of texts, a truth value, a number of seconds
	Life     bool            // they are seconds
}

// trait is a thing's field with its value: a text, a truth value, a length of time, sequence, or a
// list of texts whose order says nothing.
type trait struct {
	name  string
	value any
}

// sequence is a list of scopes, each with its description, whose order counts. They are compared as
// pairs: both may have a = in them.
type sequence [][2]string

func resourceTraits(r issuer.Resource) []trait {
	var scopes sequence
	var access []string // of the scopes that say it
	for _, s := range r.Scopes {
		scopes = append(scopes, [2]string{s.Name, s.Description})
		if s.Access != "" {
			access = append(access, s.Name+"="+s.Access)
		}
	}
	return []trait{
		{"name", r.Name}, {"algorithm", r.Algorithm}, {"access_token_lifetime", r.AccessTokenLifetime},
		{"scopes", scopes},
		{"baseline", r.Baseline()}, {"access", access}, {"aliases", r.Aliases},
	}
}

func policyTraits(p tenant.Policy) []trait {
	return []trait{{"scopes", p.Scopes}, {"clients", orAny(p.Clients)}, {"registrations", orAny(p.Registrations)},
		{"max_access_token_lifetime", p.MaxAccessTokenLifetime},
		{"max_refresh_token_lifetime", p.MaxRefreshTokenLifetime}}
}

// orAny is a list of the policy; an empty one allows any.
func orAny(list []string) []string {
	if len(list) == 0 {
		return []string{"any"}
	}
	return list
}

func roleTraits(r user.Role) []trait {
	return []trait{{"scopes", r.Scopes}, {"includes", r.Includes}, {"admin", r.Admin}}
}

func clientTraits(c client.Client) []trait {
	return []trait{
		{"scopes", c.Scopes}, {"redirect_uris", c.RedirectURIs},
		{"post_logout_redirect_uris", c.PostLogoutRedirectURIs}, {"public", c.AuthMethod == client.AuthNone},
		{"require_pushed_requests", c.PushRequired}, {"server", c.Resource},
		{"token_exchange", slices.Contains(c.GrantTypes, client.GrantExchange)},
		{"assertions", slices.Contains(c.GrantTypes, client.GrantAssertion)},
	}
}

// differences are the fields in which a thing will be otherwise; before is nil of one that is made:
// then they are those that it has.
func differences(before, after []trait) (fields []Field) {
	for i, a := range after {
		f := Field{Name: a.name, From: json.RawMessage("null"), To: written(a.value)}
		_, f.Life = a.value.(time.Duration)
		if before == nil {
			if !nothing(a.value) {
				fields = append(fields, f)
			}
			continue
		}
		if !equal(before[i].value, a.value) {
			f.From = written(before[i].value)
			fields = append(fields, f)
		}
	}
	return fields
}

func equal(a, b any) bool {
	switch a := a.(type) {
	case []string:
		return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b.([]string))))
	case sequence:
		return slices.Equal(a, b.(sequence))
	}
	return a == b
}

func nothing(v any) bool {
	switch v := v.(type) {
	case []string:
		return len(v) == 0
	case sequence:
		return len(v) == 0
	case bool:
		return !v
	case time.Duration:
		return v == 0
	}
	return v == ""
}

func written(v any) json.RawMessage {
	switch x := v.(type) {
	case time.Duration:
		v = x.Seconds()
	case []string:
		v = append([]string{}, x...)
	case sequence:
		words := []string{}
		for _, pair := range x {
			words = append(words, pair[0]+"="+pair[1])
		}
		v = words
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // people read it in the audit
	if err := e.Encode(v); err != nil {
		panic("admin: a trait that is no JSON: " + err.Error()) // a programmer broke it
	}
	return bytes.TrimSpace(b.Bytes())
}

// described are fields in an audit line, which is cut at its end: first what a client may do, which
// is short, then where its codes go, and of each what it will be before what it was.
func described(fields []Field) string {
	rank := func(f Field) int {
		switch {
		case f.Name == "redirect_uris":
			return 1
		case bytes.HasPrefix(f.To, []byte("[")):
			return 2
		}
		return 0
	}
	var all []string
	for _, f := range slices.SortedStableFunc(slices.Values(fields),
		func(a, b Field) int { return rank(a) - rank(b) }) {
		all = append(all, fmt.Sprintf("%s %s, before %s", f.Name, f.To, f.From))
	}
	return strings.Join(all, "; ")
}
