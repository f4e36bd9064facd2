package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// validator is the program in validator/, with its libraries, in a folder of its own. Without Node, or the libraries, the test is skipped, or fails when
// CI=true.
func validator(t *testing.T) string {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CI") == "true" {
		missing = t.Fatalf
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			missing("no %s: install Node to see other people's validators believe our tokens", program)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "validate.mjs"} {
		text, err := os.ReadFile(filepath.Join("validator", name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	npm := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		missing("npm ci does not find the validator's libraries: %v\n%s", err, out)
	}
	return dir
}

// TestOtherPeoplesValidator shows a resource set to RS256 to a program that was not written for us: jsonwebtoken with jwks-rsa.
func TestOtherPeoplesValidator(t *testing.T) {
	dir := validator(t)
	h := open(t, "--resource-algorithm", "RS256")
	a := &agent{house: h}
	code, out := h.operate("client", "create", "--tenant", "acme", "--scopes", "customers:read,tickets:write")
	if code != 0 {
		t.Fatal(out)
	}
	a.id, a.secret = regexp.MustCompile(`cli_\S+`).FindString(out), regexp.MustCompile(`ghs_\S+`).FindString(out)
	got, err := a.token(map[string][]string{"grant_type": {"client_credentials"}})
	if err != nil || !got.ok() {
		t.Fatalf("%v %v", got, err)
	}
	validate := func(token, issuer, audience string) (bool, string) {
		t.Helper()
		node := exec.Command("node", "validate.mjs")
		node.Dir, node.Stdin = dir, strings.NewReader(token)
		node.Env = append(os.Environ(), "JWKS_URI="+h.Issuer+"/oauth2/jwks", "ISSUER="+issuer, "AUDIENCE="+audience)
		out, err := node.CombinedOutput()
		return err == nil, strings.TrimSpace(string(out))
	}
	if ok, said := validate(a.access, h.Issuer, h.Resource); !ok || said != `{"tenant_id":"acme","scopes":["customers:read","tickets:write"]}` {
		t.Errorf("our token: believed %v: %s", ok, said)
	}
	for name, row := range map[string][3]string{
		"another audience": {a.access, h.Issuer, h.Resource + "/other"},
		"another issuer":   {a.access, h.Issuer + "/", h.Resource},
		"another signer":   {stranger(t).Sign(stranger(t).Claims(h.Resource, "customers:read")), h.Issuer, h.Resource},
	} {
		if ok, said := validate(row[0], row[1], row[2]); ok {
			t.Errorf("%s: believed: %s", name, said)
		}
	}
}
