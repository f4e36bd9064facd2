package guard

import (
	"net/http"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// Challenge answers 403 insufficient_scope: the token is valid, but the request needs these scopes
// (RFC 6750 section 3.1; MCP, "Scope Challenge Handling"). Name all scopes that the request needs
// and those that the caller has, so that a client that asks for exactly these loses none.
func (g *Guard) Challenge(w http.ResponseWriter, r *http.Request, scopes []string) {
	e := oauth.InsufficientScope("this needs a scope that the access token does not have")
	scopes = slices.Compact(slices.Sorted(slices.Values(scopes)))
	refuse(w, r, e, g.write(r, oauth.Challenge{Error: e.Code, ErrorDescription: e.Description, Scope: scopes}))
}

// challenge answers a request without a valid token.
func (g *Guard) challenge(w http.ResponseWriter, r *http.Request, e *oauth.Error) {
	if e.Status == http.StatusServiceUnavailable {
		refuse(w, r, e)
		return
	}
	c := oauth.Challenge{Error: e.Code, Scope: *g.baseline.Load()}
	if e.Code != "" {
		c.ErrorDescription = e.Description
	}
	challenges := []string{g.write(r, c)}
	if e == errBound && !g.config.RequireDPoP { // RFC 9449 section 7.2: the error, and then the scheme to use
		challenges = append(challenges, oauth.Challenge{Scheme: dpop.Scheme, Algorithms: dpop.Algorithms()}.String())
	}
	refuse(w, r, e, challenges...)
}

// write completes a challenge with its scheme, the algorithms of proofs (RFC 9449 section 7.1) and
// resource_metadata.
func (g *Guard) write(r *http.Request, c oauth.Challenge) string {
	if c.Scheme = g.scheme(r); c.Scheme == dpop.Scheme {
		c.Algorithms = dpop.Algorithms()
	}
	c.ResourceMetadata = g.metadata
	return c.String()
}

// refuse writes an error response.
func refuse(w http.ResponseWriter, r *http.Request, e *oauth.Error, challenges ...string) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	for _, c := range challenges {
		h.Add("WWW-Authenticate", c)
	}
	if e.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "2")
	}
	code := e.Code
	if code == "" {
		code = "invalid_token" // in the body alone; the challenge has no error code
	}
	httpd.Note(r.Context(), "refused", code)
	httpd.Note(r.Context(), "reason", e.Description)
	httpd.WriteJSON(w, e.Status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{code, e.Description})
}
