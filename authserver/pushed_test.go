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
	h := startServer(t)
	if _, body := h.get("/.well-known/oauth-authorization-server", nil); !strings.Contains(string(body),
		`"pushed_authorization_request_endpoint":"`+h.URL+`/oauth2/par"`) {
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
		"redirect_uri": "https://evil.example/cb", "scope": "customers:write", "state": "evil",
		"code_challenge": challengeOf("evil"), "resource": "https://evil.example",
	} {
		request.Set(name, value)
	}
	q := ann.approve(request)
	if status, answer := a.token(redemption(q.Get("code"))); q.Get("state") != "state-123" || status != 200 ||
		answer["scope"] != "customers:read" {
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
	if r, body := h.get("/oauth2/authorize?"+request.Encode(), nil); r.StatusCode != 400 ||
		r.Header.Get("Location") != "" || !strings.Contains(string(body), "Start again") {
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
	h := startServer(t)
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
		{"too much", "x", strings.Repeat("s", 33<<10), 413, "invalid_request"},
		{"too long a state", "state", strings.Repeat("s", 8193), 400, "invalid_request"},
	} {
		form := a.authorization("customers:read")
		form.Set(c.name, c.value)
		status, answer := a.push(form)
		wantError(t, c.what, status, answer, c.status, c.code)
	}
	// AZ-20: an address is not a name of ours, and nobody fetches it.
	request := a.authorization("customers:read")
	request.Set("request_uri", "https://evil.example/request")
	if got := h.person("ann@acme.example").open("/oauth2/authorize?" + request.Encode()).away; got == nil ||
		got.Query().Get("error") != "request_uri_not_supported" {
		t.Errorf("an address: got %v", got)
	}
}

// RFC 9126 §6: a client that has said that it pushes its requests is not believed to have sent one
// that it did not push.
func TestAClientThatAlwaysPushes(t *testing.T) {
	h := startServer(t)
	ann := h.person("ann@acme.example")
	_, made := h.post("/oauth2/register", "application/json",
		`{"redirect_uris":["`+callback+`"],"require_pushed_authorization_requests":true}`, nil)
	if made["require_pushed_authorization_requests"] != true {
		t.Fatalf("registering: got %v, want it said", made)
	}
	id, token := made["client_id"].(string), made["registration_access_token"].(string)
	a := app{h: h, ID: id}
	refused := func(what string, request url.Values) {
		t.Helper()
		at := ann.open("/oauth2/authorize?" + request.Encode())
		if at.away == nil || at.away.Query().Get("error") != "invalid_request" ||
			at.away.Query().Get("state") != "state-123" || at.away.Query().Get("code") != "" {
			t.Errorf("%s: got %d to %v, want invalid_request at the application", what, at.status, at.away)
		}
	}
	plain := a.authorization("customers:read")
	refused("unpushed", plain)
	for _, value := range []string{"none", "client_secret_basic"} {
		plain.Set("gatehouse_pushed_by", value)
		refused("a browser that says it was pushed", plain)
	}
	if q := ann.approve(a.pushed("customers:read")); q.Get("code") == "" {
		t.Errorf("pushed: got %v, want a code", q)
	}
	// It changes its mind, by RFC 7592.
	if status, read := h.manage("GET", id, token, ""); status != 200 ||
		read["require_pushed_authorization_requests"] != true {
		t.Errorf("reading: got %d %v", status, read)
	}
	if status, read := h.manage("PUT", id, token, `{"client_id":"`+id+`","redirect_uris":["`+callback+
		`"]}`); status != 200 || read["require_pushed_authorization_requests"] != nil {
		t.Errorf("changing: got %d %v", status, read)
	}
	if q := ann.approve(a.authorization("customers:read")); q.Get("code") == "" {
		t.Errorf("unpushed, afterwards: got %v, want a code", q)
	}
}

// A client that is known by a document may say so too, and can push before anybody has read it,
// when it proves nothing by pushing.
func TestADocumentThatAlwaysPushes(t *testing.T) {
	p := newPublisher(t)
	p.publish("require_pushed_authorization_requests", true)
	h := startServer(t)
	h.documents = p.fetcher
	h.start()
	ann, a := h.person("ann@acme.example"), app{h: h, ID: documentURL}
	request := a.pushed("customers:read")
	if p.fetched() != 0 {
		t.Error("the document was fetched before anybody had signed in")
	}
	q := ann.approve(request)
	if status, answer := a.token(redemption(q.Get("code"))); status != 200 {
		t.Errorf("got %v, then %d %v", q, status, answer)
	}
	at := ann.open("/oauth2/authorize?" + a.authorization("customers:read").Encode())
	if at.status != 400 || !strings.Contains(at.body, "error=invalid_request") {
		t.Errorf("unpushed: got %d %.600s, want a page that leads back with invalid_request", at.status, at.body)
	}

	// One with a key must push with it: what was pushed without counts as not pushed.
	p.publish("token_endpoint_auth_method", "private_key_jwt")
	p.publish("jwks_uri", "https://example.com/jwks")
	h = startServer(t)
	h.documents = p.fetcher
	h.start()
	ann, a = h.person("ann@acme.example"), app{h: h, ID: documentURL}
	at = ann.open("/oauth2/authorize?" + a.pushed("customers:read").Encode())
	at = ann.submit(at, url.Values{"email": {ann.email}, "password": {password}})
	if at.status != 400 || !strings.Contains(at.body, "error=invalid_request") {
		t.Errorf("pushed without its key: got %d at %v %.600s, want a page that leads back with invalid_request",
			at.status, at.url, at.body)
	}
	status, answer := a.push(a.authorization("customers:read"))
	wantError(t, "and once it is known", status, answer, 401, "invalid_client")
	unknown := app{h: h, ID: "https://example.com/../client.json"}
	status, answer = unknown.push(unknown.authorization("customers:read"))
	wantError(t, "an address that can be no document's", status, answer, 401, "invalid_client")
}
