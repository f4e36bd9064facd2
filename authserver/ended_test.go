package authserver_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// protected is the client of a protected server that passes nobody on.
func (h *testServer) protected(resource string) app {
	h.t.Helper()
	c, secret, err := h.Server.Operator().CreateClient(h.t.Context(),
		admin.ClientSpec{Name: "server", Resource: resource})
	must(h.t, err)
	return app{h, c.ID, secret}
}

// asks sends a form to an endpoint for clients that prove who they are.
func (a app) asks(path string, pairs ...string) (int, map[string]any) {
	a.h.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return a.h.post(path, "application/x-www-form-urlencoded", form.Encode(), basicAuth(a.ID, a.Secret))
}

func members(answer map[string]any) []string {
	var names []string
	for name := range answer {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// RFC 7662 §4, RV-08, RV-09: a protected server is told of the access tokens that are for it,
// whosever they are, and of nothing else.
func TestAProtectedServerIntrospects(t *testing.T) {
	h := startServer(t, withBilling)
	server, other := h.protected(resourceURI), h.protected(billingURI)
	a := h.register(map[string]any{"token_endpoint_auth_method": "none"})
	access, refresh := a.tokens(h.person("ann@acme.example"), "customers:read", "tickets:write")
	_, body := claims(t, access)
	status, answer := server.asks("/oauth2/introspect", "token", access)
	want := map[string]any{"active": true, "token_type": "Bearer"}
	for _, name := range []string{"scope", "scopes", "client_id", "tenant_id", "grant_id", "sub", "aud", "exp", "iat",
		"iss", "jti"} {
		want[name] = body[name]
	}
	if status != 200 || !reflect.DeepEqual(answer, want) {
		t.Errorf("a token for it: got %d %v, want %v", status, answer, want)
	}
	inactive := func(what string, who app, raw string) {
		t.Helper()
		if status, answer := who.asks("/oauth2/introspect", "token", raw); status != 200 || len(answer) != 1 ||
			answer["active"] != false {
			t.Errorf("%s: got %d %v, want only active=false", what, status, answer)
		}
	}
	inactive("a refresh token", server, refresh)
	inactive("a token for another server", other, access)
	inactive("a token for it, asked by an agent", h.machine("acme", "customers:read"), access)
	inactive("a bent token", server, access[:len(access)-2]+"AA")
	secretive := h.register(map[string]any{"token_endpoint_auth_method": "client_secret_basic"})
	own, _ := secretive.tokens(h.person("ann@acme.example"), "customers:read")
	if _, answer := secretive.asks("/oauth2/introspect", "token", own); answer["active"] != true {
		t.Errorf("a client's own token: got %v, want active", answer)
	}

	p := h.register(map[string]any{"token_endpoint_auth_method": "none"}).prover()
	bound, _ := p.bound(h.person("ann@acme.example"))
	if _, answer := server.asks("/oauth2/introspect", "token", bound); answer["token_type"] != "DPoP" ||
		!reflect.DeepEqual(answer["cnf"], map[string]any{"jkt": p.key.JKT()}) {
		t.Errorf("a bound token: got %v, want its key", answer)
	}

	keeper := h.keeper()
	mine, _ := keeper.tokens(h.person("ann@acme.example"), "customers:read")
	_, acting := keeper.token(exchanging(mine, "actor_token", mine, "actor_token_type", accessType))
	if _, answer := server.asks("/oauth2/introspect", "token", acting["access_token"].(string)); !reflect.DeepEqual(
		answer["act"], map[string]any{"sub": "usr_ann", "client_id": keeper.ID}) {
		t.Errorf("a token that is passed on: got %v, want who acts", answer)
	}

	if status, answer := a.h.post("/oauth2/revoke", "application/x-www-form-urlencoded",
		url.Values{"client_id": {a.ID}, "token": {refresh}}.Encode(), nil); status != 200 {
		t.Fatal(status, answer)
	}
	inactive("a token of an ended grant", server, access)
	h.Clock.step(11 * time.Minute)
	inactive("an expired token", server, own)
}

// A server asks as often as it needs, and no oftener.
func TestIntrospectionIsLimited(t *testing.T) {
	h := startServer(t)
	server := h.protected(resourceURI)
	for n := range 6001 {
		status, _ := server.asks("/oauth2/introspect", "token", "x")
		if want := n == 6000; (status == http.StatusTooManyRequests) != want {
			t.Fatalf("question no. %d: got %d", n+1, status)
		}
	}
	if status, _ := h.protected(resourceURI).asks("/oauth2/introspect", "token", "x"); status != 200 {
		t.Errorf("another client: got %d", status)
	}
}

// The list of ended grants is for protected servers, and holds ids and times alone.
func TestEndedGrantsAreTold(t *testing.T) {
	h := startServer(t)
	server := h.protected(resourceURI)
	a := h.register(map[string]any{"token_endpoint_auth_method": "none"})
	access, refresh := a.tokens(h.person("ann@acme.example"), "customers:read")
	_, body := claims(t, access)
	status, first := server.asks(revocation.Path)
	if status != 200 ||
		!reflect.DeepEqual(members(first), []string{"complete_for", "cursor", "ended", "mark", "more", "now",
			"whole"}) ||
		len(first["ended"].([]any)) != 0 || first["whole"] != true || first["complete_for"] != 30.0 ||
		first["now"] != float64(h.Clock.Now().Unix()) {
		t.Fatalf("got %d %v, want an empty list that is complete for half a minute", status, first)
	}
	if status, answer := h.post("/oauth2/revoke", "application/x-www-form-urlencoded",
		url.Values{"client_id": {a.ID}, "token": {refresh}}.Encode(), nil); status != 200 {
		t.Fatal(status, answer)
	}
	status, next := server.asks(revocation.Path, "after", first["cursor"].(string))
	until := float64(h.Clock.Now().Add(time.Hour + 90*time.Second).Unix())
	if want := []any{map[string]any{"grant_id": body["grant_id"], "until": until}}; status != 200 ||
		next["whole"] != false || !reflect.DeepEqual(next["ended"], want) {
		t.Errorf("after the end: got %d %v, want %v", status, next, want)
	}
	if _, again := server.asks(revocation.Path, "after", next["cursor"].(string)); len(again["ended"].([]any)) != 0 ||
		again["cursor"] != next["cursor"] {
		t.Errorf("when nothing is new: got %v", again)
	}
	if _, whole := server.asks(revocation.Path, "after", "of another list"); whole["whole"] != true ||
		len(whole["ended"].([]any)) != 1 {
		t.Errorf("an unknown cursor: got %v, want the whole list", whole)
	}
	r := h.do("POST", revocation.Path, "application/x-www-form-urlencoded", "", basicAuth(server.ID, server.Secret))
	r.Body.Close()
	if r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("got %v", r.Header)
	}

	m := h.machine("acme", "customers:read")
	for what, row := range map[string]struct {
		path, body string
		header     http.Header
		status     int
		code       string
	}{
		"nobody":          {revocation.Path, "", nil, 401, "invalid_client"},
		"a public client": {revocation.Path, "client_id=" + a.ID, nil, 401, "invalid_client"},
		"a wrong secret":  {revocation.Path, "", basicAuth(server.ID, m.Secret), 401, "invalid_client"},
		"an agent":        {revocation.Path, "", basicAuth(m.ID, m.Secret), 400, "unauthorized_client"},
		"a bearer of ann's": {revocation.Path, "", http.Header{"Authorization": {"Bearer " + access}}, 401,
			"invalid_client"},
		"a cursor twice": {revocation.Path, "after=a&after=b", basicAuth(server.ID, server.Secret), 400,
			"invalid_request"},
		"in the URL": {revocation.Path + "?after=a", "", basicAuth(server.ID, server.Secret), 400,
			"invalid_request"},
	} {
		status, answer := h.post(row.path, "application/x-www-form-urlencoded", row.body, row.header)
		wantError(t, what, status, answer, row.status, row.code)
	}
	if status, _ := h.get(revocation.Path, basicAuth(server.ID, server.Secret)); status.StatusCode != 405 ||
		status.Header.Get("Allow") != "POST" {
		t.Errorf("GET: got %d", status.StatusCode)
	}
	status, answer := server.token(url.Values{"grant_type": {"client_credentials"}})
	wantError(t, "a token for the server itself", status, answer, 400, "unauthorized_client")
	status, answer = server.token(exchanging(access))
	wantError(t, "passing somebody on", status, answer, 400, "unauthorized_client")
}

// Issuers that share a Redis tell the same list: a cursor of the one is a cursor of the other.
func TestEndedGrantsAreToldFromRedis(t *testing.T) {
	redis, prefix := testenv.Redis(t)
	h := startServer(t, func(c *authserver.Config) { c.Redis, c.RedisPrefix = config.Secret(redis), prefix })
	s, err := authserver.New(t.Context(), h.config, authserver.Deps{Now: h.Clock.Now})
	must(t, err)
	defer s.Close()
	handler := s.Handler()
	h.handler.Store(&handler)
	server := h.protected(resourceURI)
	_, first := server.asks(revocation.Path)
	m := h.machine("acme", "customers:read")
	_, granted := m.token(url.Values{"grant_type": {"client_credentials"}})
	second, err := authserver.New(t.Context(), h.config, authserver.Deps{Now: h.Clock.Now})
	must(t, err)
	defer second.Close()
	handler = second.Handler()
	if status, answer := m.asks("/oauth2/revoke", "token", granted["access_token"].(string)); status != 200 {
		t.Fatal(status, answer)
	}
	h.handler.Store(&handler)
	status, next := server.asks(revocation.Path, "after", first["cursor"].(string))
	ended := next["ended"].([]any)
	if status != 200 || next["whole"] != false || len(ended) != 2 ||
		!strings.HasPrefix(ended[1].(map[string]any)["grant_id"].(string), "grt_") {
		// the first says whose revocation it is
		t.Errorf("the other issuer: got %d %v, want the end", status, next)
	}
}

// A protected server with 100,000 ended grants to read, as its own program does it.
func TestALongListOverHTTP(t *testing.T) {
	h := startServer(t)
	server := h.protected(resourceURI)
	for i := range 100_000 {
		must(t, h.List.Add(t.Context(), fmt.Sprintf("grt_%026d", i), h.Clock.Now().Add(time.Hour)))
	}
	feed := &revocation.HTTP{URL: h.URL + revocation.Path, ClientID: server.ID,
		ClientSecret: config.Secret(server.Secret), Client: http.DefaultClient}
	r := revocation.NewReplica(revocation.ReplicaOptions{Feed: feed, Now: h.Clock.Now})
	start := time.Now()
	must(t, r.CatchUp(t.Context()))
	t.Logf("100,000 ended grants over HTTP: read in %s", time.Since(start).Round(time.Millisecond))
	if ended, err := r.Ended(t.Context(), fmt.Sprintf("grt_%026d", 99_999)); r.Size() != 100_000 || !ended ||
		err != nil {
		t.Errorf("got %d grants, and the last %v %v", r.Size(), ended, err)
	}
	feed.ClientSecret = "wrong"
	if err := r.CatchUp(t.Context()); !errors.Is(err, revocation.ErrUnknown) ||
		strings.Contains(err.Error(), server.Secret) {
		t.Errorf("a wrong secret: got %v, want ErrUnknown", err)
	}
}
