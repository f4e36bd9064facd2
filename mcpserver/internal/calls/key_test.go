package calls_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/calls"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// The key that names arguments is made once beside a database that is a file, for its owner alone
// and whole: anyone who comes at the same time, and anyone who comes later, has the same.
func TestTheKeyThatNamesArgumentsIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	database := "sqlite:" + filepath.Join(dir, "gateway.db")
	var mu sync.Mutex
	keys := map[string]int{}
	var starts sync.WaitGroup
	for range 16 {
		starts.Go(func() {
			key, err := calls.KeyOf(database, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			keys[key.Reveal()]++
		})
	}
	starts.Wait()
	if len(keys) != 1 {
		t.Fatalf("got %d keys", len(keys))
	}
	for key := range keys {
		if len(key) < 32 {
			t.Errorf("the key has %d characters", len(key))
		}
	}
	path := filepath.Join(dir, "gateway.arguments.key")
	info, err := os.Stat(path)
	must(t, err)
	files, err := os.ReadDir(dir)
	must(t, err)
	if info.Mode().Perm() != 0o600 || len(files) != 1 {
		t.Errorf("the file has mode %v, and %d files are there", info.Mode(), len(files))
	}
	must(t, os.WriteFile(path, []byte(" \n"), 0o600))
	if _, err := calls.KeyOf(database, slog.New(slog.DiscardHandler)); err == nil ||
		!strings.Contains(err.Error(), "is empty") {
		t.Errorf("an empty file: %v", err)
	}
	if _, err := calls.KeyOf("sqlite:"+filepath.Join(dir, "none", "gateway.db"),
		slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a folder that is not there has a key")
	}
	var said testenv.Book
	if key, err := calls.KeyOf("postgres://db/x", slog.New(slog.NewTextHandler(&said, nil))); key != "" || err != nil ||
		!strings.Contains(said.String(), "level=WARN") {
		t.Errorf("PostgreSQL: got a key %v, %v, said %s", key != "", err, &said)
	}
}
