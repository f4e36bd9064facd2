package authserver_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// E7: what keeps running agents going comes before registrations, sign-ins and machine tokens; who has no turn is told
// so within a second.
func TestUrgentRequestsAreServedWhileOthersAreTooMany(t *testing.T) {
	h := openHouse(t, func(c *authserver.Config) {
		c.MostInFlight, c.Database = 4, testenv.Postgres(t)
	})
	a, machine := h.register(map[string]any{}), h.machine("acme", "customers:read")
	sql, err := pgx.Connect(t.Context(), h.config.Database)
	must(t, err)
	defer sql.Close(context.Background())
	writer, err := sql.Begin(t.Context())
	must(t, err)
	_, err = writer.Exec(t.Context(), "LOCK TABLE clients IN SHARE MODE") // no client is registered meanwhile
	must(t, err)
	body, err := json.Marshal(map[string]any{"redirect_uris": []string{callback}})
	must(t, err)
	type answer struct {
		status int
		header http.Header
	}
	registered := make(chan answer, 3)
	for range 3 {
		go func() {
			r := h.do("POST", "/oauth2/register", "application/json", string(body), nil)
			r.Body.Close()
			registered <- answer{r.StatusCode, r.Header}
		}()
	}
	for range 2 { // one has the only place that there is for it, and waits for the table
		got := <-registered
		if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || got.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("a registration too many: got %d %v, want 503 with Retry-After, readable by pages", got.status, got.header)
		}
	}
	status, refused := machine.token(url.Values{"grant_type": {"client_credentials"}})
	wantError(t, "a machine's token", status, refused, 503, "temporarily_unavailable")
	if r := h.do("GET", "/account/agents", "", "", nil); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("a page: got %d %v, want 503 with Retry-After", r.StatusCode, r.Header)
	}
	for range 3 {
		if r := a.revoke("unknown"); r.StatusCode != http.StatusOK {
			t.Errorf("a revocation: got %d, want 200", r.StatusCode)
		}
		status, refused = a.token(refreshment("ghr_unknown"))
		wantError(t, "refreshing an unknown token", status, refused, 400, "invalid_grant")
	}
	status, refused = machine.token(url.Values{"grant_type": {"client_credentials"}, "x": {"grant_type=refresh_token"}})
	wantError(t, "what only looks urgent", status, refused, 503, "temporarily_unavailable")
	for _, path := range []string{"/healthz", "/oauth2/jwks", "/.well-known/oauth-authorization-server", "/static/style.css"} {
		if r := h.do("GET", path, "", "", nil); r.StatusCode == http.StatusServiceUnavailable {
			t.Errorf("%s: got 503", path)
		}
	}
	must(t, writer.Rollback(t.Context()))
	if got := <-registered; got.status != http.StatusCreated {
		t.Errorf("the registration that waited: got %d, want 201", got.status)
	}
}
