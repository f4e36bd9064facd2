package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/cli"
)

// organisation is the file of docs/guides/apply.md, as it stands there.
func organisation(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile("../docs/guides/apply.md")
	must(t, err)
	_, rest, ok := strings.Cut(string(readme), "```\n# organisation.yaml\n")
	text, _, closed := strings.Cut(rest, "\n```\n")
	if !ok || !closed {
		t.Fatal("docs/guides/apply.md has no organisation.yaml")
	}
	return text + "\n"
}

// kept writes a file that is to be applied.
func kept(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "organisation.yaml")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// The file of docs/guides/apply.md is applied as it stands, with a server running and without one:
// looked at, applied, and then there is nothing to change.
func TestTheFileOfTheReadme(t *testing.T) {
	for _, form := range []string{"inside the running server", "on the stores themselves"} {
		t.Run(form, func(t *testing.T) {
			dir, path := t.TempDir(), kept(t, organisation(t))
			s := serve(t, dir)
			if form == "on the stores themselves" {
				s.stop()
			}
			do(t, dir, "", "nothing was changed", "apply", "-f", path, "--dry-run")
			if code, _, _ := run(t, "tenant", "show", "initech", "--data-dir", dir); code != 1 {
				t.Error("a dry run made a tenant")
			}
			said := do(t, dir, "", "shown this once", "apply", "-f", path)
			do(t, dir, "", "nothing to change", "apply", "--file", path)
			do(t, dir, organisation(t), "nothing to change", "apply", "-f", "-")
			do(t, dir, "", "notes:read notes:write", "tenant", "show", "initech")
			secret := regexp.MustCompile(`(?m)^initech/nightly  client_id (cli_\S+)  client_secret ` +
				`(ghs_\S+)$`).FindStringSubmatch(said)
			if secret == nil {
				t.Fatalf("no secret in\n%s", said)
			}
			if form == "on the stores themselves" {
				s = serve(t, dir)
			}
			request, err := http.NewRequest("POST", s.Issuer+"/oauth2/token",
				strings.NewReader(url.Values{"grant_type": {"client_credentials"},
					"resource": {"https://notes.example.com/mcp"}}.Encode()))
			must(t, err)
			request.SetBasicAuth(secret[1], secret[2])
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			response, err := http.DefaultClient.Do(request)
			must(t, err)
			defer response.Body.Close()
			var token struct {
				Life int64 `json:"expires_in"`
			}
			must(t, json.NewDecoder(response.Body).Decode(&token))
			if response.StatusCode != 200 || token.Life != 300 {
				t.Errorf("the client got %s, a token for %d s, want one for the policy's 300", response.Status,
					token.Life)
			}
			if log := s.stderr.String(); strings.Contains(log, secret[2]) {
				t.Error("the log holds the secret")
			}
		})
	}
}

// A file that is half right is refused with its name, the line and the reason; one that cannot be
// read is misuse.
func TestFilesThatAreNotApplied(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, "--demo=false")
	good := organisation(t)
	wrong := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the file has no %q", old)
		}
		return kept(t, strings.Replace(good, old, new, 1))
	}
	for _, row := range []struct {
		file string
		code int
		says string
	}{
		{wrong("includes: [reader]", "inclduse: [reader]"), 1,
			`organisation.yaml: line 20: there is no "inclduse" in a role; is it "includes"?`},
		{wrong("scopes: [notes:write]", "scopes: [notes:wirte]"), 1,
			`organisation.yaml: line 19: no resource has the scope "notes:wirte"`},
		{wrong("includes: [reader]", "includes: [lead]"), 1,
			"organisation.yaml: line 18: the roles would include each other in a circle: clerk → lead → clerk"},
		{wrong("name: portal", "name: nightly"), 1,
			`organisation.yaml: line 28: the client "nightly" is in line 26 already`},
		{wrong("max_access_token_lifetime: 5m", "max_access_token_lifetime: 5"), 1,
			"organisation.yaml: line 16: want a length of time such as 5m"},
		{wrong("tenants:", "tenants"), 1, "organisation.yaml: line 1"},
		{kept(t, ""), 1, "organisation.yaml: line 1: the file names nothing"},
		{filepath.Join(dir, "nowhere.yaml"), 2, "nowhere.yaml: no such file"},
		{dir, 2, "is a directory"},
		{"", 2, "--file has no value"},
	} {
		for _, more := range [][]string{nil, {"--dry-run"}} {
			code, _, stderr := run(t, append([]string{"apply", "-f", row.file, "--data-dir", dir}, more...)...)
			complaint(t, code, stderr, row.code, row.says)
		}
	}
	do(t, dir, "", "[]", "tenant", "list", "--json")
	do(t, dir, "", "refused", "audit", "list", "--action", "apply", "--outcome", "refused")
}

// A connection that breaks, or a time that is over, left it unsaid whether a file was applied.
func TestAnApplyThatIsNotAnsweredSaysHowToFindOut(t *testing.T) {
	dir := t.TempDir()
	l, err := authserver.ListenOperator(dir)
	must(t, err)
	var half atomic.Bool // an answer came, and broke off
	server := &httptest.Server{Listener: l,
		Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if half.Load() {
				_, _ = w.Write([]byte(`[{"Verb":"create"`))
				_ = http.NewResponseController(w).Flush()
			}
			panic(http.ErrAbortHandler)
		})}}
	server.Start()
	defer server.Close()
	path := kept(t, organisation(t))
	for _, so := range []bool{false, true} {
		half.Store(so)
		code, stdout, stderr := run(t, "apply", "-f", path, "--data-dir", dir)
		complaint(t, code, stderr, 1, "organisation.yaml: the running server has not said whether it was done")
		if !strings.Contains(stderr,
			"whether it was applied is not known: run it with --dry-run; a created client gets its secret from "+
				"gatehouse client replace-secret") || stdout != "" {
			t.Errorf("got %s%s", stdout, stderr)
		}
		if _, _, stderr = run(t, "apply", "-f", path, "--dry-run", "--data-dir", dir); strings.Contains(stderr,
			"applied") {
			t.Errorf("a dry run: got %s", stderr)
		}
	}
	server.Close()
	dir = t.TempDir()
	serve(t, dir).stop()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr bytes.Buffer
	code := (&cli.Program{Args: []string{"apply", "-f", path, "--data-dir", dir}, Stdout: io.Discard,
		Stderr: &stderr}).Run(ctx)
	complaint(t, code, stderr.String(), 1, "organisation.yaml: ")
	if !strings.Contains(stderr.String(), "whether it was applied is not known") {
		t.Errorf("on the stores, cut short: got %s", stderr.String())
	}
}

// A thousand tenants come through the socket of the running server.
func TestAThousandTenantsFromOneFile(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, "--demo=false")
	var b strings.Builder
	b.WriteString("tenants:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  - id: t%d\n    clients:\n", i)
		for j := range 10 {
			fmt.Fprintf(&b, "      - name: job %d\n        scopes: [customers:read, knowledge:read]\n", j)
		}
	}
	path := kept(t, b.String())
	var answer struct {
		DryRun  bool `json:"dry_run"`
		Changes []struct {
			Kind   string `json:"kind"`
			Secret string `json:"client_secret"`
		} `json:"changes"`
	}
	must(t, json.Unmarshal([]byte(do(t, dir, "", "", "apply", "-f", path, "--json")), &answer))
	secrets := 0
	for _, c := range answer.Changes {
		if c.Kind == "client" && strings.HasPrefix(c.Secret, "ghs_") {
			secrets++
		}
	}
	if answer.DryRun || len(answer.Changes) != 11_000 || secrets != 10_000 {
		t.Errorf("got %d changes and %d secrets, want 11,000 and 10,000", len(answer.Changes), secrets)
	}
	do(t, dir, "", "nothing to change", "apply", "-f", path)
}
