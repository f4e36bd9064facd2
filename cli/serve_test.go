package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/cli"
)

const (
	before = "Call a tool from a shell:"
	after  = "The same with the MCP Inspector,"
)

func TestThePrintedLinesWorkAsPrinted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's a folder")
	for _, start := range []string{"first", "second"} {
		s := serve(t, dir)
		out := shell(t, pasteable(t, s.stdout.String(), before, after))
		for _, want := range []string{`"create_ticket"`, `"read_customer"`, `"search_knowledge_base"`,
			`"update_customer"`, `"structuredContent"`, "Returning a rocket sled"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s start: the lines do not answer with %s:\n%s", start, want, out)
			}
		}
		if code := s.stop(); code != 0 {
			t.Errorf("%s start: exit code %d, want 0:\n%s", start, code, s.stderr)
		}
	}
}

func TestServeCanRequireDPoP(t *testing.T) {
	s := serve(t, t.TempDir(), "--require-dpop")
	r, err := http.Get(strings.TrimSuffix(s.Resource, "/mcp") + "/.well-known/oauth-protected-resource")
	must(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	must(t, err)
	if !strings.Contains(string(body), `"dpop_bound_access_tokens_required":true`) {
		t.Errorf("the resource's metadata say %s", body)
	}
}

func TestPasswordsArePrintedAtTheFirstStartOnly(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	signIns, err := os.ReadFile(filepath.Join(dir, "demo-sign-ins.txt"))
	must(t, err)
	var passwords []string
	for line := range strings.Lines(string(signIns)) {
		fields := strings.Fields(line)
		passwords = append(passwords, fields[1])
		if !strings.Contains(s.stdout.String(), strings.TrimSpace(line)) {
			t.Errorf("the first start does not print %s's sign-in", fields[0])
		}
	}
	if len(passwords) != 4 {
		t.Fatalf("%d sign-ins, want 4:\n%s", len(passwords), signIns)
	}
	s.stop()
	again := serve(t, dir)
	for _, password := range passwords {
		if strings.Contains(again.stdout.String(), password) ||
			strings.Contains(again.stderr.String()+s.stderr.String(), password) {
			t.Error("a password is in the log, or printed again")
		}
	}
	if !strings.Contains(again.stdout.String(), filepath.Join(dir, "demo-sign-ins.txt")) {
		t.Errorf("the second start does not say where the sign-ins are:\n%s", again.stdout)
	}
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	serve(t, dir)
	must(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	}))
}

func TestDemoFalseStartsEmpty(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, "--demo=false")
	code, out, stderr := run(t, "tenant", "list", "--data-dir", dir)
	if code != 0 || strings.Contains(out, "acme") {
		t.Errorf("got exit code %d and\n%s%s", code, out, stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "demo-sign-ins.txt")); err == nil ||
		strings.Contains(s.stdout.String(), "demo") {
		t.Errorf("there is something of a demo:\n%s", s.stdout)
	}
	s.stop()
	serve(t, dir) // a store that is still empty may be filled later
	if _, err := os.Stat(filepath.Join(dir, "demo-sign-ins.txt")); err != nil {
		t.Error(err)
	}
}

// TestGrantEndCountsAtOnce is the sentence: ending a grant makes the next call with a still
// unexpired token a 401 (RV-01, RV-06).
func TestGrantEndCountsAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	lines := pasteable(t, s.stdout.String(), before, "curl -s "+s.Resource)
	token := strings.TrimSpace(shell(t, lines+"\necho \"$TOKEN\""))
	if got := toolsList(t, s, token); got != http.StatusOK {
		t.Fatalf("before: tools/list answers %d, want 200", got)
	}
	code, out, stderr := run(t, "grant", "list", "--active", "--data-dir", dir)
	id := regexp.MustCompile(`grt_[a-z0-9]+`).FindString(out)
	if code != 0 || id == "" {
		t.Fatalf("grant list: exit code %d\n%s%s", code, out, stderr)
	}
	if code, out, stderr = run(t, "grant", "revoke", id, "--data-dir", dir, "--reason", "a test"); code != 0 {
		t.Fatalf("grant revoke: exit code %d\n%s%s", code, out, stderr)
	}
	if got := toolsList(t, s, token); got != http.StatusUnauthorized {
		t.Errorf("after: tools/list answers %d, want 401", got)
	}
	s.stop()
	if _, out, _ = run(t, "grant", "list", "--data-dir", dir); !strings.Contains(out, "a test") {
		t.Errorf("with no server running, the store does not tell how it ended:\n%s", out)
	}
	if again := serve(t, dir, "--issuer", s.Issuer, "--resource", s.Resource); again != nil {
		code, out, _ := run(t, "audit", "list", "--data-dir", dir)
		if code != 0 || !strings.Contains(out, "grant.revoke") {
			t.Errorf("the audit list has no line of it:\n%s", out)
		}
	}
}

func toolsList(t *testing.T, s *served, token string) int {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, s.Resource,
		strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("MCP-Protocol-Version", "2025-11-25")
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	must(t, err)
	return response.StatusCode
}

func TestURLsComeFromTheListeners(t *testing.T) {
	s := serve(t, t.TempDir(), "--resource-algorithm", "RS256")
	response, err := http.Get(s.Issuer + "/.well-known/oauth-authorization-server")
	must(t, err)
	defer response.Body.Close()
	var metadata struct {
		Issuer    string   `json:"issuer"`
		Resources []string `json:"protected_resources"`
	}
	must(t, json.NewDecoder(response.Body).Decode(&metadata))
	metadataOfResource,
		err := http.Get(strings.Replace(s.Resource, "/mcp", "/.well-known/oauth-protected-resource/mcp", 1))
	must(t, err)
	defer metadataOfResource.Body.Close()
	var resource struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
	}
	must(t, json.NewDecoder(metadataOfResource.Body).Decode(&resource))
	if resource.Resource != s.Resource || len(resource.Servers) != 1 || resource.Servers[0] != metadata.Issuer {
		// AS-04, MD-04: byte for byte
		t.Errorf("the resource's metadata say %+v, the issuer's %+v", resource, metadata)
	}
	if metadata.Issuer != s.Issuer || len(metadata.Resources) != 1 || metadata.Resources[0] != s.Resource {
		t.Errorf("the metadata says %+v, the program %+v", metadata, s.Addresses)
	}
}

// C6: with --issuer at another port than the default the issuer listened at 8080, and every token
// failed.
func TestServerListensWhereItsURLsName(t *testing.T) {
	free := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		must(t, err)
		return port
	}
	issuer, resource := "http://localhost:"+free(), "http://127.0.0.1:"+free()+"/mcp"
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var answered []int
	p := &cli.Program{
		Args: []string{"serve", "--data-dir", t.TempDir(), "--demo=false", "--issuer", issuer, "--resource",
			resource},
		Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{},
		Ready: func(cli.Addresses) {
			go func() {
				defer stop()
				for _, at := range []string{issuer + "/healthz", strings.TrimSuffix(resource, "/mcp") + "/readyz"} {
					r, err := http.Get(at)
					if err != nil {
						t.Error(err)
						return
					}
					r.Body.Close()
					answered = append(answered, r.StatusCode)
				}
			}()
		},
	}
	if code := p.Run(ctx); code != 0 || !slices.Equal(answered, []int{200, 200}) {
		t.Errorf("got exit code %d and answers %v, want 0 and 200 from both", code, answered)
	}
}
