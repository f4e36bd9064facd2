package authserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/cimd"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// E7: what keeps running agents going comes before registrations, sign-ins and machine tokens; who
// has no turn is told so within a second.
func TestUrgentRequestsAreServedWhileOthersAreTooMany(t *testing.T) {
	h := startServer(t, func(c *authserver.Config) {
		c.MaxInFlight, c.Database = 4, testenv.Postgres(t)
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
		if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" ||
			got.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("a registration too many: got %d %v, want 503 with Retry-After, readable by pages", got.status,
				got.header)
		}
	}
	status, refused := machine.token(url.Values{"grant_type": {"client_credentials"}})
	wantError(t, "a machine's token", status, refused, 503, "temporarily_unavailable")
	if r := h.do("GET", "/account/agents", "", "", nil); r.StatusCode != http.StatusServiceUnavailable ||
		r.Header.Get("Retry-After") == "" {
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
	for _, path := range []string{"/healthz", "/oauth2/jwks", "/.well-known/oauth-authorization-server",
		"/static/style.css"} {
		if r := h.do("GET", path, "", "", nil); r.StatusCode == http.StatusServiceUnavailable {
			t.Errorf("%s: got 503", path)
		}
	}
	must(t, writer.Rollback(t.Context()))
	if got := <-registered; got.status != http.StatusCreated {
		t.Errorf("the registration that waited: got %d, want 201", got.status)
	}
}

// Seventy requests whose client's keys are being fetched from a host that does not answer took
// every place: refreshing stopped for everybody. One fetches, and few wait for it.
func TestKeysThatDoNotComeTakeNoPlaces(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	fetcher := cimd.NewFetcher(nil)
	fetcher.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("93.184.216.34")}, nil
	}
	fetcher.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
		close(asked)
		<-release
		return nil, errors.New("no answer")
	}
	h := startServer(t)
	h.documents = fetcher
	h.start()
	a := h.register(map[string]any{})
	_, refresh := a.tokens(h.person("ann@acme.example"), "customers:read")
	status, made := h.post("/oauth2/register", "application/json",
		`{"redirect_uris":["`+callback+
			`"],"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://evil.example/jwks"}`, nil)
	if status != http.StatusCreated {
		t.Fatalf("got %d %v", status, made)
	}
	id := made["client_id"].(string)
	form := url.Values{"token": {"x"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}
	form.Set("client_assertion", encode(`{"alg":"ES256","typ":"jwt","kid":"k"}`)+"."+
		encode(`{"iss":"`+id+`","sub":"`+id+`"}`)+"."+encode("signature"))
	const many = 70
	answered := make(chan struct{}, many)
	for range many {
		go func() {
			h.do("POST", "/oauth2/revoke", urlencoded, form.Encode(), nil).Body.Close()
			answered <- struct{}{}
		}()
	}
	<-asked
	for range many - 20 { // the others may wait
		<-answered
	}
	if status, answer := a.token(refreshment(refresh)); status != http.StatusOK {
		t.Errorf("refreshing meanwhile: got %d %v, want 200", status, answer)
	}
	close(release)
	for range 20 {
		<-answered
	}
}
