package guard

import (
	"net/http"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// Challenge answers 403 insufficient_scope: the token is good, but this needs the scopes named (RFC
// 6750 §3.1; MCP, "Scope Challenge Handling"). Name all that the operation needs and those that the
// caller has, so that a client that asks for just these loses none.
func (g *Guard) Challenge(w http.ResponseWriter, r *http.Request, scopes []string) {
	e := oauth.InsufficientScope("this needs a scope that the access token does not have")
	scopes = slices.Compact(slices.Sorted(slices.Values(scopes)))
	refuse(w, r, e, g.write(r, oauth.Challenge{Error: e.Code, ErrorDescription: e.Description, Scope: scopes}))
}

// challenge answers a request whose token is missing or not believed.
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
	if e == errBound && !g.config.RequireDPoP { // RFC 9449 §7.2: what was wrong, and then the scheme that would do
		challenges = append(challenges, oauth.Challenge{Scheme: dpop.Scheme, Algorithms: dpop.Algorithms()}.String())
	}
	refuse(w, r, e, challenges...)
}

// write completes a challenge: its scheme, which proofs that takes (RFC 9449 §7.1), and where the
// resource describes itself.
func (g *Guard) write(r *http.Request, c oauth.Challenge) string {
	if c.Scheme = g.scheme(r); c.Scheme == dpop.Scheme {
		c.Algorithms = dpop.Algorithms()
	}
	c.ResourceMetadata = g.metadata
	return c.String()
}

// refuse writes an error in the one form that all have.
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
		code = "invalid_token" // for the body alone; the challenge names no error
	}
	httpd.Note(r.Context(), "refused", code)
	httpd.Note(r.Context(), "reason", e.Description)
	httpd.WriteJSON(w, e.Status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{code, e.Description})
}
