package authserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

// manage asks the client configuration endpoint.
func (h *testServer) manage(method, id, token, body string) (int, map[string]any) {
	h.t.Helper()
	header, kind := http.Header{}, ""
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		kind = "application/json"
	}
	r := h.do(method, "/oauth2/register/"+id, kind, body, header)
	defer r.Body.Close()
	answer := map[string]any{}
	if r.StatusCode != http.StatusNoContent {
		must(h.t, json.NewDecoder(r.Body).Decode(&answer))
	}
	h.explained(answer)
	if got := r.Header.Get("Cache-Control"); got != "no-store" {
		h.t.Errorf("%s: Cache-Control %q, want no-store", method, got)
	}
	return r.StatusCode, answer
}

// DR-08, DR-10, DR-11, DR-15, DR-18: RFC 7592.
func TestAClientManagesItsRegistration(t *testing.T) {
	h := startServer(t)
	_, made := h.post("/oauth2/register", "application/json",
		`{"client_name":"Mine","redirect_uris":["`+callback+
			`"],"client_id":"chosen","registration_access_token":"chosen","tenant_id":"acme","skip_consent":true}`, nil)
	id, token := made["client_id"].(string), made["registration_access_token"].(string)
	if id == "chosen" || token == "chosen" || made["registration_client_uri"] != h.URL+"/oauth2/register/"+id ||
		made["tenant_id"] != nil || made["skip_consent"] != nil {
		t.Fatalf("registered %v", made)
	}
	other := h.register(map[string]any{})
	a := app{h: h, ID: id}
	ann := h.person("ann@acme.example")
	access, refresh := a.tokens(ann, "customers:read")
	_, body := claims(t, access)

	status, read := h.manage("GET", id, token, "")
	if status != 200 || read["client_name"] != "Mine" || read["registration_access_token"] != nil ||
		read["client_secret"] != nil {
		t.Errorf("reading: got %d %v", status, read)
	}
	for name, row := range map[string]struct{ id, token string }{
		"another client's": {other.ID, token}, "a guess": {id, "ghm_guess"}, "none": {id, ""},
		"of nobody": {"cli_nobody", token}, "an access token": {id, access},
	} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			if status, answer := h.manage(method, row.id, row.token,
				map[string]string{"PUT": "{}"}[method]); status != 401 || answer["error"] != "invalid_token" {
				t.Errorf("%s with the token: %s: got %d %v, want 401 invalid_token", method, name, status, answer)
			}
		}
	}

	// anyone who registers could write for ever otherwise
	busy := startServer(t, func(c *authserver.Config) { c.RegistrationsPerHour = 3 })
	_, made = busy.post("/oauth2/register", "application/json", `{"redirect_uris":["`+callback+`"]}`, nil)
	for i, want := range []int{200, 200, 429} {
		if status, _ := busy.manage("PUT", made["client_id"].(string), made["registration_access_token"].(string),
			`{"client_id":"`+made["client_id"].(string)+`","redirect_uris":["`+callback+`"]}`); status != want {
			t.Errorf("change %d: got %d, want %d", i+1, status, want)
		}
	}
	same, err := json.Marshal(read) // DR-11
	must(t, err)
	if status, answer := h.manage("PUT", id, token, string(same)); status != 200 ||
		fmt.Sprint(answer) != fmt.Sprint(read) {
		t.Errorf("writing what was read: got %d\n%v, want\n%v", status, answer, read)
	}
	for what, change := range map[string]string{
		"another id": `{"client_id":"cli_x","redirect_uris":["` + callback + `"]}`,
		"no id":      `{"redirect_uris":["` + callback + `"]}`,
		"a script":   `{"client_id":"` + id + `","redirect_uris":["javascript:alert(1)"]}`,
		"another method": `{"client_id":"` + id + `","redirect_uris":["` + callback +
			`"],"token_endpoint_auth_method":"client_secret_basic"}`,
		"a machine": `{"client_id":"` + id + `","grant_types":["client_credentials"]}`, "half": `{"client_id":`,
	} {
		if status, answer := h.manage("PUT", id, token, change); status != 400 {
			t.Errorf("changing to %s: got %d %v, want 400", what, status, answer)
		}
	}
	status, answer := h.manage("PUT", id, token,
		`{"client_id":"`+id+`","client_name":"Renamed","redirect_uris":["https://app.example/other"]}`)
	if status != 200 || answer["client_name"] != "Renamed" {
		t.Errorf("changing: got %d %v", status, answer)
	}
	if at := ann.open("/oauth2/authorize?" + a.authorization("customers:read").Encode()); at.status != 400 ||
		at.away != nil {
		t.Errorf("with the redirect that it had: got %d to %v, want a page", at.status, at.away)
	}

	if status, _ = h.manage("DELETE", id, token, ""); status != 204 {
		t.Errorf("deleting: got %d, want 204", status)
	}
	status, answer = a.token(refreshment(refresh))
	wantError(t, "renewing afterwards", status, answer, 401, "invalid_client")
	if ended, err := h.List.Ended(context.Background(), body["grant_id"].(string)); !ended || err != nil {
		t.Errorf("its grant: ended %v %v, want true", ended, err)
	}
	if status, _ = h.manage("GET", id, token, ""); status != 401 {
		t.Errorf("reading afterwards: got %d, want 401", status)
	}
}

// DR-17, AS-10
func TestWhoMayRegister(t *testing.T) {
	const app = `{"redirect_uris":["` + callback + `"]}`
	gated := startServer(t, func(c *authserverConfig) { c.Registration = "token" })
	initial, err := gated.Server.Operator().CreateInitialToken(context.Background(),
		authserver.InitialTokenSpec{Tenant: "acme", Uses: 1})
	must(t, err)
	bearer := http.Header{"Authorization": {"Bearer " + initial}}
	for _, row := range []struct {
		name   string
		header http.Header
		status int
	}{{"without token", nil, 401}, {"with a guess", http.Header{"Authorization": {"Bearer ghi_guess"}}, 401},
		{"with a token", bearer, 201}, {"with a token that is used up", bearer, 401}} {
		if status, answer := gated.post("/oauth2/register", "application/json", app, row.header); status != row.status {
			t.Errorf("%s: got %d %v, want %d", row.name, status, answer, row.status)
		}
	}
	closed := startServer(t, func(c *authserverConfig) { c.Registration = "closed" })
	if r := closed.do("POST", "/oauth2/register", "application/json", app, nil); r.StatusCode != 404 {
		t.Errorf("closed: got %d, want 404", r.StatusCode)
	}
	if _, body := closed.get("/.well-known/oauth-authorization-server", nil); strings.Contains(string(body),
		"registration_endpoint") {
		t.Errorf("closed: the metadata name an endpoint: %s", body)
	}
}

// DR-12: room for new clients is made by those that nobody authorized, never by one in use; and
// those go by themselves after an hour.
func TestClientsThatNobodyLetIn(t *testing.T) {
	ctx := context.Background()
	h := startServer(t, func(c *authserverConfig) { c.MaxClients = 3 })
	used := h.register(map[string]any{})
	h.Clock.step(time.Second)
	second := h.register(map[string]any{})
	h.Clock.step(time.Second)
	ann := h.person("ann@acme.example")
	_, refresh := used.tokens(ann, "customers:read")
	third := h.register(map[string]any{})
	fourth := h.register(map[string]any{}) // for which the second goes
	if _, err := h.Store.Client(ctx, second.ID); err == nil {
		t.Error("the oldest that nobody authorized is still there")
	}
	third.tokens(ann, "customers:read")
	fourth.tokens(ann, "customers:read")
	r := h.do("POST", "/oauth2/register", "application/json", `{"redirect_uris":["`+callback+`"]}`, nil)
	r.Body.Close()
	if r.StatusCode != 503 || r.Header.Get("Retry-After") != "" { // nobody can tell when there is room
		t.Errorf("with all in use: got %d %v, want 503 without Retry-After", r.StatusCode, r.Header)
	}
	if !used.alive(refresh) {
		t.Error("a client in use is gone")
	}
	at := ann.open("/oauth2/authorize?" + second.authorization("customers:read").Encode())
	if at.status != 400 || !strings.Contains(at.body, "connect again") {
		t.Errorf("a client that is gone: got %d %.300s, want it told to connect again", at.status, at.body)
	}
}

func TestClientsAreForgottenInTime(t *testing.T) {
	ctx := context.Background()
	h := startServer(t)
	const idle = 90 * 24 * time.Hour
	fresh, used := h.register(map[string]any{}), h.register(map[string]any{})
	m := h.machine("acme", "customers:read")
	used.tokens(h.person("ann@acme.example"), "customers:read")
	there := func(a app) bool { _, err := h.Store.Client(ctx, a.ID); return err == nil }
	h.Clock.step(59 * time.Minute)
	h.clean()
	if !there(fresh) {
		t.Error("gone within the hour")
	}
	h.Clock.step(2 * time.Minute)
	h.clean()
	if there(fresh) || !there(used) || !there(m) {
		t.Errorf("after the hour: never used %v, used %v, operator's %v; want only the first gone", there(fresh),
			there(used), there(m))
	}
	h.Clock.step(16 * 24 * time.Hour) // its refresh token is over, and so its grant
	h.clean()
	h.Clock.step(idle - time.Hour)
	h.clean()
	if !there(used) {
		t.Error("gone before its time")
	}
	h.Clock.step(2 * time.Hour)
	h.clean()
	if there(used) || !there(m) {
		t.Errorf("after its time: used %v, operator's %v; want only the first gone", there(used), there(m))
	}
	h.start() // another process did the cleaning: this one may remember the client for a second
	status, answer := used.token(refreshment("ghr_x"))
	wantError(t, "a client that is gone", status, answer, 401, "invalid_client") // so that it registers again
}
