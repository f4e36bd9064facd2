package guard_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
)

// RS-32: a page of an origin that is allowed may send the headers that mirror a tool's arguments,
// whatever the server calls them, and no others beside those that are known.
func TestPreflight(t *testing.T) {
	g := newGate(t, func(c *guard.Config) { c.AllowedOrigins = []string{"https://app.example"} })
	ask := func(origin, headers string) (allowed string, listed map[string]bool) {
		r := httptest.NewRequest("OPTIONS", resource, nil)
		r.Header.Set("Origin", origin)
		r.Header.Set("Access-Control-Request-Method", "POST")
		r.Header.Set("Access-Control-Request-Headers", headers)
		w := httptest.NewRecorder()
		g.guard.CORS(http.NotFoundHandler()).ServeHTTP(w, r)
		listed = map[string]bool{}
		for name := range strings.SplitSeq(w.Header().Get("Access-Control-Allow-Headers"), ",") {
			listed[strings.ToLower(strings.TrimSpace(name))] = true
		}
		return w.Header().Get("Access-Control-Allow-Origin"), listed
	}
	origin, listed := ask("https://app.example",
		"authorization, mcp-param-region,mcp-param-Zone, x-secret, mcp-param-, mcp-param-a b, cookie")
	if origin != "https://app.example" || !listed["authorization"] || !listed["mcp-method"] ||
		!listed["mcp-param-region"] || !listed["mcp-param-zone"] {
		t.Errorf("allowed for %q are %v", origin, listed)
	}
	for _, name := range []string{"x-secret", "cookie", "mcp-param-", "mcp-param-a b", "*"} {
		if listed[name] {
			t.Errorf("%q is allowed", name)
		}
	}
	if origin, listed := ask("https://evil.example", "mcp-param-region"); origin != "" || listed["mcp-param-region"] {
		t.Errorf("another origin: %q %v", origin, listed)
	}
}
