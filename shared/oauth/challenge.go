package oauth

import (
	"cmp"
	"strings"
)

// Challenge is a WWW-Authenticate challenge for access tokens (RFC 6750 §3, RFC 9449 §7.1, RFC 9728
// §5.1).
type Challenge struct {
	Scheme           string   // empty: Bearer
	Error            string   // empty when no credentials were sent (RFC 6750 §3.1)
	ErrorDescription string   // printable ASCII; what is not, quotes and backslashes are replaced
	Scope            []string // all scopes that the operation needs
	ResourceMetadata string   // absolute URL of the resource's metadata
	Algorithms       []string // signature algorithms of proofs for the DPoP scheme
}

// String returns the header's value.
func (c Challenge) String() string {
	var b strings.Builder
	b.WriteString(cmp.Or(c.Scheme, "Bearer"))
	sep := " "
	add := func(name, value string) {
		if value == "" {
			return
		}
		b.WriteString(sep + name + `="` + quoted(value) + `"`)
		sep = ", "
	}
	add("error", c.Error)
	add("error_description", c.ErrorDescription)
	add("algs", strings.Join(c.Algorithms, " "))
	add("resource_metadata", c.ResourceMetadata)
	add("scope", FormatScope(c.Scope))
	return b.String()
}

// quoted keeps a value inside its quotes (RFC 9110 §5.6.4), in the characters that RFC 6750 §3
// allows.
func quoted(value string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r == '\\':
			return '/'
		case r == '\r' || r == '\n':
			return ' '
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, value)
}
