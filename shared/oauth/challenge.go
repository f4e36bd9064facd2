package oauth

import "strings"

// Challenge is a WWW-Authenticate challenge for bearer tokens (RFC 6750 §3, RFC 9728 §5.1).
type Challenge struct {
	Error            string   // empty when no credentials were sent (RFC 6750 §3.1)
	ErrorDescription string   // ASCII; quotes and backslashes are replaced
	Scope            []string // all scopes that the operation needs
	ResourceMetadata string   // absolute URL of the resource's metadata
}

// String writes the header's value.
func (c Challenge) String() string {
	var b strings.Builder
	b.WriteString("Bearer")
	sep := " "
	add := func(name, value string) {
		if value == "" {
			return
		}
		b.WriteString(sep + name + `="` + quotedString.Replace(value) + `"`)
		sep = ", "
	}
	add("error", c.Error)
	add("error_description", c.ErrorDescription)
	add("resource_metadata", c.ResourceMetadata)
	add("scope", FormatScope(c.Scope))
	return b.String()
}

// quotedString keeps a value inside its quotes and inside its line (RFC 9110 §5.6.4).
var quotedString = strings.NewReplacer(`"`, "'", `\`, "/", "\r", " ", "\n", " ")
