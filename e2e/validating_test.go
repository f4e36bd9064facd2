package e2e_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/dpop/dpoptest"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

// validator shows a token to one of the examples of docs/guides/validate-tokens.md, and returns
// whether it is believed, and what is said.
type validator func(token, issuer, resource string) (bool, string)

// validators are the examples, by their files.
var validators = map[string]func(t *testing.T) validator{
	"jose.mjs": func(t *testing.T) validator {
		w := openWorkshop(t, "validator")
		return func(token, issuer, resource string) (bool, string) {
			return w.run("jose.mjs", token, "ISSUER="+issuer, "RESOURCE="+resource)
		}
	},
	"validate.py": func(t *testing.T) validator { return program(t, python(t), "validator/validate.py") },
	"validate.go": func(t *testing.T) validator {
		built := filepath.Join(t.TempDir(), "validator")
		if out, err := exec.Command("go", "build", "-o", built, "./validator").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return program(t, built)
	},
}

// program is a validator that is run.
func program(_ *testing.T, command ...string) validator {
	return func(token, issuer, resource string) (bool, string) {
		c := exec.Command(command[0], command[1:]...)
		c.Stdin, c.Env = strings.NewReader(token), append(os.Environ(), "ISSUER="+issuer, "RESOURCE="+resource)
		out, err := c.CombinedOutput()
		return err == nil, strings.TrimSpace(string(out))
	}
}

// python finds a Python that has the libraries.
func python(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import jwt, cryptography").Run() == nil {
			return name
		}
	}
	message := "no python3 with PyJWT: pip install pyjwt cryptography, to see docs/guides/validate-tokens.md work " +
		"in Python"
	if os.Getenv("CI") == "true" {
		t.Fatal(message)
	}
	t.Skip(message)
	return ""
}

// docs/guides/validate-tokens.md shows the very programs that are run here, none longer than 32
// lines.
func TestValidatingIsAsDocumented(t *testing.T) {
	document, err := os.ReadFile("../docs/guides/validate-tokens.md")
	must(t, err)
	for name := range validators {
		text, err := os.ReadFile("validator/" + name)
		must(t, err)
		if !strings.Contains(string(document), "\n"+string(text)+"```\n") {
			t.Errorf("docs/guides/validate-tokens.md does not show e2e/validator/%s as it is", name)
		}
		if n := strings.Count(string(text), "\n"); n > 32 {
			t.Errorf("%s has %d lines", name, n)
		}
	}
}

// Each example believes good tokens of every algorithm and refuses the others.
func TestValidating(t *testing.T) {
	h := &product{t: t, flags: []string{"--data-dir", t.TempDir()}, log: &testenv.Book{}, ahead: -20 * time.Minute}
	h.start("--issuer-listen", "127.0.0.1:0", "--resource-listen", "127.0.0.1:0")
	t.Cleanup(func() { h.stop() })
	f := &fleet{product: h, t: t}
	m := f.client("--tenant", "acme", "--scopes", "customers:read,tickets:write")
	expired := f.token(m)
	h.later(20 * time.Minute)
	good := f.token(m)
	ann, a := newPerson(h, "ann@acme.example"), &agent{house: h}
	if got, err := a.register(map[string]any{"client_name": "Agent Smith", "redirect_uris": []string{callback},
		"token_endpoint_auth_method": "none"}, ""); err != nil || !got.ok() {
		t.Fatal(got, err)
	}
	at, err := ann.consent(a.request([]string{"openid", "customers:read"}), "")
	must(t, err)
	q, err := ann.decide(at, "approve", nil)
	must(t, err)
	a.code = q.Get("code")
	got, err := a.redeem()
	idToken := got.field("id_token")
	if err != nil || idToken == "" {
		t.Fatal(got, err)
	}
	toy := stranger(t)
	foreign := toy.Claims(h.Resource, "customers:read")
	foreign.Issuer += "/" // with a key that is right

	for name, open := range validators {
		t.Run(name, func(t *testing.T) {
			validate := open(t)
			ok, said := validate(good, h.Issuer, h.Resource)
			var caller map[string]any
			want := map[string]any{"subject": m.id, "client": m.id, "tenant": "acme",
				"scopes": []any{"customers:read", "tickets:write"}}
			if err := json.Unmarshal([]byte(said), &caller); !ok || err != nil || !reflect.DeepEqual(caller, want) {
				t.Errorf("a good token: believed %v, %s; want %v", ok, said, want)
			}
			for _, algorithm := range []string{"ES256", "RS256", "EdDSA"} {
				if ok, said := validate(toy.Sign(toy.Claims(h.Resource, "customers:read"),
					tokentest.Algorithm(algorithm)), toy.URL(), h.Resource); !ok {
					t.Errorf("a good token of %s: %s", algorithm, said)
				}
			}
			for what, row := range map[string]struct{ token, issuer, resource string }{
				"an expired one":             {expired, h.Issuer, h.Resource},
				"one for another server":     {good, h.Issuer, h.Resource + "/other"},
				"one of another issuer":      {toy.Sign(foreign), toy.URL(), h.Resource},
				"an id token":                {idToken, h.Issuer, a.id},
				"one that is bound to a key": {bound(t, h, m), h.Issuer, h.Resource},
				"one that somebody signed": {toy.Sign(toy.Claims(h.Resource, "customers:read")), h.Issuer,
					h.Resource},
				"one that was bent": {good[:len(good)-6] + "AAAAAA", h.Issuer, h.Resource},
				"nothing":           {"", h.Issuer, h.Resource},
			} {
				if ok, said := validate(row.token, row.issuer, row.resource); ok {
					t.Errorf("%s: believed: %s", what, said)
				}
			}
		})
	}
}

// bound gets a machine a token that is bound to a key (RFC 9449 §5, §8).
func bound(t *testing.T, h *product, m *agent) string {
	t.Helper()
	key := dpoptest.NewKey(t, "ES256")
	var options []dpoptest.Option
	for range 2 { // the first answer names a nonce
		r, err := http.NewRequest("POST", h.Issuer+"/oauth2/token",
			strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode()))
		must(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("DPoP", key.Proof("POST", h.Issuer+"/oauth2/token", options...))
		r.SetBasicAuth(url.QueryEscape(m.id), url.QueryEscape(m.secret))
		response, err := http.DefaultClient.Do(r)
		must(t, err)
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		must(t, err)
		if got := (answer{status: response.StatusCode, body: string(body)}); got.ok() {
			if got.field("token_type") != "DPoP" {
				t.Fatal(got)
			}
			return got.field("access_token")
		}
		options = []dpoptest.Option{dpoptest.Claim("nonce", response.Header.Get("DPoP-Nonce"))}
	}
	t.Fatal("no token for a proof")
	return ""
}
