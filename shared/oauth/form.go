package oauth

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxParameters bounds how many parameters a request may have.
const MaxParameters = 100

// Repeatable reports whether a parameter may be repeated (RFC 8707 §2, RFC 8693 §2.1).
func Repeatable(parameter string) bool { return parameter == "resource" || parameter == "audience" }

// ParseForm parses the parameters of a query or a body (application/x-www-form-urlencoded). A
// parameter without a value is dropped (RFC 6749 §3.1, §3.2), but a repeated one stays repeated. A
// line break at the end is ignored.
func ParseForm(encoded string) (url.Values, *Error) {
	form, err := url.ParseQuery(strings.TrimRight(encoded, "\r\n"))
	if err != nil {
		return nil, InvalidRequest("the parameters are not correctly form-encoded; see " +
			"application/x-www-form-urlencoded")
	}
	if len(form) > MaxParameters {
		return nil, InvalidRequest("too many parameters; a hundred are the most")
	}
	for name, values := range form {
		for _, v := range values {
			if !utf8.ValidString(name) || !utf8.ValidString(v) {
				return nil, InvalidRequest("a parameter is not UTF-8; encode it so")
			}
		}
		if Repeatable(name) {
			form[name] = slices.DeleteFunc(values, func(v string) bool { return v == "" })
		}
		if v := form[name]; len(v) == 0 || len(v) == 1 && v[0] == "" {
			delete(form, name)
		}
	}
	return form, nil
}

// Once returns an error for a repeated parameter that must not be repeated.
func Once(form url.Values) *Error {
	for name, values := range form {
		if len(values) > 1 && !Repeatable(name) {
			return InvalidRequest("a parameter is given more than once; send each once")
		}
	}
	return nil
}

// Credentials splits an Authorization header into its scheme and what follows one or more spaces
// (RFC 9110 §11.4).
func Credentials(header string) (scheme, credentials string) {
	scheme, credentials, _ = strings.Cut(header, " ")
	return scheme, strings.TrimLeft(credentials, " ")
}
