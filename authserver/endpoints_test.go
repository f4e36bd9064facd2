package authserver_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

func (h *testServer) get(path string, header http.Header) (*http.Response, []byte) {
	h.t.Helper()
	r := h.do(http.MethodGet, path, "", "", header)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	must(h.t, err)
	return r, body
}

// MD-01, MD-02, MD-05: metadata say what is true, whatever Host a request names, and may be kept.
func TestMetadata(t *testing.T) {
	h := startServer(t)
	var bodies []string
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		r, body := h.get(path, http.Header{"Origin": {"https://anybody.example"}, "X-Forwarded-Host": {"evil.example"},
			"Forwarded": {"host=evil.example"}})
		if r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/json" ||
			r.Header.Get("Access-Control-Allow-Origin") != "*" ||
			!strings.Contains(r.Header.Get("Cache-Control"), "max-age=") || r.Header.Get("ETag") == "" {
			t.Errorf("%s: got %d %v", path, r.StatusCode, r.Header)
		}
		var m struct {
			Issuer     string   `json:"issuer"`
			Authorize  string   `json:"authorization_endpoint"`
			Grants     []string `json:"grant_types_supported"`
			Challenges []string `json:"code_challenge_methods_supported"`
			Responses  []string `json:"response_types_supported"`
			ISS        bool     `json:"authorization_response_iss_parameter_supported"`
		}
		must(t, json.Unmarshal(body, &m))
		if m.Issuer != h.URL || m.Authorize != h.URL+"/oauth2/authorize" ||
			!slices.Equal(m.Challenges, []string{"S256"}) || !slices.Equal(m.Responses, []string{"code"}) || !m.ISS {
			t.Errorf("%s: got %s", path, body)
		}
		if !slices.Equal(m.Grants, []string{"authorization_code", "refresh_token", "client_credentials",
			"urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange",
			"urn:ietf:params:oauth:grant-type:jwt-bearer"}) || strings.Contains(string(body), "evil.example") {
			t.Errorf("%s: got %s", path, body)
		}
		bodies = append(bodies, string(body))
		again, _ := h.get(path, http.Header{"If-None-Match": {r.Header.Get("ETag")}})
		if again.StatusCode != http.StatusNotModified {
			t.Errorf("%s with its ETag: got %d, want 304", path, again.StatusCode)
		}
	}
	// Clients of MCP ask for every scope that they find: who somebody is, they do not find
	// (clients.md 2.2 no. 6).
	if bodies[0] != strings.Replace(bodies[1], `"openid","profile","email",`, "", 1) || bodies[0] == bodies[1] {
		t.Errorf("the two documents differ by more than the scopes of identity:\n%s\n%s", bodies[0], bodies[1])
	}
	r, body := h.get("/oauth2/jwks", nil)
	if _, err := token.ParseKeySet(body); err != nil ||
		!strings.Contains(r.Header.Get("Cache-Control"), "max-age=300") || r.Header.Get("ETag") == "" {
		t.Errorf("the key set: %v %v", err, r.Header)
	}
}

// What a stranger sends wrongly is refused by the RFC's code, never with a 5xx, and nothing
// changes.
func TestBadInput(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	m := h.machine("acme", "customers:read")
	ann := h.person("ann@acme.example")
	code := a.code(ann, "customers:read")
	form := func(pairs ...string) string {
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Add(pairs[i], pairs[i+1])
		}
		return v.Encode()
	}
	const urlencoded, jsonType = "application/x-www-form-urlencoded", "application/json"
	good := redemption(code)
	good.Set("client_id", a.ID)
	with := func(name, value string) string {
		v := clone(good)
		v.Set(name, value)
		return v.Encode()
	}
	credentials := basicAuth(m.ID, m.Secret)
	for _, row := range []struct {
		name, path, kind, body string
		header                 http.Header
		status                 int
		code                   string
	}{
		{"no body", "/oauth2/token", urlencoded, "", nil, 400, "invalid_request"},
		{"JSON", "/oauth2/token", jsonType, `{"grant_type":"authorization_code"}`, nil, 400, "invalid_request"},
		{"broken encoding", "/oauth2/token", urlencoded, "grant_type=%zz", nil, 400, "invalid_request"},
		{"not UTF-8", "/oauth2/token", urlencoded, "grant_type=%ff", nil, 400, "invalid_request"},
		{"semicolons", "/oauth2/token", urlencoded, "grant_type=client_credentials;client_id=x", nil, 400,
			"invalid_request"},
		{"too large", "/oauth2/token", urlencoded, strings.Repeat("a", 1<<20+1), nil, 413, "invalid_request"},
		{"a thousand parameters", "/oauth2/token", urlencoded, strings.Repeat("a=1&", 5) + thousand(), nil, 400,
			"invalid_request"},
		{"unknown grant type", "/oauth2/token", urlencoded, with("grant_type", "password"), nil, 400,
			"unsupported_grant_type"},
		{"no client", "/oauth2/token", urlencoded, form("grant_type", "client_credentials"), nil, 401,
			"invalid_client"},
		{"unknown client", "/oauth2/token", urlencoded, with("client_id", "cli_nobody"), nil, 401, "invalid_client"},
		{"another client", "/oauth2/token", urlencoded,
			func() string { v := clone(good); v.Del("client_id"); return v.Encode() }(), credentials, 400,
			"unauthorized_client"},
		{"unknown code", "/oauth2/token", urlencoded, with("code", "ghc_guess"), nil, 400, "invalid_grant"},
		{"no code", "/oauth2/token", urlencoded, with("code", ""), nil, 400, "invalid_request"},
		{"another redirect", "/oauth2/token", urlencoded, with("redirect_uri", "https://evil.example/cb"), nil, 400,
			"invalid_grant"},
		{"another resource", "/oauth2/token", urlencoded, with("resource", "https://evil.example"), nil, 400,
			"invalid_target"},
		{"a resource that is none", "/oauth2/token", urlencoded, with("resource", "not a URI"), nil, 400,
			"invalid_target"},
		{"a wider scope", "/oauth2/token", urlencoded, with("scope", "customers:read customers:write"), nil, 400,
			"invalid_scope"},
		{"a scope that is none", "/oauth2/token", urlencoded, with("scope", "\""), nil, 400, "invalid_scope"},
		{"broken Basic", "/oauth2/token", urlencoded, form("grant_type", "client_credentials"),
			http.Header{"Authorization": {"Basic !!!"}}, 401, "invalid_client"},
		{"two Authorization headers", "/oauth2/token", urlencoded, form("grant_type", "client_credentials"),
			http.Header{"Authorization": {"Basic eDp5", "Basic eDp5"}}, 400, "invalid_request"},
		{"revoking nothing", "/oauth2/revoke", urlencoded, form(), credentials, 400, "invalid_request"},
		{"revoking as nobody", "/oauth2/revoke", urlencoded, form("token", "x"), nil, 401, "invalid_client"},
		{"introspecting as nobody", "/oauth2/introspect", urlencoded, form("token", "x"), nil, 401, "invalid_client"},
		{"introspecting as a public client", "/oauth2/introspect", urlencoded, form("token", "x", "client_id", a.ID),
			nil, 401, "invalid_client"},
		{"registering with a form", "/oauth2/register", urlencoded, form("client_name", "x"), nil, 415,
			"invalid_client_metadata"},
		{"registering an array", "/oauth2/register", jsonType, "[]", nil, 400, "invalid_client_metadata"},
		{"registering half", "/oauth2/register", jsonType, `{"redirect_uris":["https://x.example/cb"]`, nil, 400,
			"invalid_client_metadata"},
		{"registering twice in one", "/oauth2/register", jsonType, `{"redirect_uris":["https://x.example/cb"]}{}`, nil,
			400, "invalid_client_metadata"},
		{"a member twice", "/oauth2/register", jsonType,
			`{"redirect_uris":["https://x.example/cb"],"redirect_uris":["https://evil.example/cb"]}`, nil, 400,
			"invalid_client_metadata"},
		{"a number for a name", "/oauth2/register", jsonType,
			`{"redirect_uris":["https://x.example/cb"],"client_name":7}`, nil, 400, "invalid_client_metadata"},
		{"no redirect", "/oauth2/register", jsonType, `{}`, nil, 400, "invalid_redirect_uri"},
		{"a script for a redirect", "/oauth2/register", jsonType, `{"redirect_uris":["javascript:alert(1)"]}`, nil, 400,
			"invalid_redirect_uri"},
		{"plain http for a redirect", "/oauth2/register", jsonType, `{"redirect_uris":["http://evil.example/cb"]}`, nil,
			400, "invalid_redirect_uri"},
		{"a machine without its tenant", "/oauth2/register", jsonType, `{"grant_types":["client_credentials"]}`, nil,
			400, "invalid_client_metadata"},
		{"a guessed initial token", "/oauth2/register", jsonType, `{"grant_types":["client_credentials"]}`,
			http.Header{"Authorization": {"Bearer ghi_guess"}}, 401, "invalid_token"},
		{"an endless registration", "/oauth2/register", jsonType, `{"client_name":"` + strings.Repeat("a", 1<<20) +
			`"}`, nil, 413, "invalid_client_metadata"},
	} {
		t.Run(row.name, func(t *testing.T) {
			status, answer := h.post(row.path, row.kind, row.body, row.header)
			wantError(t, row.name, status, answer, row.status, row.code)
			if row.status < 500 && answer["error_description"] == "" {
				t.Error("it does not say what was wrong")
			}
		})
	}
	if h.Log.Contains(code) || h.Log.Contains(m.Secret) || h.Log.Contains(verifier) {
		t.Error("the log holds a secret")
	}
	if status, answer := h.post("/oauth2/token", urlencoded, good.Encode(), nil); status != 200 {
		t.Errorf("afterwards the honest client: got %d %v, want 200: nothing was consumed", status, answer)
	}
}

func thousand() string {
	v := url.Values{}
	for i := range 1000 {
		v.Set("p"+strings.Repeat("x", i%10)+string(rune('a'+i%26))+strings.Repeat("y", i/260)+strings.Repeat("z",
			i/26%10), "1")
	}
	return v.Encode()
}

// AZ-01, AZ-06, AZ-07, AZ-09, AZ-10, AZ-13, AZ-14, AZ-16, AZ-19, AZ-20, AZ-22, AZ-24, AZ-38, AZ-39,
// AS-16: who gets an answer by redirect, and who a page.
func TestAuthorizationRequests(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	bend := func(name string, values ...string) string {
		v := a.authorization("customers:read")
		v[name] = values
		if len(values) == 0 {
			v.Del(name)
		}
		return v.Encode()
	}
	for _, row := range []struct {
		name, query string
		page        int    // the status of a page of ours; 0: a redirect
		code        string // the redirect's error
	}{
		{"good", bend("state", "s"), 0, ""},
		{"without state", bend("state"), 0, ""},
		{"without resource", bend("resource"), 0, ""},
		{"without scope", bend("scope"), 0, ""},
		{"foreign redirect", bend("redirect_uri", "https://evil.example/cb"), 400, ""},
		{"no redirect", bend("redirect_uri"), 400, ""},
		{"two redirects", bend("redirect_uri", callback, "https://evil.example/cb"), 400, ""},
		{"unknown client", bend("client_id", "cli_nobody"), 400, ""},
		{"no client", bend("client_id"), 400, ""},
		{"two clients", bend("client_id", a.ID, "cli_other"), 400, ""},
		{"two scopes", bend("scope", "customers:read", "customers:write"), 0, "invalid_request"},
		{"two challenges", bend("code_challenge", challengeOf(verifier), "x"), 0, "invalid_request"},
		{"no challenge", bend("code_challenge"), 0, "invalid_request"},
		{"plain", bend("code_challenge_method", "plain"), 0, "invalid_request"},
		{"no method", bend("code_challenge_method"), 0, "invalid_request"},
		{"a short challenge", bend("code_challenge", "short"), 0, "invalid_request"},
		{"implicit", bend("response_type", "token"), 0, "unsupported_response_type"},
		{"hybrid", bend("response_type", "code id_token"), 0, "unsupported_response_type"},
		{"fragment", bend("response_mode", "fragment"), 0, "invalid_request"},
		{"foreign resource", bend("resource", "https://evil.example/mcp"), 0, "invalid_target"},
		{"two resources", bend("resource", resourceURI, "https://evil.example/mcp"), 0, "invalid_target"},
		{"unknown scope", bend("scope", "admin"), 0, "invalid_scope"},
		{"a request object", bend("request", "eyJhbGciOiJub25lIn0.e30."), 0, "request_not_supported"},
		{"prompt none", bend("prompt", "none"), 0, "login_required"},
		{"an endless state", bend("state", strings.Repeat("s", 8193)), 400, ""},
		{"an endless query", bend("x", strings.Repeat("s", 40_000)), 414, ""},
		{"broken encoding", "client_id=%zz", 400, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, body := h.get("/oauth2/authorize?"+row.query, nil)
			location, _ := url.Parse(r.Header.Get("Location"))
			switch {
			case row.page != 0:
				if r.StatusCode != row.page || r.Header.Get("Location") != "" ||
					!strings.Contains(string(body), "Support code") {
					t.Errorf("got %d to %q, want a page with %d", r.StatusCode, r.Header.Get("Location"), row.page)
				}
			case row.code == "":
				if r.StatusCode != 303 || location.Path != "/consent" || location.Host != "" {
					t.Errorf("got %d to %s, want the consent page: %s", r.StatusCode, location, body)
				}
			default:
				q := location.Query()
				if r.StatusCode != 303 || !strings.HasPrefix(location.String(), callback) ||
					q.Get("error") != row.code || q.Get("iss") != h.URL {
					t.Errorf("got %d to %s, want %s with %s and iss", r.StatusCode, location, callback, row.code)
				}
			}
		})
	}
	status := h.do("POST", "/oauth2/authorize?client_id=x", "application/x-www-form-urlencoded",
		a.authorization("customers:read").Encode(), nil)
	status.Body.Close()
	if status.StatusCode != 400 { // AZ-39
		t.Errorf("parameters in both places: got %d, want 400", status.StatusCode)
	}
}

// RT-01, RT-02, RT-04, RT-05, RT-10: the refresh token's lifetime.
func TestRefreshTokens(t *testing.T) {
	ctx, h := context.Background(), startServer(t)
	a, other := h.register(map[string]any{}), h.register(map[string]any{})
	ann := h.person("ann@acme.example")

	_, first := a.tokens(ann, "customers:read")
	status, answer := a.token(refreshment(first))
	second, _ := answer["refresh_token"].(string)
	if status != 200 || second == first || second == "" {
		t.Fatalf("got %d %v, want another refresh token", status, answer)
	}
	status, answer = a.token(refreshment(first)) // the answer was lost
	if status != 200 || answer["refresh_token"] != second {
		t.Errorf("the parent within the window: got %d %v, want the same child", status, answer)
	}
	status, answer = other.token(refreshment(second))
	wantError(t, "another client's", status, answer, 400, "invalid_grant")
	status, answer = a.token(refreshment(second))
	third, _ := answer["refresh_token"].(string)
	if status != 200 || third == "" {
		t.Fatalf("another client's try ended it: %d %v", status, answer)
	}
	status, answer = a.token(refreshment(first)) // its child was used: somebody has both
	wantError(t, "the grandparent", status, answer, 400, "invalid_grant")
	status, answer = a.token(refreshment(third))
	wantError(t, "the leaf after reuse", status, answer, 400, "invalid_grant")
	ended, err := h.Store.Grants(ctx, grant.Filter{ClientID: a.ID})
	if err != nil || len(ended) != 1 || ended[0].RevokeReason != grant.ReasonReuse {
		t.Errorf("the ledger: %+v %v, want the grant ended because of reuse", ended, err)
	}
	if at := ann.open("/agents"); !strings.Contains(at.body, "Revoked by the server") { // and ann is told
		t.Errorf("the person's page does not say what happened: %.300s", at.body)
	}
	h.Clock.step(31 * 24 * time.Hour)
	if at := h.person("ann@acme.example").atDevice("/agents"); strings.Contains(at.body, "Revoked by the server") {
		t.Error("the person is told for ever")
	}
	h.Clock.step(-31 * 24 * time.Hour)
	if over, err := h.List.Ended(ctx, ended[0].ID); !over || err != nil {
		t.Errorf("the list: %v %v, want it ended", over, err)
	}

	_, idle := a.tokens(ann, "customers:read")
	h.Clock.step(14*24*time.Hour + time.Minute)
	status, answer = a.token(refreshment(idle))
	wantError(t, "after two idle weeks", status, answer, 400, "invalid_grant")

	_, used := a.tokens(h.person("ann@acme.example"), "customers:read")
	for range 9 {
		h.Clock.step(10 * 24 * time.Hour)
		if status, answer = a.token(refreshment(used)); status != 200 {
			break
		}
		used, _ = answer["refresh_token"].(string)
	}
	h.Clock.step(24 * time.Hour)
	status, answer = a.token(refreshment(used))
	wantError(t, "after ninety days, however often used", status, answer, 400, "invalid_grant")
}

// CC-01, CC-02, CC-04: client_credentials gives no refresh token, one grant for all tokens, and
// only what the client may have.
func TestMachineClients(t *testing.T) {
	h := startServer(t)
	m := h.machine("acme", "customers:read", "customers:write")
	credentials := url.Values{"grant_type": {"client_credentials"}, "resource": {resourceURI}}
	grants := map[any]bool{}
	for range 3 {
		status, answer := m.token(credentials)
		if status != 200 || answer["refresh_token"] != nil || answer["scope"] != "customers:read customers:write" {
			t.Fatalf("got %d %v", status, answer)
		}
		_, body := claims(t, answer["access_token"].(string))
		grants[body["grant_id"]] = true
		if body["tenant_id"] != "acme" || body["sub"] != m.ID {
			t.Errorf("claims: %v", body)
		}
	}
	if len(grants) != 1 {
		t.Errorf("%d grants, want one", len(grants))
	}
	narrow := clone(credentials)
	narrow.Set("scope", "customers:read")
	if _, answer := m.token(narrow); answer["scope"] != "customers:read" {
		t.Errorf("narrowed: got %v", answer)
	}
	wide := clone(credentials)
	wide.Set("scope", "tickets:write")
	status, answer := m.token(wide)
	wantError(t, "beyond the client's", status, answer, 400, "invalid_scope")
}

// An operator's end of a machine client's grant stays, whatever the client does elsewhere in the
// meantime.
func TestAMachineCannotUndoTheOperatorsEnd(t *testing.T) {
	h := startServer(t, func(c *authserverConfig) {
		other := c.Resources[0]
		other.URI = "https://other.example/mcp"
		c.Resources = append(c.Resources, other)
	})
	m := h.machine("acme", "customers:read")
	ask := func(resource string) (int, map[string]any) {
		return m.token(url.Values{"grant_type": {"client_credentials"}, "resource": {resource}})
	}
	_, answer := ask(resourceURI)
	_, body := claims(t, answer["access_token"].(string))
	revoke(t, h.Server.Operator(), body["grant_id"].(string), "a test")
	for range 101 { // more than any list shows
		_, answer := ask("https://other.example/mcp")
		raw, _ := answer["access_token"].(string)
		status, revoked := h.post("/oauth2/revoke", "application/x-www-form-urlencoded",
			url.Values{"token": {raw}}.Encode(), basicAuth(m.ID, m.Secret))
		if status != 200 {
			t.Fatalf("revoking: got %d %v", status, revoked)
		}
		h.Clock.step(2 * time.Second)
	}
	status, answer := ask(resourceURI)
	wantError(t, "where the operator ended it", status, answer, 400, "unauthorized_client")
	for range 100 {
		h.post("/oauth2/revoke", "application/x-www-form-urlencoded", "token=x", basicAuth(m.ID, m.Secret))
	}
	if status, _ = h.post("/oauth2/revoke", "application/x-www-form-urlencoded", "token=x",
		basicAuth(m.ID, m.Secret)); status != 429 {
		t.Errorf("giving back without end: got %d, want 429", status)
	}
}

// Strangers cannot fill memory through the authorization endpoint: requests are small, counted, and
// kept without what means nothing.
func TestAuthorizationRequestsAreBounded(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	const kind = "application/x-www-form-urlencoded"
	large := a.authorization("customers:read").Encode() + "&x=" + strings.Repeat("a", 40_000)
	if r := h.do("POST", "/oauth2/authorize", kind, large, nil); r.StatusCode != 413 {
		t.Errorf("an endless POST: got %d, want 413", r.StatusCode)
	}
	r := h.do("POST", "/oauth2/authorize", kind, a.authorization("customers:read").Encode(), nil)
	if at := r.Header.Get("Location"); r.StatusCode != 303 || !strings.HasPrefix(at, "/oauth2/authorize?") ||
		r.Header.Get("Set-Cookie") != "" {
		t.Errorf("a POST from elsewhere: got %d to %q %v, want the same by GET, with the cookies as they are",
			r.StatusCode, at, r.Header)
	}
	status := 0
	for range 301 {
		r := h.do("GET", "/oauth2/authorize?"+a.authorization("customers:read").Encode(), "", "", nil)
		r.Body.Close()
		status = r.StatusCode
	}
	if status != 429 {
		t.Errorf("after three hundred in a minute: got %d, want 429", status)
	}
}

// RV-09: a token that is over is not active, not even within the clocks' leeway.
func TestIntrospectionEndsWithTheToken(t *testing.T) {
	h := startServer(t)
	m := h.machine("acme", "customers:read")
	_, answer := m.token(url.Values{"grant_type": {"client_credentials"}})
	form := url.Values{"token": {answer["access_token"].(string)}}.Encode()
	for _, row := range []struct {
		step   time.Duration
		active bool
	}{{0, true}, {599 * time.Second, true}, {2 * time.Second, false}} {
		h.Clock.step(row.step)
		if _, got := h.post("/oauth2/introspect", "application/x-www-form-urlencoded", form,
			basicAuth(m.ID, m.Secret)); got["active"] != row.active {
			t.Errorf("after another %s: got %v, want active %v", row.step, got, row.active)
		}
	}
}

// Every error that the server can answer with has a page that explains it, and says where.
func TestErrorsAreExplained(t *testing.T) {
	h := startServer(t)
	_, answer := h.post("/oauth2/token", "application/x-www-form-urlencoded", "grant_type=password", nil)
	uri, _ := answer["error_uri"].(string)
	if uri != h.URL+"/errors/unsupported_grant_type" {
		t.Errorf("error_uri is %q", uri)
	}
	a := h.register(map[string]any{})
	ask := a.authorization("admin")
	r, _ := h.get("/oauth2/authorize?"+ask.Encode(), nil)
	if at, err := url.Parse(r.Header.Get("Location")); err != nil ||
		at.Query().Get("error_uri") != h.URL+"/errors/invalid_scope" {
		t.Errorf("the redirect's error_uri: %v %v", at, err)
	}
	for _, code := range []string{
		"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
		"unsupported_response_type", "invalid_scope", "invalid_target", "access_denied",
		"login_required", "invalid_token", "insufficient_scope", "invalid_redirect_uri", "invalid_client_metadata",
		"temporarily_unavailable", "server_error", "request_not_supported",
		"request_uri_not_supported", "registration_not_supported",
	} {
		if r, body := h.get("/errors/"+code, nil); r.StatusCode != 200 || !strings.Contains(string(body), code) ||
			!strings.Contains(string(body), "developer") {
			t.Errorf("%s: got %d %.200s", code, r.StatusCode, body)
		}
	}
	if r, body := h.get("/errors/%3Cscript%3E", nil); r.StatusCode != 404 || strings.Contains(string(body), "<script") {
		t.Errorf("a code that there is not: got %d %.300s", r.StatusCode, body)
	}
}

// Every refusal says what was wrong and by which line of the log it is found: JSON to programs,
// pages to people, parameters to applications.
func TestErrorsCanBeFound(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	found := func(what, code string) {
		t.Helper()
		if code == "" || !h.Log.Contains(`"support":"`+code+`"`) {
			t.Errorf("%s: the support code %q is not in the log", what, code)
		}
	}
	for path, status := range map[string]int{"/nothing": 404, "/agents/x": 404, "/errors/nothing": 404,
		"/consent?tx=x": 400, "/oauth2/authorize?client_id=x": 400} {
		r, body := h.get(path, nil)
		at := regexp.MustCompile(`<dt>Support code</dt><dd><code>([a-z0-9]+)</code>`).FindStringSubmatch(string(body))
		if r.StatusCode != status || at == nil || !strings.Contains(string(body), `class="problem"`) {
			t.Errorf("%s: got %d, want a page with %d: %.300s", path, r.StatusCode, status, body)
			continue
		}
		found(path, at[1])
	}
	for path, status := range map[string]int{"/oauth2/nothing": 404, "/.well-known/nothing": 404, "/oauth2/token": 405,
		"/oauth2/revoke": 405, "/oauth2/register": 405} {
		r, body := h.get(path, nil)
		answer := map[string]any{}
		must(t, json.Unmarshal(body, &answer))
		if h.explained(answer); r.StatusCode != status || answer["error"] == nil || status == 405 &&
			r.Header.Get("Allow") == "" {
			t.Errorf("GET %s: got %d %v %s", path, r.StatusCode, r.Header, body)
		}
	}
	if r := h.do("DELETE", "/consent", "", "", nil); r.StatusCode != 405 || r.Body.Close() != nil {
		t.Errorf("DELETE of a page: got %d", r.StatusCode)
	}
	r, _ := h.get("/oauth2/authorize?"+a.authorization("admin").Encode(), nil)
	at, err := url.Parse(r.Header.Get("Location"))
	must(t, err)
	if code := supportCode.FindStringSubmatch(at.Query().Get("error_description")); code == nil {
		t.Errorf("the application is told %v, without a support code", at)
	} else {
		found("the application's answer", code[1])
	}
}
