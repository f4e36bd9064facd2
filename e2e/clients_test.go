package e2e_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// TestOtherPeoplesClients goes through every grant with clients that were not written for us; ann
// is at their browser.
func TestOtherPeoplesClients(t *testing.T) {
	w := openWorkshop(t, "clients")
	h := open(t, "--dpop-nonce", "required") // so that they show that they take one
	code, out := h.operate("client", "create", "--tenant", "acme", "--scopes", "customers:read")
	if code != 0 {
		t.Fatal(out)
	}
	made := func(name, out string) []string {
		return []string{name + "_ID=" + regexp.MustCompile(`cli_\S+`).FindString(out),
			name + "_SECRET=" + regexp.MustCompile(`ghs_\S+`).FindString(out)}
	}
	env := append(append(os.Environ(), "ISSUER="+h.Issuer, "RESOURCE="+h.Resource), made("MACHINE", out)...)
	code, out = h.operate("client", "create", "--redirect-uri", "http://127.0.0.1:7777/callback",
		"--post-logout-redirect-uri", "http://127.0.0.1:7777/out")
	if code != 0 {
		t.Fatal(out)
	}
	env = append(env, made("PARTY", out)...)
	code, out = h.operate("client", "create", "--redirect-uri", "http://127.0.0.1:7777/callback", "--assertions",
		"--token-exchange")
	if code != 0 {
		t.Fatal(out)
	}
	env = append(append(env, made("MANAGED", out)...), trustedProvider(t, h, "https://login.acme.example")...)
	for program, want := range map[string][]string{
		"openid-client.mjs": {
			"authorization_code read_customer,search_knowledge_base",
			"refresh_token read_customer,search_knowledge_base", "revocation invalid_token",
			"pushed read_customer,search_knowledge_base",
			"openid ann@acme.example acme ann@acme.example Ann", "renewed true", "signed out /out bye",
			"jwt-bearer read_customer,search_knowledge_base no refresh token",
			"token-exchange read_customer access_token", "private_key_jwt read_customer,search_knowledge_base",
			"client_secret_basic read_customer active=true customers:read",
			"client_secret_post read_customer active=true customers:read",
			"device_code read_customer",
		},
		"oauth4webapi.mjs": {
			"discovery true", "authorization_code read_customer,search_knowledge_base acme",
			"refresh_token read_customer acme", "revocation invalid_grant",
			"client_credentials read_customer acme", "introspection true",
			// RFC 9449
			"dpop dpop read_customer,search_knowledge_base",
			"dpop refreshed read_customer,search_knowledge_base after 2 nonces", "dpop stolen 401",
			"device_code authorization_pending", "device_code read_customer acme",
		},
	} {
		t.Run(program, func(t *testing.T) {
			c := exec.Command(w.node, program)
			c.Dir, c.Env = w.dir, env
			stdin, err := c.StdinPipe()
			must(t, err)
			stdout, err := c.StdoutPipe()
			must(t, err)
			c.Stderr = c.Stdout
			must(t, c.Start())
			ann, done, said := newPerson(h, "ann@acme.example"), []string{}, []string{}
			for lines := bufio.NewScanner(stdout); lines.Scan(); {
				said = append(said, lines.Text())
				if what, ok := strings.CutPrefix(lines.Text(), "done "); ok {
					done = append(done, what)
				}
				if address, ok := strings.CutPrefix(lines.Text(), "open "); ok {
					to, err := ann.agrees(address)
					if err != nil {
						t.Error(err)
					}
					fmt.Fprintln(stdin, to)
				}
			}
			if err := c.Wait(); err != nil || !slices.Equal(done, want) {
				t.Errorf("%v: did %q, want %q\n%s", err, done, want, strings.Join(said, "\n"))
			}
		})
	}
}

// trustedProvider makes an identity provider's key, has acme trust it, and returns what its program
// needs.
func trustedProvider(t *testing.T, h *product, issuer string) []string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	private, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: "idp"})
	must(t, err)
	public, err := json.Marshal(
		jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "idp", Algorithm: "ES256",
			Use: "sig"}}})
	must(t, err)
	file := filepath.Join(t.TempDir(), "jwks.json")
	must(t, os.WriteFile(file, public, 0o600))
	if code, out := h.operate("issuer", "trust", issuer, "--tenant", "acme", "--jwks-file", file); code != 0 {
		t.Fatal(out)
	}
	if code, out := h.operate("issuer", "list", "--tenant", "acme"); code != 0 || !strings.Contains(out, issuer) {
		t.Error(out)
	}
	return []string{"IDP_ISSUER=" + issuer, "IDP_KEY=" + string(private)}
}

// agrees opens an address, signs in and says yes. It returns where the browser is sent.
func (p *person) agrees(address string) (string, error) {
	at, err := p.enter(address)
	if err != nil {
		return "", err
	}
	if at, err = p.submit(at, map[string][]string{"decision": {"approve"}}); err != nil {
		return "", err
	}
	if at.away != nil {
		return at.away.String(), nil
	}
	if at.status != 200 {
		return at.url.String(), fmt.Errorf("%s is at %s (%d):\n%s", p.email, at.url, at.status, at.body)
	}
	return at.url.String(), nil
}
