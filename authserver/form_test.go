package authserver_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// RFC 6749 §3.1, §3.2: a parameter without a value is one that was left out, whichever it is and
// wherever it stands.
func TestAParameterWithoutAValueIsLeftOut(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{"grant_types": []string{"authorization_code", "refresh_token", deviceGrant}})
	secret := h.register(map[string]any{"token_endpoint_auth_method": "client_secret_post"})
	ann := h.person("ann@acme.example")
	empty := []string{
		"client_secret", "client_assertion", "client_assertion_type", "resource", "audience", "scope", "max_age",
		"prompt", "dpop_jkt", "request", "request_uri", "registration", "response_mode",
		"nonce", "login_hint", "id_token_hint", "state", "code", "device_code", "refresh_token", "actor_token",
		"actor_token_type", "assertion", "token_type_hint", "claims", "unknown",
	}
	without := func(form url.Values) string { // every parameter that the form has not, without a value
		form = clone(form)
		for _, name := range empty {
			if !form.Has(name) {
				form.Set(name, "")
			}
		}
		return form.Encode()
	}
	form := "application/x-www-form-urlencoded"
	ask := a.authorization("customers:read")
	if r, _ := h.ask(without(ask)); !strings.HasPrefix(r.Header.Get("Location"), "/consent") {
		t.Errorf("authorizing: got %d to %q, want the consent page", r.StatusCode, r.Header.Get("Location"))
	}
	if status, answer := h.post("/oauth2/par", form, without(ask), nil); status != 201 {
		t.Errorf("pushing: got %d %v", status, answer)
	}
	if status, answer := h.post("/oauth2/device_authorization", form, without(url.Values{"client_id": {a.ID}}),
		nil); status != 200 {
		t.Errorf("a device: got %d %v", status, answer)
	}
	redeem := redemption(a.code(ann, "customers:read"))
	redeem.Set("client_id", a.ID)
	status, answer := h.post("/oauth2/token", form, without(redeem), nil)
	if status != 200 {
		t.Fatalf("a code: got %d %v", status, answer)
	}
	refresh := refreshment(answer["refresh_token"].(string))
	refresh.Set("client_id", a.ID)
	if status, answer = h.post("/oauth2/token", form, without(refresh), nil); status != 200 {
		t.Fatalf("a refresh token: got %d %v", status, answer)
	}
	access := answer["access_token"].(string)
	inspect := url.Values{"client_id": {secret.ID}, "client_secret": {secret.Secret}, "token": {access}}
	if status, answer := h.post("/oauth2/introspect", form, without(inspect), nil); status != 200 ||
		answer["active"] != false {
		t.Errorf("introspection: got %d %v", status, answer)
	}
	if status, answer := h.post("/oauth2/revoke", form, without(url.Values{"client_id": {a.ID}, "token": {access}}),
		nil); status != 200 {
		t.Errorf("revocation: got %d %v", status, answer)
	}
	if r, _ := h.get("/oauth2/logout?"+without(url.Values{"client_id": {a.ID}}),
		nil); r.Header.Get("Location") != "/signin" {
		t.Errorf("signing out: got %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
	// What is needed and has no value is missing; what is there twice is there twice.
	for _, body := range []string{"grant_type=&client_id=" + a.ID,
		"grant_type=refresh_token&refresh_token=&client_id=" + a.ID} {
		status, answer := h.post("/oauth2/token", form, body, nil)
		wantError(t, body, status, answer, 400, "invalid_request")
	}
	status, answer = h.post("/oauth2/token", form, "grant_type=client_credentials&client_id=&client_id="+a.ID, nil)
	wantError(t, "client_id twice", status, answer, 400, "invalid_request")
	// A secret without a value proves nothing.
	status, answer = h.post("/oauth2/token", form, "grant_type=client_credentials&client_secret=&client_id="+
		secret.ID, nil)
	wantError(t, "no secret", status, answer, 401, "invalid_client")
}

func TestMaxAgeBeyondAnyNumber(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	for maxAge, ok := range map[string]bool{
		"0": true, "99999999999": true, "9223372036854775808": true, strings.Repeat("9", 400): true, "000": true,
		"-1": false, "1.5": false, "+1": false, "1e3": false, " 1": false, "x": false,
	} {
		form := a.authorization("customers:read")
		form.Set("max_age", maxAge)
		r, _ := h.ask(form.Encode())
		if got := strings.HasPrefix(r.Header.Get("Location"), "/consent"); got != ok {
			t.Errorf("max_age=%.30s: got %d to %.80q, want it taken %v", maxAge, r.StatusCode,
				r.Header.Get("Location"), ok)
		}
	}
}

// RFC 9110 §11.4: one blank or more between a scheme and what follows; a form may end with a line
// break.
func TestSeveralBlanksAndAFinalLineBreak(t *testing.T) {
	h := startServer(t)
	m := h.machine("acme", "customers:read")
	good := base64.StdEncoding.EncodeToString([]byte(m.ID + ":" + m.Secret))
	for header, want := range map[string]int{
		"Basic " + good: 200, "Basic   " + good: 200, "basic  " + good + "  ": 200, "Basic\t" + good: 401,
		"Basic" + good: 401, "Basic " + good + " x": 401, "Basic": 401,
	} {
		for _, end := range []string{"", "\r\n", "\n"} {
			status, answer := h.post("/oauth2/token", "application/x-www-form-urlencoded",
				"grant_type=client_credentials"+end, http.Header{"Authorization": {header}})
			if status != want {
				t.Errorf("%q, body ending in %q: got %d %v, want %d", header, end, status, answer, want)
			}
		}
	}
	_, made := h.post("/oauth2/register", "application/json", `{"redirect_uris":["`+callback+`"]}`, nil)
	if status, _ := h.post("/oauth2/register", "application/json", `{"redirect_uris":["`+callback+`"]}`,
		http.Header{"Authorization": {"Bearer   unknown"}}); status != 401 {
		t.Errorf("an initial token that is unknown: got %d, want 401", status)
	}
	r := h.do("GET", "/oauth2/register/"+made["client_id"].(string), "", "",
		http.Header{"Authorization": {"Bearer   " + made["registration_access_token"].(string)}})
	r.Body.Close()
	if r.StatusCode != 200 {
		t.Errorf("managing with three blanks: got %d, want 200", r.StatusCode)
	}
}

// A client in a browser tries several addresses, and must be able to see which are not there.
func TestPagesMaySeeWhatIsNotBelowWellKnown(t *testing.T) {
	h := startServer(t)
	for _, path := range []string{"/.well-known/oauth-protected-resource",
		"/.well-known/oauth-authorization-server/mcp", "/.well-known/openid-configuration/x", "/.well-known/%00"} {
		for method, want := range map[string]int{"GET": 404, "HEAD": 404, "OPTIONS": 204} {
			r := h.do(method, path, "", "", http.Header{"Origin": {"https://anybody.example"}})
			r.Body.Close()
			if r.StatusCode != want || r.Header.Get("Access-Control-Allow-Origin") != "*" ||
				r.Header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s %s: got %d %v, want %d and any origin", method, path, r.StatusCode, r.Header, want)
			}
		}
	}
}

// A path that is no text names nothing.
func TestAPathThatIsNoText(t *testing.T) {
	h := startServer(t)
	for _, path := range []string{
		"/oauth2/register/%00", "/oauth2/register/cli_%00x", "/oauth2/register/%ff", "/tenants/%00/clients",
		"/tenants/acme%00/clients", "/errors/%00", "/agents/%00/revoke", "/%00", "/static/%00",
		"/oauth2/token%00", "/signin%00", "/signin%0a", "/tenants/acme/clients/%1b/secret",
		"/.well-known/oauth-authorization-server%00",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
			r := h.do(method, path, "", "", http.Header{"Authorization": {"Bearer x"}})
			r.Body.Close()
			if r.StatusCode != 404 {
				t.Errorf("%s %s: got %d, want 404", method, path, r.StatusCode)
			}
		}
	}
}
