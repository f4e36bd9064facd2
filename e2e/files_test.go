package e2e_test

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// repository returns the text of the repository's files that are wanted, by their paths from its
// root. It leaves out what is hidden, installed or built.
func repository(t *testing.T, wanted func(name string) bool) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, fs.WalkDir(os.DirFS(".."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		hidden := name != "." && strings.HasPrefix(base, ".")
		switch {
		case d.IsDir() && (hidden || base == "node_modules" || slices.Contains([]string{"data", "bin"}, name)):
			return fs.SkipDir
		case d.IsDir() || !wanted(name):
			return nil
		}
		text, err := os.ReadFile(path.Join("..", name))
		all[name] = string(text)
		return err
	}))
	return all
}
