package oauthapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// readForm reads a form body strictly (RFC 6749 section 3.2): application/x-www-form-urlencoded
// and nothing else, no parameter twice but resource, none in the query. The body never reaches
// fosite, which would store multipart bodies on disk and use the first of two values.
func readForm(r *http.Request) (url.Values, *oauth.Error) {
	if r.URL.RawQuery != "" {
		return nil, oauth.InvalidRequest("parameters belong in the body, not in the URL")
	}
	form, err := readBody(r)
	if err != nil {
		return nil, err
	}
	return form, oauth.Once(form)
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
	return oauth.ParseForm(string(body))
}

// readAll reads a body within the limit of httpd.
func readAll(r *http.Request) ([]byte, *oauth.Error) {
	if r.Header.Get("Content-Encoding") != "" {
		return nil, &oauth.Error{Code: "invalid_request", Description: "send the body without Content-Encoding",
			Status: http.StatusUnsupportedMediaType}
	}
	body, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, &oauth.Error{Code: "invalid_request", Description: "the body is too large; send less",
			Status: http.StatusRequestEntityTooLarge}
	}
	if err != nil {
		return nil, oauth.InvalidRequest("the body could not be read; send it again")
	}
	return body, nil
}
