package authserver_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// AZ-16 to AZ-18, AS-07, AS-19, AS-20: one iss, ours; the state byte for byte; no header more.
func TestTheAnswerSaysWhoGivesIt(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	ann := h.person("ann@acme.example")
	for _, state := range []string{"x&iss=https://evil.example", "%00", "a\x00b", "\r\nSet-Cookie: a=b", "ünïcödé ☃",
		"a+b c%20d", strings.Repeat("s", 2048), strings.Repeat("s", 8192)} {
		for _, decision := range []string{"approve", "deny"} {
			v := a.authorization("customers:read")
			v.Set("state", state)
			v.Set("iss", "https://evil.example")
			at := ann.submit(ann.consentPage(v), url.Values{"decision": {decision}})
			q := at.away.Query()
			if !slices.Equal(q["iss"], []string{h.URL}) || !slices.Equal(q["state"], []string{state}) ||
				len(at.header["Location"]) != 1 || at.header.Get("Set-Cookie") != "" {
				t.Errorf("state %q, %s: got %v %v", shortened(state), decision, shortened(at.away.String()), at.header)
			}
		}
	}
	long := a.authorization("customers:read")
	// AZ-17, where nothing is kept meanwhile
	long.Set("iss", "https://evil.example")
	for what, states := range map[string][]string{"a state that is longer": {strings.Repeat("s", 8193)},
		"two states": {"a", "a"}} {
		// never an error without its state
		long["state"] = states
		if r, body := h.ask(long.Encode()); r.StatusCode != 400 || r.Header.Get("Location") != "" ||
			!strings.Contains(body, "state is given more than once or is longer than 8192 bytes") {
			t.Errorf("AZ-18, %s: got %d to %.100q, want a page", what, r.StatusCode, r.Header.Get("Location"))
		}
	}
}

// AZ-36, MD-01, LG-21: whatever host a request names, we are who we are.
func TestTheHostHeaderDecidesNothing(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	for _, path := range []string{
		"/", "/signin", "/agents", "/device", "/consent?tx=x", "/nothing", "/oauth2/authorize?client_id=x",
		"/oauth2/authorize?" + a.authorization("customers:read").Encode(),
		"/oauth2/authorize?" + a.authorization("admin").Encode(), "/.well-known/oauth-authorization-server",
		"/.well-known/openid-configuration", "/oauth2/jwks", "/errors/invalid_grant",
		"/oauth2/token", "/x/../signin", "//evil.example/..",
	} {
		r, err := http.NewRequest(http.MethodGet, h.URL+path, nil)
		must(t, err)
		r.Host = "evil.example"
		for name, value := range map[string]string{
			"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher", "X-Forwarded-Prefix": "/evil.example",
			"Forwarded": "host=evil.example;proto=https", "X-Original-URL": "/evil.example",
			"X-Host": "evil.example", "Referer": "https://evil.example/", "Origin": "https://evil.example",
		} {
			r.Header.Set(name, value)
		}
		response, err := noFollow.Do(r)
		must(t, err)
		at := arrive(t, response)
		location := response.Header.Get("Location")
		if strings.Contains(at.body, "evil.example") || strings.Contains(location, "evil.example") &&
			path != "//evil.example/.." || strings.HasPrefix(location, "//") {
			t.Errorf("%s: the stranger's host is in the answer, to %q: %.300s", path, location, at.body)
		}
		for _, c := range response.Cookies() {
			if c.Domain != "" {
				t.Errorf("%s: the cookie %s is for %q", path, c.Name, c.Domain)
			}
		}
		if got := response.Header.Get("Access-Control-Allow-Origin"); got != "" && got != "*" { // TK-23
			t.Errorf("%s: Access-Control-Allow-Origin %q", path, got)
		}
	}
	_, made := h.post("/oauth2/register", "application/json", `{"redirect_uris":["`+callback+`"]}`,
		http.Header{"X-Forwarded-Host": {"evil.example"}})
	if at, _ := made["registration_client_uri"].(string); !strings.HasPrefix(at, h.URL+"/") {
		t.Errorf("registration_client_uri is %q", at)
	}
}

// AZ-37: what a stranger wrote comes back as text or not at all.
func TestNothingIsReflected(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{"client_name": `"><img src=x onerror=alert(1)>`})
	const evil = `"><svg onload=alert(1)><script>1</script>`
	for _, name := range []string{"client_id", "redirect_uri", "scope", "resource", "response_type", "code_challenge",
		"prompt", "request_uri", evil} {
		v := a.authorization("customers:read")
		v.Set(name, evil)
		r, body := h.ask(v.Encode())
		if strings.Contains(body, "<svg") || strings.Contains(body, "<script") ||
			r.Header.Get("X-Content-Type-Options") != "nosniff" || strings.Contains(r.Header.Get("Location"), "svg") {
			t.Errorf("%s: it came back: %d %v %.300s", name, r.StatusCode, r.Header, body)
		}
	}
	for _, path := range []string{"/consent?tx=", "/signin?tx=", "/device?user_code=", "/errors/", "/nothing/",
		"/oauth2/"} {
		r, body := h.get(path+url.QueryEscape(evil), nil)
		if strings.Contains(string(body), "<svg") || strings.Contains(string(body), "<script") ||
			r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: it came back: %.300s", path, body)
		}
	}
	for _, path := range []string{"/oauth2/token", "/oauth2/revoke", "/oauth2/introspect", "/oauth2/par",
		"/oauth2/device_authorization"} {
		form := url.Values{"grant_type": {evil}, "client_id": {evil}, "scope": {evil}, "token": {evil}, evil: {evil}}
		r := h.do("POST", path, "application/x-www-form-urlencoded", form.Encode(), nil)
		at := arrive(t, r)
		if strings.Contains(at.body, "<svg") || strings.Contains(at.body, "<script") ||
			r.Header.Get("Content-Type") != "application/json" || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: it came back as %s: %.300s", path, r.Header.Get("Content-Type"), at.body)
		}
	}
	if at := h.person("ann@acme.example").consentPage(a.authorization("customers:read")); strings.Contains(at.body,
		"<img src=x") {
		t.Error("the client's name is markup")
	}
}

// walk remembers every address that we send a browser to, and every page.
type walk struct {
	mu        sync.Mutex
	addresses []string
}

func (w *walk) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.addresses = append(w.addresses, r.URL.String(), response.Header.Get("Location"),
			response.Header.Get("Content-Location"), response.Header.Get("Link"), response.Header.Get("Refresh"))
	}
	return response, err
}

// AZ-35, AZ-40, AS-23: after a password comes a 303, and no secret is in an address that we write,
// but the one code in the one answer.
func TestAddressesHoldNoSecrets(t *testing.T) {
	h := startServer(t)
	a, d := h.register(map[string]any{}), h.device()
	w := &walk{}
	jar, _ := cookiejar.New(nil)
	ann := &person{h, "ann@acme.example",
		&http.Client{Jar: jar, Transport: w, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if !strings.HasPrefix(r.URL.String(), h.URL) {
				return http.ErrUseLastResponse
			}
			if r.Method == http.MethodPost || r.Response.StatusCode != http.StatusSeeOther {
				t.Errorf("%s: a %d after a form, want 303", r.URL.Path, r.Response.StatusCode) // AZ-35
			}
			return nil
		}}}
	code := a.code(ann, "customers:read")
	_, answer := a.token(redemption(code))
	deviceCode, userCode, _ := d.begin("customers:read")
	ann.submit(ann.open("/device?user_code="+userCode), url.Values{"decision": {"approve"}})
	_, other := d.token(polling(deviceCode))
	ann.submit(ann.open("/agents"), nil)
	ann.open("/oauth2/authorize?" + a.authorization("admin").Encode())
	secrets := []string{deviceCode, password, "ghs_", "ghr_", "ghm_", "access_token", "id_token"}
	for _, got := range []map[string]any{answer, other} {
		secrets = append(secrets, got["access_token"].(string), got["refresh_token"].(string))
	}
	for _, c := range jar.Cookies(&url.URL{Scheme: "http", Host: strings.TrimPrefix(h.URL, "http://"), Path: "/"}) {
		secrets = append(secrets, c.Value)
	}
	codes := 0
	for _, address := range w.addresses {
		if strings.Contains(address, code) || strings.Contains(address, "ghc_") {
			codes++
		}
		for _, s := range secrets {
			if strings.Contains(address, s) {
				t.Errorf("the address %s holds a secret", shortened(address))
			}
		}
	}
	if codes != 1 {
		t.Errorf("%d addresses hold a code, want the answer's alone", codes)
	}
}
