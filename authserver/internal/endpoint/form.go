package endpoint

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"unicode/utf8"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// maxParameters bounds how many parameters a request may have.
const maxParameters = 100

// readForm reads a form body strictly (RFC 6749 §3.2): application/x-www-form-urlencoded and nothing else, no parameter twice but resource,
// nothing in the query. Fosite, which would read multipart bodies to disk and take the first of two values, never sees the body (L6, L11).
func readForm(r *http.Request) (url.Values, *oauth.Error) {
	if r.URL.RawQuery != "" {
		return nil, oauth.InvalidRequest("parameters belong in the body, not in the URL")
	}
	form, err := readBody(r)
	if err != nil {
		return nil, err
	}
	for name, values := range form {
		if len(values) > 1 && name != "resource" && name != "audience" {
			return nil, oauth.InvalidRequest("a parameter is given more than once; send each once")
		}
	}
	return form, nil
}

// readBody reads a form body without a rule on repeated parameters.
func readBody(r *http.Request) (url.Values, *oauth.Error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" || len(r.Header.Values("Content-Type")) != 1 {
		return nil, oauth.InvalidRequest("send the body as application/x-www-form-urlencoded")
	}
	body, refused := readAll(r)
	if refused != nil {
		return nil, refused
	}
	return parseForm(string(body))
}

func parseForm(encoded string) (url.Values, *oauth.Error) {
	form, err := url.ParseQuery(encoded)
	if err != nil {
		return nil, oauth.InvalidRequest("the parameters are not correctly form-encoded; see application/x-www-form-urlencoded")
	}
	if len(form) > maxParameters {
		return nil, oauth.InvalidRequest("too many parameters; a hundred are the most")
	}
	for name, values := range form {
		for _, v := range values {
			if !utf8.ValidString(name) || !utf8.ValidString(v) {
				return nil, oauth.InvalidRequest("a parameter is not UTF-8; encode it so")
			}
		}
	}
	return form, nil
}

// readAll reads a body within the limit that httpd has set.
func readAll(r *http.Request) ([]byte, *oauth.Error) {
	if r.Header.Get("Content-Encoding") != "" {
		return nil, &oauth.Error{Code: "invalid_request", Description: "send the body without Content-Encoding", Status: http.StatusUnsupportedMediaType}
	}
	body, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, &oauth.Error{Code: "invalid_request", Description: "the body is too large; send less", Status: http.StatusRequestEntityTooLarge}
	}
	if err != nil {
		return nil, oauth.InvalidRequest("the body could not be read; send it again")
	}
	return body, nil
}
