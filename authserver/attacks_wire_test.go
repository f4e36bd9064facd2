package authserver_test

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
)

// TK-12, TK-13, CC-01, CC-02: grant types that nobody offers, and those that are not for this
// client.
func TestGrantTypesThatAreNotOnes(t *testing.T) {
	h := startServer(t)
	public, confidential, m := h.register(map[string]any{}),
		h.register(map[string]any{"token_endpoint_auth_method": "client_secret_basic"}),
		h.machine("acme", "customers:read")
	for _, kind := range []string{"password", "implicit", "authorization_code refresh_token", "AUTHORIZATION_CODE",
		"authorization_code ", "none", "urn:ietf:params:oauth:grant-type:saml2-bearer", "zzz"} {
		status, answer := public.token(url.Values{"grant_type": {kind}, "username": {"ann@acme.example"},
			"password": {password}})
		wantError(t, kind, status, answer, 400, "unsupported_grant_type")
	}
	for what, form := range map[string]url.Values{"none": {"x": {"y"}}, "an empty one": {"grant_type": {""}}} {
		status, answer := public.token(form)
		wantError(t, what, status, answer, 400, "invalid_request")
	}
	credentials := url.Values{"grant_type": {"client_credentials"}}
	for what, row := range map[string]struct {
		client app
		form   url.Values
	}{
		"a public client by itself":        {public, credentials},
		"a client of nobody's by itself":   {confidential, credentials},
		"a machine with a code":            {m, redemption("ghc_x")},
		"a machine with a refresh token":   {m, refreshment("ghr_x")},
		"a client of browsers as a device": {public, polling("ghd_x")},
	} {
		status, answer := row.client.token(row.form)
		wantError(t, what, status, answer, 400, "unauthorized_client")
	}
	status, answer := h.post("/oauth2/token", urlencoded, credentials.Encode()+"&client_id="+m.ID, nil)
	wantError(t, "a machine without its secret", status, answer, 401, "invalid_client")
}

// TK-15, RV-10: secrets do not travel in addresses, and an address with one is not logged.
func TestSecretsInAddresses(t *testing.T) {
	h := startServer(t)
	m := h.machine("acme", "customers:read")
	for _, path := range []string{"/oauth2/token", "/oauth2/revoke", "/oauth2/introspect", "/oauth2/par",
		"/oauth2/device_authorization"} {
		query := "?" + url.Values{"grant_type": {"client_credentials"}, "client_id": {m.ID},
			"client_secret": {m.Secret}, "token": {"secret-token"}}.Encode()
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
			r := h.do(method, path+query, "", "", nil)
			if r.Body.Close(); r.StatusCode != 405 || r.Header.Get("Allow") != "POST" {
				t.Errorf("%s %s: got %d Allow %q, want 405 with POST", method, path, r.StatusCode,
					r.Header.Get("Allow"))
			}
		}
		status, answer := h.post(path+query, urlencoded, "", nil)
		wantError(t, "POST "+path+" with all in the address", status, answer, 400, "invalid_request")
	}
	if h.Log.Contains(m.Secret) || h.Log.Contains("secret-token") {
		t.Error("the log holds a secret that came in an address")
	}
}

// TK-16: a body that is not a small form is refused before it is read, and never lies on a disk.
func TestBodiesThatAreNoForms(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	h := startServer(t)
	m := h.machine("acme", "customers:read")
	const form = "grant_type=client_credentials"
	huge := "--b\r\nContent-Disposition: form-data; name=\"x\"; filename=\"x\"\r\n\r\n" + strings.Repeat("x", 20<<20) +
		"\r\n--b--\r\n"
	for kind, body := range map[string]string{
		"application/json": `{"grant_type":"client_credentials"}`, "text/plain": form, "": form,
		"application/x-www-form-urlencoded, text/plain": form, "application/xml": "<x/>",
		"multipart/form-data; boundary=b": huge, "multipart/form-data": huge, "multipart/mixed; boundary=b": huge,
	} {
		for _, path := range []string{"/oauth2/token", "/oauth2/revoke", "/oauth2/introspect", "/oauth2/par",
			"/oauth2/device_authorization"} {
			r := h.do("POST", path, kind, body, basicAuth(m.ID, m.Secret))
			if r.Body.Close(); r.StatusCode != 400 && r.StatusCode != 413 && r.StatusCode != 415 {
				t.Errorf("%s as %q: got %d, want 400, 413 or 415", path, kind, r.StatusCode)
			}
		}
	}
	if status, _ := h.post("/oauth2/token", urlencoded, form,
		http.Header{"Authorization": basicAuth(m.ID, m.Secret)["Authorization"],
			"Content-Encoding": {"gzip"}}); status != 415 {
		t.Errorf("compressed: got %d, want 415", status)
	}
	if files, err := os.ReadDir(os.TempDir()); err != nil || len(files) != 0 {
		t.Errorf("temporary files: %v %v, want none", files, err)
	}
}

// TK-17, AS-23: a parameter that comes twice could be read in two ways.
func TestParametersThatComeTwice(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	code := a.code(h.person("ann@acme.example"), "customers:read")
	good := redemption(code)
	good.Set("client_id", a.ID)
	good.Set("scope", "customers:read")
	for _, name := range []string{"grant_type", "client_id", "code", "code_verifier", "redirect_uri", "refresh_token",
		"scope", "client_secret", "client_assertion", "x"} {
		for _, second := range []string{good.Get(name), "other"} {
			form := clone(good)
			form[name] = []string{good.Get(name), second}
			status, answer := h.post("/oauth2/token", urlencoded, form.Encode(), nil)
			wantError(t, "two of "+name, status, answer, 400, "invalid_request")
		}
	}
	good.Set("unknown", "parameters are ignored")
	if status, answer := h.post("/oauth2/token", urlencoded, good.Encode(), nil); status != 200 {
		t.Errorf("then once each: got %d %v, want 200", status, answer)
	}
}

// TK-18, TK-21, AS-25, AS-28, AS-29, AS-32, CC-02, CC-04: what a good answer says, and how.
func TestWhatAGoodAnswerSays(t *testing.T) {
	h := startServer(t)
	a, m := h.register(map[string]any{}), h.machine("acme", "customers:read", "tickets:write")
	code := a.code(h.person("ann@acme.example"), "customers:read")
	for what, row := range map[string]struct {
		form    url.Values
		header  http.Header
		subject string
		refresh bool
	}{
		"a person's": {func() url.Values { v := redemption(code); v.Set("client_id", a.ID); return v }(), nil,
			"usr_ann", true},
		"a machine's": {url.Values{"grant_type": {"client_credentials"}, "scope": {"customers:read"},
			"resource": {resourceURI}}, basicAuth(m.ID, m.Secret), m.ID, false},
	} {
		r := h.do("POST", "/oauth2/token", urlencoded, row.form.Encode(), row.header)
		answer := decoded(t, r)
		if r.StatusCode != 200 || r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("Pragma") != "no-cache" ||
			r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: got %d %v", what, r.StatusCode, r.Header)
		}
		if answer["token_type"] != "Bearer" || answer["expires_in"] != 600.0 || answer["scope"] != "customers:read" ||
			(answer["refresh_token"] != nil) != row.refresh {
			t.Errorf("%s: got %v", what, answer)
		}
		_, body := claims(t, answer["access_token"].(string))
		if body["aud"] != resourceURI || body["sub"] != row.subject ||
			body["exp"].(float64)-body["iat"].(float64) != 600 {
			t.Errorf("%s: claims %v", what, body)
		}
	}
	// A machine's subject is its own id, which nobody chooses and no person has.
	if !strings.HasPrefix(m.ID, "cli_") {
		t.Errorf("a client's id is %s", m.ID)
	}
}

// TK-22, RV-05: what a store says when it breaks stays in the log.
func TestWhatAStoreSaysStaysInside(t *testing.T) {
	h := startServer(t)
	a, m := h.register(map[string]any{}), h.machine("acme", "customers:read")
	ann := h.person("ann@acme.example")
	_, refresh := a.tokens(ann, "customers:read")
	at := ann.consentPage(a.authorization("customers:read"))
	for _, table := range []string{"refresh_tokens", "codes", "memberships", "audit_events"} {
		h.sql("ALTER TABLE " + table + " RENAME TO gone_" + table)
	}
	for what, ask := range map[string]func() *http.Response{
		"renewing": func() *http.Response {
			return h.do("POST", "/oauth2/token", urlencoded, refreshment(refresh).Encode()+"&client_id="+a.ID, nil)
		},
		"redeeming": func() *http.Response {
			return h.do("POST", "/oauth2/token", urlencoded, redemption("ghc_x").Encode()+"&client_id="+a.ID, nil)
		},
		"by itself": func() *http.Response {
			return h.do("POST", "/oauth2/token", urlencoded, "grant_type=client_credentials", basicAuth(m.ID, m.Secret))
		},
		"revoking": func() *http.Response {
			return h.do("POST", "/oauth2/revoke", urlencoded, "token="+refresh+"&client_id="+a.ID, nil)
		},
		"looking": func() *http.Response {
			return h.do("POST", "/oauth2/introspect", urlencoded, "token="+refresh, basicAuth(m.ID, m.Secret))
		},
	} {
		r := ask()
		answer := decoded(t, r)
		h.explained(answer)
		said, _ := answer["error_description"].(string)
		if r.StatusCode != 503 || r.Header.Get("Retry-After") == "" || answer["error"] != "temporarily_unavailable" ||
			strings.Contains(said, "no such table") || strings.Contains(said, "SQL") {
			t.Errorf("%s: got %d %v %v, want 503 that says nothing of the store", what, r.StatusCode, r.Header, answer)
		}
	}
	done := ann.submit(at, url.Values{"decision": {"approve"}})
	if done.status != 503 || done.header.Get("Retry-After") == "" || strings.Contains(done.body, "table") ||
		!strings.Contains(done.body, "Support code") {
		t.Errorf("deciding: got %d: %.300s", done.status, done.body)
	}
	if !h.Log.Contains("no such table") {
		t.Error("the log does not say what broke")
	}
	for _, table := range []string{"refresh_tokens", "codes", "memberships", "audit_events"} {
		h.sql("ALTER TABLE gone_" + table + " RENAME TO " + table)
	}
	if again := ann.submit(at, url.Values{"decision": {"approve"}}); again.away == nil ||
		again.away.Query().Get("code") == "" {
		t.Errorf("deciding again, when it is back: got %d at %s", again.status, again.url)
	}
	if !a.alive(refresh) {
		t.Error("the refresh token was spent by what did not succeed")
	}
}
