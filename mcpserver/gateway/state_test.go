package gateway_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/gateway"
)

// remember calls a tool of the test's program that keeps what it is told wherever a program keeps
// things, and says what it had kept before.
func (g *gate) remember(tenant, what string) string {
	g.t.Helper()
	body := fmt.Sprintf(
		`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"read_it","arguments":{"kind":"remember",`+
			`"echo":%q}}}`, what)
	got := g.post("crm", g.token("crm", tenant, "crm:read"), body)
	var a struct {
		Result struct{ Content []struct{ Text string } }
	}
	if err := json.Unmarshal([]byte(got.body), &a); err != nil || len(a.Result.Content) != 1 {
		g.t.Fatalf("%s's call: %d %s\n%s", tenant, got.status, got.body, g.log)
	}
	kept, _, _ := strings.Cut(a.Result.Content[0].Text, "|")
	return kept
}

// The proposal for a program, untouched, keeps the data of tenants apart: each process has a
// folder, a HOME and a TMPDIR of its own, which last.
func TestProposedProgramsShareNoData(t *testing.T) {
	t.Setenv("GATEWAY_TEST_PROCESS", "serve")
	p, err := gateway.Propose(t.Context(), gateway.Existing{Command: []string{os.Args[0], "x"},
		Environment: []string{"GATEWAY_TEST_PROCESS"}, Getenv: os.Getenv, Name: "crm"})
	must(t, err)
	if !strings.Contains(string(p.Config), "WHERE DOES THIS PROGRAM KEEP") {
		t.Errorf("the file does not ask where the program keeps its state:\n%s", p.Config)
	}
	_, upstreams, _ := strings.Cut(string(p.Config), "upstreams:\n")
	g := openGate(t, strings.Replace(upstreams, "http://localhost:8090", "$URL", 1))
	other := map[string]string{"acme": "globex", "globex": "acme"}
	for _, again := range []bool{false, true} {
		for _, tenant := range []string{"acme", "globex"} {
			got := g.remember(tenant, "secret-of-"+tenant)
			if strings.Contains(got, "secret-of-"+other[tenant]) ||
				strings.Contains(got, "secret-of-"+tenant) != again {
				t.Errorf("%s had kept %q", tenant, got)
			}
		}
	}
	for _, tenant := range []string{"acme", "globex"} {
		info, err := os.Stat(filepath.Join(filepath.Dir(g.file), "state", "crm", tenant))
		must(t, err)
		if info.Mode().Perm() != 0o700 {
			t.Errorf("the folder of %s is open to others: %v", tenant, info.Mode())
		}
	}
	if strings.Contains(g.log.String(), "share one folder and HOME") {
		t.Errorf("what keeps tenants apart is warned of:\n%s", g.log)
	}
}

// A command that is the same for every tenant in every way is warned of; {state} in its words is
// the tenant's folder.
func TestStateFoldersAreFilledIn(t *testing.T) {
	g := openGate(t, lines("serve"))
	if strings.Contains(g.log.String(), "share one folder and HOME") {
		t.Error("a command with {tenant} in it is warned of")
	}
	g = openGate(t, strings.Replace(lines("serve"), "for-{tenant}", "for-all", 1))
	if !strings.Contains(g.log.String(), "share one folder and HOME") {
		t.Error("a command without {tenant} is not warned of")
	}
	g = openGate(t, strings.Replace(lines("serve"), "for-{tenant}", "{state}/for-{tenant}", 1)+"    state: here\n")
	got := g.post("crm", g.token("crm", "acme", "read"), call("read_it"))
	if want := filepath.Join(filepath.Dir(g.file), "here", "acme", "for-acme"); !strings.Contains(got.body, want) {
		t.Errorf("the process's argument is not %s: %s", want, got.body)
	}
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	for _, row := range []string{
		strings.Replace(lines("serve"), "for-{tenant}", "{state}/x", 1),
		"  - {name: crm, resource: \"http://localhost/crm\", url: \"http://localhost:1/\", state: x}\n",
	} {
		must(t, os.WriteFile(path,
			[]byte("issuer: http://localhost:1\nupstreams:\n"+strings.ReplaceAll(row, "$URL", "http://localhost")),
			0o600))
		if _, err := gateway.ReadFile(path); err == nil || !strings.Contains(err.Error(), "state") {
			t.Errorf("%s: got %v", row, err)
		}
	}
}

// Where the file is named by a relative path, {state} and the paths in it are absolute all the
// same: a process that works in {state} would look for others below itself.
func TestARelativeFileHasAbsoluteFolders(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	must(t, err)
	must(t, os.Mkdir("below", 0o700))
	for _, path := range []string{"gateway.yaml", "below/gateway.yaml", "below/../gateway.yaml"} {
		must(t, os.WriteFile(path,
			[]byte("issuer: http://localhost:1\nclient_secret: {file: secret}\nupstreams:\n"+
				strings.ReplaceAll(lines("serve"), "$URL", "http://localhost")+"    state: here/now\n"), 0o600))
		f, err := gateway.ReadFile(path)
		must(t, err)
		folder := filepath.Join(here, filepath.Dir(path))
		if got, want := f.Upstreams[0].State, filepath.Join(folder, "here/now"); got != want {
			t.Errorf("%s: the state is at %s, want %s", path, got, want)
		}
		if got, want := f.ClientSecret.File, filepath.Join(folder, "secret"); got != want {
			t.Errorf("%s: the secret is at %s, want %s", path, got, want)
		}
	}
}

// What an operator names by where they are is found from every tenant's folder; and variables come
// by name.
func TestProposalsOfPrograms(t *testing.T) {
	t.Setenv("GATEWAY_TEST_PROCESS", "serve")
	t.Setenv("SOME_API_KEY", "k3y")
	t.Chdir(t.TempDir())
	must(t, os.WriteFile("list.txt", nil, 0o600))
	must(t, os.Mkdir("pkg", 0o700))
	p, err := gateway.Propose(t.Context(), gateway.Existing{
		Command:     []string{os.Args[0], "list.txt", "./pkg", "pkg", "--x=list.txt", "no-file"},
		Environment: []string{"GATEWAY_TEST_PROCESS", "SOME_API_KEY", "HOME"}, Getenv: os.Getenv,
	})
	must(t, err)
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	must(t, os.WriteFile(path, p.Config, 0o600))
	f, err := gateway.ReadFile(path)
	must(t, err)
	u := f.Upstreams[0]
	here, err := os.Getwd()
	must(t, err)
	if got, want := strings.Join(u.Command[1:], " "), filepath.Join(here, "list.txt")+" "+filepath.Join(here, "pkg")+
		" pkg --x=list.txt no-file"; got != want {
		t.Errorf("the command's arguments are %s, want %s", got, want)
	}
	if got := strings.Join(u.Environment, " "); got != "PATH GATEWAY_TEST_PROCESS SOME_API_KEY HOME" ||
		strings.Contains(string(p.Config), "k3y") || !strings.Contains(string(p.Config), "LOOK TWICE: with HOME") {
		t.Errorf("the variables are %s in\n%s", got, p.Config)
	}
}
