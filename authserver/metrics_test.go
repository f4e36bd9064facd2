package authserver_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
)

// The metrics count token requests by grant type and result, sign-ins and registrations by result,
// and have the signing keys, the duration of the store and the Go runtime. What a request makes up
// adds no label, and there is nothing else on their listener.
func TestMetrics(t *testing.T) {
	h := startServer(t)
	m, a := h.machine("acme", "customers:read"), h.register(map[string]any{})
	_, leaf := a.tokens(h.person("ann@acme.example"), "customers:read")
	m.token(url.Values{"grant_type": {"client_credentials"}})
	m.token(url.Values{"grant_type": {"client_credentials"}, "scope": {"customers:delete"}})
	m.token(url.Values{"grant_type": {"made up"}})
	a.token(refreshment(leaf))
	h.post("/oauth2/register", "application/json", `{"redirect_uris":["javascript:alert(1)"]}`, nil)
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.Server.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	status, page := get("/metrics")
	if status != http.StatusOK {
		t.Fatalf("got %d %s", status, page)
	}
	for _, want := range []string{
		`gatehouse_token_requests_total{grant_type="authorization_code",result="ok"} 1`,
		`gatehouse_token_requests_total{grant_type="client_credentials",result="ok"} 1`,
		`gatehouse_token_requests_total{grant_type="client_credentials",result="invalid_scope"} 1`,
		`gatehouse_token_requests_total{grant_type="refresh_token",result="ok"} 1`,
		`gatehouse_token_requests_total{grant_type="unknown",result="unsupported_grant_type"} 1`,
		`gatehouse_sign_ins_total{result="ok"} 1`,
		`gatehouse_registrations_total{result="denied"} 1`, `gatehouse_registrations_total{result="ok"} 1`,
		`gatehouse_signing_keys{algorithm="` + issuer.DefaultIDTokenAlg + `",state="active"} 1`,
		`gatehouse_signing_keys{algorithm="ES256",state="withdrawn"} 0`,
		`gatehouse_store_seconds_bucket{operation="read",le="5"}`,
		`gatehouse_store_seconds_bucket{operation="write",le="5"}`, "go_goroutines ", "process_open_fds ",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if strings.Contains(page, "made up") {
		t.Error("a grant type that a request made up became a label")
	}
	if t.Failed() {
		for line := range strings.Lines(page) {
			if strings.HasPrefix(line, "gatehouse_") {
				t.Log(line)
			}
		}
	}
	for _, path := range []string{"/", "/debug/pprof/", "/oauth2/token"} {
		if status, _ := get(path); status != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", path, status)
		}
	}
	if r, _ := h.get("/metrics", nil); r.StatusCode != http.StatusNotFound {
		t.Errorf("the issuer's own listener answers /metrics with %d", r.StatusCode)
	}
}
