package cli_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/cli"
)

// TestOperatorsDay is a story: an empty house is furnished, once with a server running and once
// without.
func TestOperatorsDay(t *testing.T) {
	for _, form := range []string{"inside the running server", "on the stores themselves"} {
		t.Run(form, func(t *testing.T) {
			dir := t.TempDir()
			if form == "inside the running server" {
				serve(t, dir, "--demo=false")
			} else {
				do(t, dir, "", "up to date", "migrate")
				serve(t, dir, "--demo=false").stop() // who serves makes the keys
			}
			do(t, dir, "", "tenant acme", "tenant", "create", "--id", "acme", "--name", "Acme Corporation")
			do(t, dir, "", "Acme Corporation", "tenant", "list")
			do(t, dir, "", "role boss of acme", "role", "put", "--tenant", "acme", "--role", "boss", "--scopes",
				"customers:read", "--admin")
			do(t, dir, "", "role clerk of acme", "role", "put", "--tenant", "acme", "--role", "clerk", "--scopes",
				"customers:read,tickets:write")
			do(t, dir, "", "shown this once", "user", "create", "--email", "ann@acme.example", "--tenant", "acme",
				"--role", "clerk")
			do(t, dir, "correct horse battery staple\n", "user bob@acme.example", "user", "create", "--email",
				"bob@acme.example", "--password-stdin")
			do(t, dir, "", "is reader of acme", "member", "put", "--email", "bob@acme.example", "--tenant", "acme")
			do(t, dir, "", "has another name", "tenant", "rename", "acme", "--name", "Acme & Sons")
			do(t, dir, "", "role lead of acme", "role", "put", "--tenant", "acme", "--role", "lead", "--includes",
				"clerk,reader")
			do(t, dir, "", "clerk reader  customers:read tickets:write knowledge:read", "role", "list",
				"--tenant", "acme")
			do(t, dir, "", "is lead of acme", "member", "put", "--email", "bob@acme.example", "--tenant", "acme",
				"--role", "lead")
			do(t, dir, "", "bob@acme.example  bob   lead", "member", "list", "--tenant", "acme")
			do(t, dir, "", "is gone", "role", "delete", "boss", "--tenant", "acme")
			do(t, dir, "", "operator tenant", "policy", "set", "--tenant", "acme", "--registrations", "operator,tenant",
				"--max-access-token-lifetime", "5m", "--max-refresh-token-lifetime", "24h")
			for _, empty := range []string{"", ",", " "} { // as a variable of the shell that is not set
				code, _, stderr := run(t, "policy", "set", "--tenant", "acme", "--registrations", empty,
					"--data-dir", dir)
				complaint(t, code, stderr, 2, "it names nothing")
			}
			do(t, dir, "", "registrations               any", "policy", "set", "--tenant", "acme",
				"--registrations", "any")
			do(t, dir, "", "24h0m0s", "policy", "show", "acme")
			do(t, dir, "", "Acme & Sons", "tenant", "show", "acme")
			do(t, dir, "", "is disabled", "user", "disable", "bob@acme.example")
			do(t, dir, "", "disabled", "user", "list", "--tenant", "acme")
			do(t, dir, "", "can sign in again", "user", "enable", "bob@acme.example")
			do(t, dir, "correct horse battery staple\n", "their sessions have ended", "user", "set-password",
				"bob@acme.example", "--password-stdin")
			do(t, dir, "", "shown this once", "user", "set-password", "bob@acme.example")
			do(t, dir, "", "no longer a member of acme", "member", "remove", "--email", "bob@acme.example",
				"--tenant", "acme")
			do(t, dir, "", "ghs_", "client", "create", "--tenant", "acme", "--scopes", "customers:read", "--name",
				"nightly")
			do(t, dir, "", "client_id", "client", "create", "--public", "--require-pushed-requests", "--redirect-uri",
				"http://127.0.0.1/cb", "--redirect-uri", "https://app.example/cb")
			nightly := regexp.MustCompile(`cli_\S+`).FindString(do(t, dir, "", "nightly", "client", "list", "--tenant",
				"acme"))
			do(t, dir, "", "lacks customers:write: a call is refused", "explain", "--client", nightly,
				"--tenant", "acme")
			do(t, dir, "", "is gone", "client", "delete", nightly)
			do(t, dir, "", "ghi_", "initial-token", "create", "--tenant", "acme", "--uses", "3", "--lifetime", "2h")
			do(t, dir, "", "STATE", "grant", "list", "--tenant", "acme")
			first := regexp.MustCompile(`(?m)^\S{43}`).FindString(do(t, dir, "", "retires 2", "key", "list"))
			do(t, dir, "", "", "key", "rotate", "--now")
			code, _, stderr := run(t, "key", "withdraw", first, "--data-dir", dir)
			complaint(t, code, stderr, 1, "signs now")
			do(t, dir, "", "is withdrawn", "key", "withdraw", first, "--emergency")
			do(t, dir, "", "was withdrawn before", "key", "withdraw", first)
			if keys := do(t, dir, "", "active", "key", "list"); strings.Contains(keys, first) {
				t.Errorf("the withdrawn key is still listed:\n%s", keys)
			}
			do(t, dir, "", "withdrawn 2", "key", "list", "--all")
			do(t, dir, "", "everything is encrypted with", "key", "reseal")
			do(t, dir, "", "key.reseal", "audit", "list")
			do(t, dir, "", "key.withdraw", "audit", "list")
			do(t, dir, "", "job refresh-tokens: 0 removed", "job", "run", "refresh-tokens")
			do(t, dir, "", "s ago", "job", "list")
			do(t, dir, "", "job.run", "audit", "list")
			code, _, stderr = run(t, "job", "run", "cods", "--data-dir", dir)
			complaint(t, code, stderr, 1, `no job "cods"`)
			do(t, dir, "", "tenant acme: observe for update_customer", "rollout", "set", "observe", "--tenant", "acme",
				"--tool", "update_customer")
			do(t, dir, "", "every tenant", "rollout", "set", "enforce_writes", "--tenant", "*")
			do(t, dir, "", "acme    update_customer  observe", "rollout", "report")
			do(t, dir, "", "nothing is known", "rollout", "report", "--tenant", "acme", "--within", "1h")
			do(t, dir, "", "OUTCOME", "usage", "list", "--tenant", "acme", "--since", "1h")
			do(t, dir, "", "rollout.set", "audit", "list")
			do(t, dir, "", "OUTCOME", "attempt", "list", "--tenant", "acme", "--client", nightly)
			do(t, dir, "", "OUTCOME", "attempt", "list", "--failed", "--since", "1h")
		})
	}
}

// do runs a command that must succeed and say this.
func do(t *testing.T, dir, stdin, says string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	p := &cli.Program{Args: append(args, "--data-dir", dir), Stdin: strings.NewReader(stdin), Stdout: &out,
		Stderr: &errs}
	if code := p.Run(context.Background()); code != 0 || !strings.Contains(out.String(), says) || errs.Len() > 0 {
		t.Fatalf("%v: exit code %d, want 0 and %q\n%s%s", args, code, says, &out, &errs)
	}
	return out.String()
}

func TestARefusedActIsOneLineAndAHint(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir)
	code, _, stderr := run(t, "tenant", "create", "--id", "acme", "--data-dir", dir)
	complaint(t, code, stderr, 1, `there is a tenant "acme" already`)
	// a key id may begin with a hyphen
	code, _, stderr = run(t, "key", "withdraw", "-HKJLT-J0HGH7Zk7MMZBRt9G4yW_RP6JfD9kzMVaBLc", "--data-dir", dir)
	complaint(t, code, stderr, 1, "there is no key")
	code, _, stderr = run(t, "grant", "revoke", "grt_nobody", "--data-dir", dir)
	complaint(t, code, stderr, 1, "there is no grant")
	code, _, stderr = run(t, "role", "put", "--tenant", "acme", "--role", "reader", "--scopes", "customers:raed",
		"--data-dir", dir)
	complaint(t, code, stderr, 1, `no resource has the scope "customers:raed"; there are: customers:read`)
	for _, uri := range []string{"https://notes.example.com:443/mcp", "https://Notes.example.com/mcp",
		"https://notes.example.com./mcp", "HTTPS://notes.example.com/mcp"} {
		code, _, stderr = run(t, "resource", "put", uri, "--name", "Notes", "--scope", "notes:read=Read your notes",
			"--data-dir", dir)
		complaint(t, code, stderr, 1, "give it as https://notes.example.com/mcp")
	}
	code, _, stderr = run(t, "policy", "set", "--tenant", "acme", "--clients", "cli_nobody", "--data-dir", dir)
	complaint(t, code, stderr, 1, "cli_nobody")
	code, _, stderr = run(t, "user", "disable", "nobody@acme.example", "--data-dir", dir)
	complaint(t, code, stderr, 1, "there is no user nobody@acme.example")
}

func TestWhatIsAskedOfTheToolsWronglyIsRefused(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir)
	if code, stdout, stderr := run(t, "rollout", "set", "--data-dir", dir, "--tenant", "acme", "enforce"); code != 0 ||
		!strings.Contains(stdout, "tenant acme: enforce") {
		t.Errorf("the mode last: got %d %s%s", code, stdout, stderr)
	}
	for _, row := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"rollout", "set", "observe", "--tenant", "acne"}, 1, `there is no tenant "acne"`},
		{[]string{"rollout", "set", "off", "--tenant", "acme"}, 1, `there is no mode "off"`},
		{[]string{"rollout", "set", "observe", "--tenant", "acme", "--tool", "drop_table"}, 1, "there is no tool"},
		{[]string{"rollout", "set", "observe"}, 2, "--tenant or --anonymous is missing"},
		{[]string{"rollout", "set", "observe", "--tenant", "acme", "--anonymous"}, 1, "no tenant is given"},
		{[]string{"rollout", "set", "observe", "--anonymous"}, 1, "always refused here"},
		{[]string{"explain"}, 2, "--token or --client is missing"},
		{[]string{"explain", "--token", "ghc_secret-rubbish", "--client", "cli_1"}, 2, "exclude each other"},
		{[]string{"explain", "--token", "ghc_secret-rubbish"}, 1, "the token is not valid"},
		{[]string{"explain", "--token", "ghc_secret-rubbish", "--tenant", "acme"}, 2, "neither --tenant nor --user"},
		{[]string{"explain", "--client", "cli_nobody", "--tenant", "acme"}, 1, "there is no client"},
	} {
		code, stdout, stderr := run(t, append(row.args, "--data-dir", dir)...)
		complaint(t, code, stderr, row.code, row.says)
		if strings.Contains(stdout+stderr, "secret-rubbish") {
			t.Errorf("%v: the token is repeated: %s", row.args, stderr)
		}
	}
}

// Beside an authserver alone, which knows none of the tools, the commands about them open the
// stores.
func TestToolsBesideAnAuthserverAlone(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir).stop()
	l, err := authserver.ListenOperator(dir)
	must(t, err)
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: (&authserver.Operator{}).Handler()}}
	server.Start()
	defer server.Close()
	do(t, dir, "", "OUTCOME", "usage", "list")
	do(t, dir, "", "every tenant", "rollout", "set", "observe", "--tenant", "*")
}

// AD-09: the numbers are where the operator said, and nowhere else; and a relaxation is said at the
// start.
func TestMetricsHaveAListenerOfTheirOwn(t *testing.T) {
	s := serve(t, t.TempDir(), "--metrics-listen", "127.0.0.1:0", "--issuer-metrics-listen",
		"127.0.0.1:0", "--insecure-allow-anonymous")
	get := func(url string) (int, string) {
		r, err := http.Get(url)
		must(t, err)
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		must(t, err)
		return r.StatusCode, string(body)
	}
	if status, body := get(s.Metrics); status != 200 ||
		!strings.Contains(body, "gatehouse_insecure_allow_anonymous 1\n") {
		t.Errorf("got %d %s", status, body)
	}
	if status, body := get(s.IssuerMetrics); status != 200 || !strings.Contains(body, "gatehouse_signing_keys{") {
		t.Errorf("the issuer's: got %d %s", status, body)
	}
	for _, url := range []string{s.Issuer + "/metrics", strings.TrimSuffix(s.Resource, "/mcp") + "/metrics",
		strings.TrimSuffix(s.Metrics, "/metrics") + "/mcp"} {
		if status, _ := get(url); status != 404 {
			t.Errorf("%s: got %d, want 404", url, status)
		}
	}
	if !strings.Contains(s.stderr.String(), "insecure-allow-anonymous") {
		t.Errorf("the log does not say that anybody may pass: %s", s.stderr)
	}
}
