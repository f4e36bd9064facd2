package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNoModuleReplacesAnother: a replace in a go.mod counts for nobody who requires the module, and
// go install MODULE@VERSION refuses it.
func TestNoModuleReplacesAnother(t *testing.T) {
	files, err := filepath.Glob("../*/go.mod")
	must(t, err)
	for _, file := range append(files, "../go.mod") {
		text, err := os.ReadFile(file)
		must(t, err)
		if regexp.MustCompile(`(?m)^replace\b`).Match(text) {
			t.Errorf("%s has a replace directive", file)
		}
		if file == "../e2e/go.mod" {
			continue
		}
		for _, foreign := range []string{"chromedp", "modelcontextprotocol/go-sdk", "mark3labs/mcp-go", "staticcheck"} {
			if strings.Contains(string(text), foreign) {
				t.Errorf("%s requires %s, which only tests in e2e use", file, foreign)
			}
		}
	}
}

// TestReleasedModulesAreUsable builds the examples of package guard in a module of somebody else's,
// and installs the command, both from releases of the modules as they are.
func TestReleasedModulesAreUsable(t *testing.T) {
	dir := t.TempDir()
	examples, err := filepath.Glob("../mcpserver/guard/example*_test.go")
	must(t, err)
	if len(examples) == 0 {
		t.Fatal("package guard has no example")
	}
	for _, example := range examples {
		text, err := os.ReadFile(example)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, filepath.Base(example)), text, 0o600))
	}
	must(t, os.WriteFile(filepath.Join(dir, "issuer_test.go"), []byte(exampleIssuer), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/scratch\n\ngo 1.26.0\n"), 0o600))
	script := `set -e
		go get "$OURS/mcpserver@$VERSION" "$OURS/shared@$VERSION"
		go vet .
		go list -m all
		GOBIN="$PWD/bin" go install "$OURS@$VERSION"
		./bin/gatehouse version`
	with, err := filepath.Abs("../scripts/with-modules")
	must(t, err)
	run := exec.Command(with, "bash", "-c", script)
	run.Dir, run.Env = dir, append(os.Environ(), "OURS="+modulePath)
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "v0.1.0-check.") {
		t.Errorf("the version of the installed command is not that of the release:\n%s", out)
	}
	for _, heavy := range []string{"ory/fosite", "chromedp", "modelcontextprotocol/go-sdk"} {
		if strings.Contains(string(out), heavy) {
			t.Errorf("who requires mcpserver gets %s too", heavy)
		}
	}
}

// exampleIssuer is the issuer of the examples, which the tests of package guard have elsewhere.
const exampleIssuer = `package guard_test

import (
	"context"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

type noTest struct{ testing.TB }

func (noTest) Helper()        {}
func (noTest) Cleanup(func()) {}

func toyIssuer() (*tokentest.Issuer, revocation.Reader) {
	revoked := revocation.NewMemory(nil)
	if err := revoked.Restore(context.Background(), nil, time.Hour); err != nil {
		panic(err)
	}
	return tokentest.NewIssuer(noTest{}), revoked
}
`
