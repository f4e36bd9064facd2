package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/cli"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// notes is an MCP server of somebody's, without any check.
func notes(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var m struct {
		ID     json.RawMessage
		Method string
	}
	_ = json.Unmarshal(body, &m)
	result := `{"tools":[{"name":"read_note","inputSchema":{"type":"object"}},{"name":"delete_note",` +
		`"inputSchema":{"type":"object"}}]}`
	switch m.Method {
	case "server/discover":
		result = `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},` +
			`"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"notes"}}}`
	case "tools/call":
		result = `{"content":[{"type":"text","text":"a note"}]}`
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
}

// The README's lines: init, and then both programs; a program's token opens what its scopes do.
func TestGateway(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(notes))
	t.Cleanup(upstream.Close)
	dir := t.TempDir()
	file, resources := filepath.Join(dir, "gateway.yaml"), filepath.Join(dir, "resources.json")
	door, issuer := freeAddress(), freeAddress()
	resource := "http://" + door + "/notes"
	code, out, errs := run(t, "gateway", "init", "--upstream", upstream.URL, "--issuer", "http://"+issuer, "--resource",
		resource, "--file", file)
	if code != 0 || !strings.Contains(out, "notes has 2 tools") {
		t.Fatalf("init: %d %s%s", code, out, errs)
	}
	must(t, os.WriteFile(resources, []byte(pasteable(t, out, "--resources names:", "Then:")), 0o600))
	if code, out, _ := run(t, "gateway", "approve", "--look", "--file", file); code != 0 ||
		!strings.Contains(out, "every tool is as it was approved") {
		t.Errorf("a look after init: %d %s", code, out)
	}
	s := serve(t, t.TempDir(), "--issuer-listen", issuer, "--issuer", "http://"+issuer, "--resources", resources,
		"--demo=false")
	code, _, errs = run(t, "tenant", "create", "--id", "acme", "--name", "Acme", "--data-dir", s.DataDir)
	if code != 0 {
		t.Fatal(errs)
	}
	if code, _, errs := run(t, "gateway", "serve", "--file", file); code == 0 ||
		!strings.Contains(errs, "gatehouse client create --server "+resource) {
		t.Errorf("without a client that may ask which grants have ended: %d %s", code, errs)
	}
	code, out, errs = run(t, "client", "create", "--server", resource, "--data-dir", s.DataDir)
	if code != 0 {
		t.Fatal(errs)
	}
	t.Setenv("GATEHOUSE_CLIENT_ID", word(out, "cli_"))
	t.Setenv("GATEHOUSE_CLIENT_SECRET", word(out, "ghs_"))
	log := &testenv.Book{}
	ready, ended := make(chan cli.Addresses, 1), make(chan int, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		ended <- (&cli.Program{Args: []string{"gateway", "serve", "--file", file}, Getenv: os.Getenv, Stdout: log,
			Stderr: log, Ready: func(a cli.Addresses) { ready <- a }}).Run(ctx)
	}()
	select {
	case <-ready:
	case code := <-ended:
		t.Fatalf("gateway serve ended with %d: %s", code, log)
	}
	code, out, errs = run(t, "client", "create", "--tenant", "acme", "--scopes", "notes:read", "--data-dir", s.DataDir)
	if code != 0 {
		t.Fatal(errs)
	}
	id, secret := word(out, "cli_"), word(out, "ghs_")
	calls := fmt.Sprintf(`TOKEN=$(curl -s -u %s:%s %s/oauth2/token -d grant_type=client_credentials \
  -d resource=%s | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
for tool in read_note delete_note; do curl -s -o - -w ' %%{http_code}\n' %s -H "Authorization: Bearer $TOKEN" \
  -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \
  -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"'$tool'","arguments":{}}}'; done`,
		id, secret, s.Issuer, resource, resource)
	said := shell(t, calls)
	if !strings.Contains(said, "a note") || !strings.Contains(said, "insufficient_scope") ||
		!strings.HasSuffix(said, " 403\n") {
		t.Errorf("a reader's calls: %s", said)
	}
	hardens(t, file, s.DataDir, id, func() string { return shell(t, calls) })
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("gateway serve ended with %d: %s", code, log)
	}
}

// word is the first word of a text that begins so.
func word(text, begins string) string {
	for _, w := range strings.Fields(text) {
		if strings.HasPrefix(w, begins) {
			return w
		}
	}
	return ""
}

// A second server joins an issuer that runs, and a tenant that is there, by the commands that init
// prints: without a restart.
func TestASecondUpstream(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(notes))
	t.Cleanup(upstream.Close)
	s := serve(t, t.TempDir())
	operate := func(words ...string) (int, string, string) { return run(t, append(words, "--data-dir", s.DataDir)...) }
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	code, out, errs := run(t, "gateway", "init", "--upstream", upstream.URL, "--issuer", s.Issuer, "--resource",
		"http://localhost:8090/notes", "--file", file)
	if code != 0 {
		t.Fatal(errs)
	}
	if text, err := os.ReadFile(file); err != nil || strings.Contains(string(text), "insecure_") {
		t.Errorf("what is proposed relaxes something: %v\n%s", err, text)
	}
	code, _, errs = operate("client", "create", "--tenant", "acme", "--scopes", "notes:read")
	complaint(t, code, errs, 1, "notes:read")
	if !strings.Contains(errs, "gatehouse resource put") {
		t.Errorf("the hint names no cure: %s", errs)
	}
	_, commands, _ := strings.Cut(out, "A running issuer")
	lines := strings.Split(commands, "\n  gatehouse ")
	put := strings.Fields(strings.NewReplacer("'notes:read=Read with notes'", "notes:read=Read",
		"'notes:write=Change things with notes'", "notes:write=Write").Replace(lines[1]))
	if code, _, errs = operate(put...); code != 0 {
		t.Fatal(errs)
	}
	code, _, errs = operate("client", "create", "--tenant", "acme", "--scopes", "notes:read")
	complaint(t, code, errs, 1, "notes:read")
	if !strings.Contains(errs, "policy set --tenant acme --add-scopes notes:read") {
		t.Errorf("the hint names no cure: %s", errs)
	}
	policy, _, _ := strings.Cut(lines[2], "\n")
	if code, out, errs = operate(strings.Fields(strings.Replace(policy, "TENANT", "acme", 1))...); code != 0 ||
		!strings.Contains(out, "notes:write") || !strings.Contains(out, "customers:read") {
		t.Fatalf("adding scopes: %d %s%s", code, out, errs)
	}
	if code, _, errs = operate("client", "create", "--tenant", "acme", "--scopes", "notes:read"); code != 0 {
		t.Error(errs)
	}
	role := strings.Fields(strings.NewReplacer("TENANT", "acme", "ROLE", "clerk", "...",
		"customers:read").Replace(lines[3]))
	if code, _, errs = operate(role...); code != 0 {
		t.Error(errs)
	}
	if _, out, _ = operate("role", "list", "--tenant", "acme"); !strings.Contains(out,
		"customers:read notes:read notes:write") {
		t.Errorf("what people give does not hold the new scopes: %s", out)
	}
	if code, out, errs = operate("policy", "set", "--tenant", "acme", "--remove-scopes",
		"notes:write,customers:read"); code != 0 || strings.Contains(out, "notes:write") ||
		strings.Contains(out, "customers:read") || !strings.Contains(out, "notes:read") {
		t.Errorf("removing scopes: %d %s%s", code, out, errs)
	}
	code, _, errs = operate("policy", "set", "--tenant", "acme", "--scopes", "notes:read", "--add-scopes",
		"notes:write")
	complaint(t, code, errs, 1, "at once")
	code, _, errs = operate("policy", "set", "--tenant", "acme", "--add-scopes", "no:such")
	complaint(t, code, errs, 1, "no:such")
}

// hardens goes through the README's steps for a server behind: observed, reported, enforced, while
// the gateway runs.
func hardens(t *testing.T, file, dataDir, client string, calls func() string) {
	t.Helper()
	operate := func(words ...string) string {
		t.Helper()
		code, out, errs := run(t, append(words, "--gateway", file, "--data-dir", dataDir)...)
		if code != 0 {
			t.Fatalf("%v: %d %s", words, code, errs)
		}
		return out
	}
	operate("rollout", "set", "observe", "--tenant", "acme", "--tool", "notes/delete_note")
	until(t, func() bool { return strings.HasSuffix(calls(), " 200\n") }) // the gateway reads the modes twice a second
	if out := operate("explain", "--client", client, "--tenant", "acme"); !strings.Contains(out, "notes/delete_note") ||
		!strings.Contains(out, "but that does not count yet") {
		t.Errorf("explain: %s", out)
	}
	until(t, func() bool { // what was counted is written every five seconds
		return strings.Contains(operate("rollout", "report", "--tenant", "acme"), "notes/delete_note") &&
			strings.Contains(operate("usage", "list"), "observed")
	})
	operate("rollout", "set", "enforce", "--tenant", "acme", "--tool", "notes/delete_note")
	until(t, func() bool { return strings.HasSuffix(calls(), " 403\n") })
	if out := operate("audit", "list"); !strings.Contains(out, "rollout.set") {
		t.Errorf("audit list: %s", out)
	}
	until(t, func() bool {
		return strings.Contains(operate("attempt", "list", "--failed"), "lacks the scopes notes:write")
	})
	if code, out, errs := run(t, "attempt", "list", "--gateway", file, "--data-dir", t.TempDir()); code != 0 ||
		!strings.Contains(out, "lacks the scopes") {
		// where the issuer is elsewhere
		t.Errorf("attempts without the issuer: %d %s%s", code, out, errs)
	}
	code, _, errs := run(t, "rollout", "set", "observe", "--tenant", "acme", "--tool", "delete_note", "--gateway", file,
		"--data-dir", dataDir)
	complaint(t, code, errs, 1, "there is no tool")
	// where the issuer is elsewhere
	code, _, errs = run(t, "rollout", "set", "observe", "--tenant", "acme", "--gateway", file, "--data-dir",
		t.TempDir())
	if code != 0 || !strings.Contains(errs, "is not known here") {
		t.Errorf("without the issuer: %d %s", code, errs)
	}
	code, _, errs = run(t, "usage", "list", "--gateway", file+".none", "--data-dir", dataDir)
	complaint(t, code, errs, 2, "no such file")
}

// freeAddress is an address that was free a moment ago: it must be known before anybody listens
// there, because it is in the resource's name.
func freeAddress() string {
	l := httptest.NewServer(nil)
	defer l.Close()
	return l.Listener.Addr().String()
}

func TestGatewayTrouble(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "gateway.yaml")
	code, _, errs := run(t, "gateway", "serve", "--file", file)
	complaint(t, code, errs, 2, "no such file")
	must(t, os.WriteFile(file, []byte("isuer: x\n"), 0o600))
	code, _, errs = run(t, "gateway", "serve", "--file", file)
	complaint(t, code, errs, 2, `is it "issuer"?`)
	code, _, errs = run(t, "gateway", "init", "--upstream", "http://127.0.0.1:1/mcp", "--file", file)
	complaint(t, code, errs, 2, "is there already")
	code, _, errs = run(t, "gateway", "init", "--upstream", "http://127.0.0.1:1/mcp", "--file", file+".yaml")
	complaint(t, code, errs, 2, "cannot be reached")
	code, _, errs = run(t, "gateway", "init", "--file", file+".yaml")
	complaint(t, code, errs, 2, "give either --upstream or a program")
	for want, flags := range map[string][]string{
		"go together":  {"--upstream", "https://127.0.0.1:1/mcp", "--client-key", "key.pem"},
		"https URL":    {"--upstream", "http://127.0.0.1:1/mcp", "--ca", "ca.pem"},
		"no such file": {"--upstream", "https://127.0.0.1:1/mcp", "--ca", filepath.Join(dir, "none.pem")},
	} {
		code, _, errs = run(t, append([]string{"gateway", "init", "--file", file + ".yaml"}, flags...)...)
		complaint(t, code, errs, 2, want)
	}
	other := httptest.NewServer(http.HandlerFunc(notes))
	t.Cleanup(other.Close)
	code, _, errs = run(t, "gateway", "init", "--upstream", other.URL, "--file", file+".yaml")
	if code != 0 {
		t.Fatal(errs)
	}
	must(t, os.Remove(file+".lock"))
	code, out, errs := run(t, "gateway", "approve", "--look", "--file", file+".yaml")
	complaint(t, code, errs, 1, "differ from the approved")
	if !strings.Contains(out, "notes read_note: new") {
		t.Errorf("a look: %s", out)
	}
	if code, out, _ = run(t, "gateway", "approve", "--file", file+".yaml"); code != 0 ||
		!strings.Contains(out, "approved, in") {
		t.Errorf("approve: %d %s", code, out)
	}
	nobody := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(nobody.Close)
	code, _, errs = run(t, "gateway", "init", "--upstream", nobody.URL, "--file", file+".2.yaml")
	complaint(t, code, errs, 2, "answers 404")
	// A server that asks for a credential: the variable is named, and its secret is nowhere.
	closed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		notes(w, r)
	}))
	t.Cleanup(closed.Close)
	init := []string{"gateway", "init", "--upstream", closed.URL, "--credential-env", "NOTES_TOKEN", "--file",
		file + ".3.yaml"}
	code, _, errs = run(t, init...)
	complaint(t, code, errs, 2, "the environment has no NOTES_TOKEN")
	var said, wrong bytes.Buffer
	p := &cli.Program{Args: init, Stdout: &said, Stderr: &wrong,
		Getenv: func(name string) string { return map[string]string{"NOTES_TOKEN": "s3cret"}[name] }}
	if code := p.Run(t.Context()); code != 0 {
		t.Errorf("with a credential: %d %s", code, &wrong)
	}
	if text, err := os.ReadFile(file + ".3.yaml"); err != nil ||
		!strings.Contains(string(text),
			`credential: {header: "Authorization", prefix: "Bearer ", secret: {env: "NOTES_TOKEN"}}`) ||
		strings.Contains(string(text)+said.String(), "s3cret") {
		t.Errorf("proposed: %v\n%s", err, text)
	}
	// What a program says when it cannot run is what its owner needs.
	code, _, errs = run(t, "gateway", "init", "--file", file+".2.yaml", "--", "sh", "-c",
		"echo no such folder >&2; exit 1")
	if code != 2 || !strings.Contains(errs, "no such folder") {
		t.Errorf("a program that does not run: %d %s", code, errs)
	}
}
