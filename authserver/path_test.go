package authserver_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// maxChanges bounds the calls from one package into another that a token request makes.
const maxChanges = 12

// modulePrefix begins the import paths of this repository.
const modulePrefix = "github.com/gatehouse-mcp/gatehouse/"

// vocabulary are the packages whose functions are words that the others use, like those of the
// standard library: shared, and the domain types with their rules, which know no store and no HTTP.
// A call of theirs leads nowhere and is not counted.
var vocabulary = []string{
	"shared/", "web", "authserver/internal/attempt", "authserver/internal/client", "authserver/internal/grant",
	"authserver/internal/tenant", "authserver/internal/trustedissuer", "authserver/internal/user",
}

// TestThePathOfATokenRequest builds this package once more with a call at the beginning of each
// function, which records the package when it is entered from another one, and sends one
// client_credentials and one refresh request. docs/explanation/architecture.md shows both paths.
func TestThePathOfATokenRequest(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the authorization server once more")
	}
	if recording {
		recordPaths(t)
		return
	}
	page, err := os.ReadFile("../docs/explanation/architecture.md")
	must(t, err)
	command := exec.Command("go", "test", "-count=1", "-vet=off", "-overlay="+instrument(t),
		"-run=^"+t.Name()+"$", "-v", ".")
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	paths := 0
	for line := range strings.Lines(string(out)) {
		name, path, ok := strings.Cut(strings.TrimSpace(line), " = ")
		if !ok {
			continue
		}
		paths++
		packages := strings.Split(path, " → ")
		if changes := len(packages) - 1; changes > maxChanges {
			t.Errorf("%s: %d changes of package, want at most %d: %s", name, changes, maxChanges, path)
		}
		if !strings.Contains(string(page), path) {
			t.Errorf("docs/explanation/architecture.md does not have the path of %s:\n%s", name, path)
		}
	}
	if paths != 2 {
		t.Errorf("got %d paths, want 2:\n%s", paths, out)
	}
}

// recordPaths prints the paths. Each request is sent twice, so that what is cached is cached.
func recordPaths(t *testing.T) {
	h := startServer(t)
	m, a := h.machine("acme", "customers:read"), h.register(map[string]any{})
	_, leaf := a.tokens(h.person("ann@acme.example"), "customers:read")
	send := func(form url.Values, header http.Header) (path []string, answer map[string]any) {
		r := httptest.NewRequest(http.MethodPost, h.URL+"/oauth2/token", strings.NewReader(form.Encode()))
		header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header = header
		w := httptest.NewRecorder()
		path = record(func() { h.Server.Handler().ServeHTTP(w, r) })
		must(t, json.Unmarshal(w.Body.Bytes(), &answer))
		if w.Code != http.StatusOK {
			t.Fatalf("got %d %v", w.Code, answer)
		}
		return path, answer
	}
	machine := url.Values{"grant_type": {"client_credentials"}, "resource": {resourceURI}}
	for range 2 {
		send(machine, basicAuth(m.ID, m.Secret))
	}
	path, _ := send(machine, basicAuth(m.ID, m.Secret))
	fmt.Println("client_credentials = " + strings.Join(path, " → "))
	for range 2 {
		form := refreshment(leaf)
		form.Set("client_id", a.ID)
		var answer map[string]any
		path, answer = send(form, http.Header{})
		leaf, _ = answer["refresh_token"].(string)
	}
	fmt.Println("refresh_token = " + strings.Join(path, " → "))
}

// instrument writes an overlay of the sources for the go command, and returns its path.
func instrument(t *testing.T) string {
	t.Helper()
	command := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,GoFiles", ".")
	listed, err := command.Output()
	must(t, err)
	dir := t.TempDir()
	replace := map[string]string{}
	put := func(at string, text []byte) {
		to := filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		must(t, os.WriteFile(to, text, 0o600))
		replace[at] = to
	}
	decoder := json.NewDecoder(bytes.NewReader(listed))
	for decoder.More() {
		var p struct {
			ImportPath, Dir string
			GoFiles         []string
		}
		must(t, decoder.Decode(&p))
		name, ours := strings.CutPrefix(p.ImportPath, modulePrefix)
		if !ours || slices.ContainsFunc(vocabulary, func(v string) bool { return strings.HasPrefix(name, v) }) {
			continue
		}
		for _, file := range p.GoFiles {
			at := filepath.Join(p.Dir, file)
			text, err := os.ReadFile(at)
			must(t, err)
			put(at, instrumented(t, text, filepath.Base(name)))
		}
	}
	here, err := os.Getwd()
	must(t, err)
	recorder, err := os.ReadFile("testdata/path/recorder.go")
	must(t, err)
	put(filepath.Join(here, "../shared/pathrecorder/recorder.go"), recorder)
	switched, err := os.ReadFile("testdata/path/on.go")
	must(t, err)
	put(filepath.Join(here, "path_record_test.go"), switched)
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	must(t, err)
	at := filepath.Join(dir, "overlay.json")
	must(t, os.WriteFile(at, overlay, 0o600))
	return at
}

// instrumented is a Go file with a call at the beginning of each function.
func instrumented(t *testing.T, text []byte, pkg string) []byte {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", text, parser.SkipObjectResolution)
	must(t, err)
	var bodies []int
	ast.Inspect(file, func(n ast.Node) bool {
		var body *ast.BlockStmt
		switch f := n.(type) {
		case *ast.FuncDecl:
			body = f.Body
		case *ast.FuncLit:
			body = f.Body
		}
		if body != nil {
			bodies = append(bodies, files.Position(body.Lbrace).Offset+1)
		}
		return true
	})
	if len(bodies) == 0 {
		return text
	}
	var out bytes.Buffer
	last := files.Position(file.Name.End()).Offset
	out.Write(text[:last])
	fmt.Fprintf(&out, "; import pathrecorder %q", modulePrefix+"shared/pathrecorder")
	for _, at := range bodies {
		out.Write(text[last:at])
		fmt.Fprintf(&out, "defer pathrecorder.Enter(%q)();", pkg)
		last = at
	}
	out.Write(text[last:])
	return out.Bytes()
}
