package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryDependencyHasItsReason holds docs/explanation/dependencies.md against the go.mod files:
// each module that we require directly is named there, and no module is named that nobody requires.
func TestEveryDependencyHasItsReason(t *testing.T) {
	page, err := os.ReadFile("../docs/explanation/dependencies.md")
	must(t, err)
	files, err := filepath.Glob("../*/go.mod")
	must(t, err)
	required := map[string]bool{}
	for _, file := range append(files, "../go.mod") {
		text, err := os.ReadFile(file)
		must(t, err)
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) != 2 || !strings.Contains(fields[0], ".") || !strings.HasPrefix(fields[1], "v") ||
				strings.HasPrefix(fields[0], "github.com/gatehouse-mcp/") {
				continue // no direct requirement: those that are indirect say so
			}
			required[fields[0]] = true
			if !strings.Contains(string(page), "`"+fields[0]+"`") {
				t.Errorf("%s requires %s, and docs/explanation/dependencies.md does not say why", file, fields[0])
			}
		}
	}
	for i, word := range strings.Split(string(page), "`") {
		if domain, _, ok := strings.Cut(word, "/"); i%2 == 1 && ok && strings.Contains(domain, ".") &&
			!strings.HasSuffix(word, ".go") && !required[word] {
			t.Errorf("docs/explanation/dependencies.md names %s, which no go.mod requires directly", word)
		}
	}
	if len(required) < 15 {
		t.Errorf("%d modules are required, want 15 at least", len(required))
	}
}
