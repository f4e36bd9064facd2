package authserver_test

import (
	"bytes"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
)

// marked are secrets that begin with a mark of ours, and JWTs. They are looked for at the marks
// alone: every test's log and database are read through.
var marked = regexp.MustCompile(`^(gh[cdimrs]_[A-Za-z0-9_-]{43}|eyJ[A-Za-z0-9_-]{10,}\.eyJ)`)

// findSecret finds one of our secrets as they are handed out: codes, tokens, secrets of clients and
// devices; JWTs; the password and the verifier of every test's people.
func findSecret(content []byte) []byte {
	for _, word := range []string{password, verifier} {
		if i := bytes.Index(content, []byte(word)); i >= 0 {
			return content[i:]
		}
	}
	for _, mark := range []string{"ghc_", "ghd_", "ghi_", "ghm_", "ghr_", "ghs_", "eyJ"} {
		for rest := content; ; {
			i := bytes.Index(rest, []byte(mark))
			if i < 0 {
				break
			}
			if rest = rest[i:]; marked.Match(rest[:min(len(rest), 4096)]) {
				return rest
			}
			rest = rest[len(mark):]
		}
	}
	return nil
}

// findCookie finds the value of a cookie.
func findCookie(content []byte) []byte {
	run := 0 // of letters that a cookie has
	for i, c := range content {
		if c >= 'A' && c <= 'Z' || c >= '2' && c <= '7' {
			run++
			continue
		}
		if run == cookieLength && !(c >= 'a' && c <= 'z' || c == '0' || c == '1' || c == '8' || c == '9' || c == '_') {
			return content[i-run:]
		}
		run = 0
	}
	if run == cookieLength {
		return content[len(content)-run:]
	}
	return nil
}

// cookieLength is how many characters the value of a cookie has.
const cookieLength = 52

// keepsNoSecret holds every test to this: neither the log, at its most talkative, nor the database
// has a secret in it (KY-06, KY-07).
func (h *testServer) keepsNoSecret() {
	h.Log.mu.Lock()
	defer h.Log.mu.Unlock()
	places := map[string][]byte{"log": h.Log.text.Bytes()}
	if path, ok := strings.CutPrefix(h.config.Database, "sqlite:"); ok {
		for _, name := range []string{path, path + "-wal"} {
			if content, err := os.ReadFile(name); err == nil {
				places["database"] = append(places["database"], content...)
			}
		}
	}
	for place, content := range places {
		if found := findSecret(content); found != nil {
			h.t.Errorf("a secret is in the %s: %.12s…", place, found)
		}
	}
	if found := findCookie(places["log"]); found != nil {
		h.t.Errorf("a cookie is in the log: %.12s…", found)
	}
}

// sessionCookie says who signed in at this browser.
func (p *person) sessionCookie() *http.Cookie {
	p.h.t.Helper()
	home, err := url.Parse(p.h.URL)
	must(p.h.t, err)
	for _, c := range p.http.Jar.Cookies(home) {
		if strings.HasSuffix(c.Name, "_session") {
			return c
		}
	}
	p.h.t.Fatal("no one is signed in")
	return nil
}

// The pattern finds what it is for, or the tests that rely on it would find nothing.
func TestSecretsAreRecognised(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{"token_endpoint_auth_method": "client_secret_basic"})
	ann := h.person("ann@acme.example")
	code := a.code(ann, "customers:read")
	access, refresh := a.tokens(ann, "customers:read")
	secrets := map[string]string{
		"secret": a.Secret, "code": code, "access token": access, "refresh token": refresh,
		"initial token": client.NewInitialToken(), "password": password,
		"cookie": ann.sessionCookie().Value,
	}
	for what, secret := range secrets {
		if findSecret([]byte("x "+secret+" y")) == nil && findCookie([]byte("x "+secret+" y")) == nil {
			t.Errorf("the %s is not found", what)
		}
	}
}

// KY-08: a million secrets, each another. They are of 256 random bits of crypto/rand, which ends
// the program rather than return others.
func TestAMillionSecrets(t *testing.T) {
	many := 1_000_000
	if testing.Short() {
		many = 10_000
	}
	seen := make(map[string]struct{}, many)
	for range many {
		seen[client.NewSecret()] = struct{}{}
	}
	if len(seen) != many {
		t.Errorf("%d of %d secrets came twice", many-len(seen), many)
	}
	for secret := range seen {
		if len(secret) != len("ghs_")+43 { // 256 bits in base64
			t.Fatalf("%d characters", len(secret))
		}
		break
	}
}

// KY-09: what is made for one purpose is good for no other. Each secret is shown at each door that
// takes one of another kind.
func TestEachSecretAtTheOtherDoors(t *testing.T) {
	h := startServer(t, func(c *authserver.Config) { c.Registration = "token" })
	initial, err := h.Server.Operator().CreateInitialToken(t.Context(),
		authserver.InitialTokenSpec{Tenant: "acme", Uses: 10})
	must(t, err)
	status, registered := h.post("/oauth2/register", "application/json",
		`{"redirect_uris":["`+callback+`"],"token_endpoint_auth_method":"client_secret_basic"}`,
		http.Header{"Authorization": {"Bearer " + initial}})
	if status != http.StatusCreated {
		t.Fatalf("registration: got %d %v", status, registered)
	}
	a := app{h, registered["client_id"].(string), registered["client_secret"].(string)}
	manage, _ := registered["registration_access_token"].(string)
	ann := h.person("ann@acme.example")
	code := a.code(ann, "customers:read")
	access, refresh := a.tokens(ann, "customers:read")
	cookie := ann.sessionCookie()
	_, device := h.post("/oauth2/device_authorization", urlencoded,
		url.Values{"client_id": {a.ID}, "scope": {"customers:read"}}.Encode(), basicAuth(a.ID, a.Secret))
	secrets := map[string]string{"initial token": initial, "secret": a.Secret, "code": code, "access token": access,
		"refresh token": refresh, "cookie": cookie.Value}
	if manage != "" {
		secrets["management token"] = manage
	}
	if d, _ := device["device_code"].(string); d != "" {
		secrets["device code"] = d
	}
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	doors := []struct {
		takes string
		show  func(secret string) (good bool)
	}{
		{"code", func(s string) bool { status, _ := a.token(redemption(s)); return status == 200 }},
		{"refresh token", func(s string) bool { status, _ := a.token(refreshment(s)); return status == 200 }},
		{"device code", func(s string) bool {
			_, answer := a.token(url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"},
				"device_code": {s}})
			return answer["error"] == nil || answer["error"] == "authorization_pending"
		}},
		{"secret", func(s string) bool {
			status, _ := app{h, a.ID, s}.token(refreshment("ghr_nobody"))
			return status != 401
		}},
		{"initial token", func(s string) bool {
			status, _ := h.post("/oauth2/register", "application/json", `{"redirect_uris":["`+callback+`"]}`, bearer(s))
			return status == http.StatusCreated
		}},
		{"management token", func(s string) bool {
			r := h.do(http.MethodGet, "/oauth2/register/"+a.ID, "", "", bearer(s))
			r.Body.Close()
			return r.StatusCode == 200
		}},
		{"nothing here", func(s string) bool {
			// userinfo takes access tokens for the issuer alone, and ours is for a server
			r := h.do(http.MethodGet, "/oauth2/userinfo", "", "", bearer(s))
			r.Body.Close()
			return r.StatusCode == 200
		}},
		{"cookie", func(s string) bool {
			r := h.do(http.MethodGet, "/agents", "", "", http.Header{"Cookie": {cookie.Name + "=" + s}})
			r.Body.Close()
			return r.StatusCode == 200
		}},
	}
	for _, door := range doors {
		for kind, secret := range secrets {
			if kind != door.takes && door.show(secret) {
				t.Errorf("the %s is taken for a %s", kind, door.takes)
			}
		}
		if own, there := secrets[door.takes]; there && !door.show(own) {
			t.Errorf("the %s is not taken where it belongs: the other rows prove nothing", door.takes)
		}
	}
}
