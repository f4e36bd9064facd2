package migrations_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/migrations"
)

// hashes has a line for each migration: its SHA-256 and its name, as sha256sum prints them. A
// migration that is on main never changes, its comments neither: databases keep the hash of what
// they applied. A new one adds its line.
const hashes = "testdata/hashes.txt"

func TestMigrationThatWasMergedNeverChanges(t *testing.T) {
	text, err := os.ReadFile(hashes)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for line := range strings.Lines(string(text)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		want[name] = sum
	}
	err = filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".up.sql") {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		switch got := fmt.Sprintf("%x", sha256.Sum256(content)); want[path] {
		case got:
		case "":
			t.Errorf("%s is new: add the line %q to %s", path, got+"  "+path, hashes)
		default:
			t.Errorf("%s was changed after it was merged; write a new migration", path)
		}
		delete(want, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path := range want {
		t.Errorf("%s was removed or renamed after it was merged", path)
	}
}

func TestBothDialectsHaveTheSameMigrations(t *testing.T) {
	for what, set := range map[string]func(string) (fs.FS, error){"issuer": migrations.Issuer,
		"companion": migrations.Companion} {
		names := map[string][]string{}
		for _, dialect := range []string{"sqlite", "postgres"} {
			content, err := set(dialect)
			if err != nil {
				t.Fatal(err)
			}
			if names[dialect], err = fs.Glob(content, "*.sql"); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := strings.Join(names["postgres"], " "), strings.Join(names["sqlite"], " "); got != want {
			t.Errorf("%s: PostgreSQL has %s, SQLite has %s", what, got, want)
		}
	}
}
