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

// Change is one change that a manifest makes.
type Change struct {
	Verb, Kind string
	Tenant     string // the tenant that it belongs to, or the tenant itself; may be empty
	Name       string // a resource's URI, a tenant's id
	Fields     []Field
	ClientID   string // of a client; empty until it is created
	Secret     string // of a created client, shown once
}

// Field is a changed field, by its key in the manifest. From is null for something new.
type Field struct {
	Name     string
	From, To json.RawMessage // a string, a list of strings, a boolean, or a number of seconds
	Life     bool            // the numbers are seconds
}

// trait is a field with its value: a string, a boolean, a duration, a sequence, or a list of
// strings whose order does not matter.
type trait struct {
	name  string
	value any
}

// sequence is an ordered list of scopes with their descriptions, compared as pairs.
type sequence [][2]string

func resourceTraits(r issuer.Resource) []trait {
	var scopes sequence
	var access []string // of the scopes that set it
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

// orAny returns a policy list for display; an empty one means any.
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

// differences returns the fields that change; when before is nil, all fields that are set.
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
		panic("admin: a trait that is no JSON: " + err.Error()) // a programming error
	}
	return bytes.TrimSpace(b.Bytes())
}

// described returns fields for an audit record, which is cut at its end: first what a client may
// do, then its redirect URIs, and of each the new value before the old.
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
