package oauth

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxParameters bounds how many parameters a request may have.
const MaxParameters = 100

// Repeatable says whether a request may have a parameter more than once (RFC 8707 §2, RFC 8693
// §2.1).
func Repeatable(parameter string) bool { return parameter == "resource" || parameter == "audience" }

// ParseForm reads the parameters of a query or of a body (application/x-www-form-urlencoded). One
// without a value is one that was left out (RFC 6749 §3.1, §3.2); what is given twice is given
// twice all the same, and stays in the form. A line break that ends the body belongs to no
// parameter.
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

// Once says which parameter is given more than once that may be given once, if there is one.
func Once(form url.Values) *Error {
	for name, values := range form {
		if len(values) > 1 && !Repeatable(name) {
			return InvalidRequest("a parameter is given more than once; send each once")
		}
	}
	return nil
}

// Credentials cuts the value of an Authorization header into its scheme and what follows, which one
// blank or more divide (RFC 9110 §11.4).
func Credentials(header string) (scheme, credentials string) {
	scheme, credentials, _ = strings.Cut(header, " ")
	return scheme, strings.TrimLeft(credentials, " ")
}
