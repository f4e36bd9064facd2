package oauthapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// respond writes a JSON response that must not be cached (RFC 6749 section 5.1).
func respond(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	httpd.WriteJSON(w, status, v)
}

// fail writes an error response. Errors that are not an *oauth.Error are internal: the log has the
// detail, and as nothing was committed, the client may try again.
func (d *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	refused := visible(r, err)
	if refused.Status == http.StatusUnauthorized {
		// RFC 6749 section 5.2 requires it when Basic was tried; otherwise it does no harm.
		w.Header().Set("WWW-Authenticate", `Basic realm="gatehouse", charset="UTF-8"`)
	}
	if refused.Wait > 0 {
		httpd.RetryAfter(w, refused.Wait)
	}
	respond(w, refused.Status, d.body(r, refused))
}

// Refuse answers a request of a program that reaches no endpoint.
func (d *API) Refuse(w http.ResponseWriter, r *http.Request, refused *oauth.Error) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	d.fail(w, r, refused)
}

// body is the body of an error response, with a support code and the page that explains the error.
func (d *API) body(r *http.Request, e *oauth.Error) errorBody {
	return errorBody{e.Code, e.Description + " (support code " + httpd.SupportCode(r.Context()) + ")",
		d.Engine.ErrorURI(e.Code)}
}

// visible is the error as the client may see it; the rest is noted in the log.
func visible(r *http.Request, err error) *oauth.Error {
	attempt.FromContext(r.Context()).Refuse(err)
	var refused *oauth.Error
	if !errors.As(err, &refused) {
		httpd.Note(r.Context(), "error", err.Error())
		refused = oauth.TemporarilyUnavailable()
	}
	httpd.Note(r.Context(), "refused", refused.Code)
	httpd.Note(r.Context(), "reason", refused.Description)
	return refused
}

// noteRelaxed notes the names of the relaxations that a request needed, so that they can be
// counted.
func noteRelaxed(r *http.Request, names []string) {
	for _, name := range names {
		httpd.Note(r.Context(), "relaxed", name)
	}
}

type errorBody struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	URI         string `json:"error_uri,omitempty"` // a page that explains the error
}

// tooMany answers 429 with the time to wait.
func (d *API) tooMany(w http.ResponseWriter, r *http.Request, wait time.Duration) {
	d.fail(w, r, oauth.TooManyRequests(wait))
}

// document is a JSON document that is served from memory, with its entity tag.
type document struct {
	body []byte
	etag string
}

func (d document) serve(w http.ResponseWriter, r *http.Request, contentType string, maxAge time.Duration) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(maxAge.Seconds())))
	h.Set("ETag", d.etag)
	if r.Header.Get("If-None-Match") == d.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(d.body)))
	if r.Method != http.MethodHead {
		w.Write(d.body)
	}
}

func newDocument(v any, etag func([]byte) string) (document, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return document{}, err
	}
	return document{body, etag(body)}, nil
}
