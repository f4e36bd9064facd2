package guard

import (
	"net/http"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// Challenge answers 403 insufficient_scope: the token is good, but this needs the scopes named (RFC 6750 §3.1; MCP, "Scope Challenge Handling").
// Name all that the operation needs and those that the caller has, so that a client that asks for just these loses none.
func (g *Guard) Challenge(w http.ResponseWriter, r *http.Request, scopes []string) {
	e := oauth.InsufficientScope("this needs a scope that the access token does not have")
	scopes = slices.Compact(slices.Sorted(slices.Values(scopes)))
	refuse(w, r, oauth.Challenge{Error: e.Code, ErrorDescription: e.Description, Scope: scopes, ResourceMetadata: g.metadata}.String(), e)
}

// challenge answers a request whose token is missing or not believed.
func (g *Guard) challenge(w http.ResponseWriter, r *http.Request, e *oauth.Error) {
	if e.Status == http.StatusServiceUnavailable {
		refuse(w, r, "", e)
		return
	}
	c := oauth.Challenge{Error: e.Code, Scope: g.config.Baseline, ResourceMetadata: g.metadata}
	if e.Code != "" {
		c.ErrorDescription = e.Description
	}
	refuse(w, r, c.String(), e)
}

// refuse writes an error in the one form that all have.
func refuse(w http.ResponseWriter, r *http.Request, challenge string, e *oauth.Error) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if challenge != "" {
		h.Set("WWW-Authenticate", challenge)
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
