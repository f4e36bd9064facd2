package authserver_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// A resource that is nobody's alias is refused, and the refusal says what was expected.
func TestInvalidTargetSaysWhatWasExpected(t *testing.T) {
	h := startServer(t)
	m := h.machine("acme", "customers:read")
	status, answer := m.token(url.Values{"grant_type": {"client_credentials"},
		"resource": {"https://mcp.example/mcp/"}})
	wantError(t, "a slash more, where it is no alias", status, answer, 400, "invalid_target")
	if said, _ := answer["error_description"].(string); !strings.Contains(said, resourceURI) {
		t.Errorf("it says %q, want it to name %s", said, resourceURI)
	}
}

// Preflights of pages in browsers, and that the authorization endpoint has none (AS-12).
func TestCORS(t *testing.T) {
	h := startServer(t)
	for path, open := range map[string]bool{
		"/oauth2/token": true, "/oauth2/register": true, "/oauth2/revoke": true, "/oauth2/jwks": true,
		"/.well-known/oauth-authorization-server": true,
		"/oauth2/authorize":                       false, "/oauth2/introspect": false, "/consent": false,
		"/signin": false,
	} {
		r := h.do("OPTIONS", path, "", "", http.Header{"Origin": {"https://anybody.example"},
			"Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"content-type"}})
		r.Body.Close()
		if got := r.Header.Get("Access-Control-Allow-Origin") == "*" && r.StatusCode == 204; got != open ||
			r.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: got %d %v, want open %v", path, r.StatusCode, r.Header, open)
		}
		if open && !strings.Contains(r.Header.Get("Access-Control-Expose-Headers"), "WWW-Authenticate") {
			t.Errorf("%s: a page cannot read the challenge: %v", path, r.Header)
		}
	}
}
