package authserver_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// as asks under a name, as a browser does for a page whose name leads here.
func (h *testServer) as(host, method, path, contentType, body string) (*http.Response, string) {
	h.t.Helper()
	r, err := http.NewRequest(method, h.URL+path, strings.NewReader(body))
	must(h.t, err)
	r.Host = host
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	response, err := noFollow.Do(r)
	must(h.t, err)
	defer response.Body.Close()
	said, err := io.ReadAll(response.Body)
	must(h.t, err)
	return response, string(said)
}

// A page whose name is made to lead to this server gets neither the sign-in form nor any other
// page, and no form of it is taken.
func TestPagesAnswerOnlyToTheIssuersHost(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	at, err := url.Parse(h.URL)
	must(t, err)
	ask := url.Values.Encode(a.authorization("customers:read"))
	pages := []string{
		"/", "/signin", "/consent?tx=x", "/device", "/device/done", "/agents", "/tenants/acme/clients",
		"/tenants/acme/clients/shown", "/tenants/acme/roles", "/oauth2/logout",
		"/oauth2/authorize?" + ask, "/errors/invalid_grant", "/nothing", "/static/gatehouse.css", "/SIGNIN", "/oauth2/",
		"/oauth2/tokens",
	}
	forms := []string{"/signin", "/signout", "/consent", "/device", "/agents/g/revoke", "/tenants/acme/clients",
		"/tenants/acme/initial-tokens", "/oauth2/authorize", "/oauth2/logout"}
	for _, host := range []string{"evil.example", "evil.example:" + at.Port(), "localhost.evil.example:" + at.Port(),
		"127.0.0.1.", "127.0.0.1:1", "127.0.0.2:" + at.Port(), "localhost.:" + at.Port()} {
		for _, path := range pages {
			if r, said := h.as(host, "GET", path, "", ""); r.StatusCode != http.StatusMisdirectedRequest ||
				strings.Contains(said, "<form") || len(r.Cookies()) > 0 {
				t.Errorf("GET %s for %s: got %d with cookies %v, want 421 and no form", path, host, r.StatusCode,
					r.Cookies())
			}
		}
		for _, path := range forms {
			if r, _ := h.as(host, "POST", path, "application/x-www-form-urlencoded",
				ask); r.StatusCode != http.StatusMisdirectedRequest || len(r.Cookies()) > 0 {
				t.Errorf("POST %s for %s: got %d, want 421", path, host, r.StatusCode)
			}
		}
		for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration",
			"/oauth2/jwks", "/healthz", "/readyz"} {
			if r, _ := h.as(host, "GET", path, "", ""); r.StatusCode != http.StatusOK {
				t.Errorf("GET %s for %s: got %d, want it open", path, host, r.StatusCode)
			}
		}
	}
	for _, host := range []string{at.Host, "localhost:" + at.Port(), "LOCALHOST:" + at.Port(), "[::1]:" + at.Port()} {
		if r, said := h.as(host, "GET", "/signin", "", ""); r.StatusCode != 200 || !strings.Contains(said, "<form") {
			t.Errorf("the issuer's own %s: got %d, want the form", host, r.StatusCode)
		}
	}
}

// On a host that is no loopback one the name counts, and those that the operator named.
func TestPagesAnswerToNamedHosts(t *testing.T) {
	h := startServer(t, func(c *authserverConfig) {
		c.Issuer, c.Hosts = "https://auth.example",
			[]string{"auth.internal:8080"}
	})
	for host, want := range map[string]int{
		"auth.example": 200, "AUTH.example": 200, "auth.example:443": 200, "auth.internal:8080": 200,
		"auth.internal": 421, "localhost:8080": 421, "auth.example.": 421, "auth.example:8443": 421,
		"evil.example": 421, "": 200, // the kit's proxy keeps the issuer's name
	} {
		if r, _ := h.as(host, "GET", "/signin", "", ""); r.StatusCode != want {
			t.Errorf("%q: got %d, want %d", host, r.StatusCode, want)
		}
	}
}

func TestAHostThatCannotBeNamed(t *testing.T) {
	for _, host := range []string{"https://auth.example", "auth.example/x", "*.example", "*", "a@b", "auth example"} {
		c := authserverConfig{Issuer: "https://auth.example", Database: "sqlite:x", Hosts: []string{host}}
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), "issuer host") {
			t.Errorf("%q: got %v, want it refused", host, err)
		}
	}
}
