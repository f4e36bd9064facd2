package authserver_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// push sends the client's request ahead.
func (a app) push(form url.Values) (int, map[string]any) {
	a.h.t.Helper()
	header := http.Header{}
	if a.Secret != "" {
		r, _ := http.NewRequest(http.MethodPost, "http://unused", nil)
		r.SetBasicAuth(a.ID, a.Secret)
		header = r.Header
	}
	return a.h.post("/oauth2/par", "application/x-www-form-urlencoded", form.Encode(), header)
}

// pushed is what a browser carries afterwards.
func (a app) pushed(scopes ...string) url.Values {
	a.h.t.Helper()
	status, answer := a.push(a.authorization(scopes...))
	if status != 201 || answer["expires_in"] != 90.0 {
		a.h.t.Fatalf("pushing: got %d %v, want 201", status, answer)
	}
	return url.Values{"client_id": {a.ID}, "request_uri": {answer["request_uri"].(string)}}
}

// RFC 9126, for clients with and without a secret.
func TestPushedRequests(t *testing.T) {
	h := openHouse(t)
	if _, body := h.get("/.well-known/oauth-authorization-server", nil); !strings.Contains(string(body), `"pushed_authorization_request_endpoint":"`+h.URL+`/oauth2/par"`) {
		t.Errorf("the metadata do not say where to push: %s", body)
	}
	ann := h.person("ann@acme.example")
	for _, method := range []string{"none", "client_secret_basic"} {
		a := h.register(map[string]any{"token_endpoint_auth_method": method})
		q := ann.approve(a.pushed("customers:read"))
		if q.Get("state") != "state-123" || q.Get("iss") != h.URL {
			t.Errorf("%s: came back with %v", method, q)
		}
		if status, answer := a.token(redemption(q.Get("code"))); status != 200 || answer["scope"] != "customers:read" {
			t.Errorf("%s: got %d %v", method, status, answer)
		}
	}

	// PA-03: what the browser brings beside the name does not count.
	a := h.register(map[string]any{})
	request := a.pushed("customers:read")
	for name, value := range map[string]string{
		"redirect_uri": "https://evil.example/cb", "scope": "customers:write", "state": "evil", "code_challenge": challengeOf("evil"), "resource": "https://evil.example",
	} {
		request.Set(name, value)
	}
	q := ann.approve(request)
	if status, answer := a.token(redemption(q.Get("code"))); q.Get("state") != "state-123" || status != 200 || answer["scope"] != "customers:read" {
		t.Errorf("PA-03: %v, then %d %v; want what was pushed", q, status, answer)
	}

	// PA-01: used once, however many come at once.
	request = a.pushed("customers:read")
	var flows atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			r, _ := h.get("/oauth2/authorize?"+request.Encode(), nil)
			if r.StatusCode == http.StatusSeeOther {
				flows.Add(1)
			}
		})
	}
	wg.Wait()
	if flows.Load() != 1 {
		t.Errorf("PA-01: %d flows began, want 1", flows.Load())
	}
	if r, body := h.get("/oauth2/authorize?"+request.Encode(), nil); r.StatusCode != 400 || r.Header.Get("Location") != "" || !strings.Contains(string(body), "Start again") {
		t.Errorf("PA-01, afterwards: got %d %v", r.StatusCode, r.Header)
	}

	// PA-02: another client's id neither opens it nor uses it up.
	request, other := a.pushed("customers:read"), h.register(map[string]any{})
	stolen := url.Values{"client_id": {other.ID}, "request_uri": request["request_uri"]}
	if r, _ := h.get("/oauth2/authorize?"+stolen.Encode(), nil); r.StatusCode != 400 {
		t.Errorf("PA-02: got %d, want 400", r.StatusCode)
	}
	if ann.approve(request).Get("code") == "" {
		t.Error("PA-02: another client used up the request")
	}

	// PA-04: the lifetime is held by the store.
	request = a.pushed("customers:read")
	h.Clock.step(91 * time.Second)
	if r, _ := h.get("/oauth2/authorize?"+request.Encode(), nil); r.StatusCode != 400 {
		t.Errorf("PA-04, expired: got %d, want 400", r.StatusCode)
	}
}

// PA-04: pushing is refused as authorizing is, but to the client itself.
func TestPushingWhatDoesNotHold(t *testing.T) {
	h := openHouse(t)
	a := h.register(map[string]any{})
	confidential := h.register(map[string]any{"token_endpoint_auth_method": "client_secret_basic"})
	for _, c := range []struct {
		what, name, value string
		status            int
		code              string
	}{
		{"a request_uri", "request_uri", "urn:ietf:params:oauth:request_uri:x", 400, "invalid_request"},
		{"a request object", "request", "e30.e30.", 400, "request_not_supported"},
		{"a foreign redirect URI", "redirect_uri", "https://evil.example/cb", 400, "invalid_request"},
		{"no PKCE", "code_challenge", "", 400, "invalid_request"},
		{"an unknown scope", "scope", "admin", 400, "invalid_scope"},
		{"a foreign resource", "resource", "https://evil.example", 400, "invalid_target"},
		{"an unknown client", "client_id", "cli_nobody", 401, "invalid_client"},
		{"a confidential client without its secret", "client_id", confidential.ID, 401, "invalid_client"},
		{"too much", "state", strings.Repeat("s", 17<<10), 413, "invalid_request"},
	} {
		form := a.authorization("customers:read")
		form.Set(c.name, c.value)
		status, answer := a.push(form)
		wantError(t, c.what, status, answer, c.status, c.code)
	}
	// AZ-20: an address is not a name of ours, and nobody fetches it.
	request := a.authorization("customers:read")
	request.Set("request_uri", "https://evil.example/request")
	if got := h.person("ann@acme.example").open("/oauth2/authorize?" + request.Encode()).away; got == nil || got.Query().Get("error") != "request_uri_not_supported" {
		t.Errorf("an address: got %v", got)
	}
}
