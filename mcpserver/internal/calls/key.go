package calls

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

// KeyOf returns the default key for the hashes of arguments: the one beside a database that is a
// file. For another database it is empty, and it logs that the hashes change with each start and
// differ between replicas.
func KeyOf(database string, log *slog.Logger) (config.Secret, error) {
	path := KeyFile(database)
	if path == "" {
		log.Warn("the names of calls' arguments change with each start, and differ between replicas: set the " +
			"arguments key, to compare them")
		return "", nil
	}
	return Key(path)
}

// KeyFile returns the file of the key beside a database that is a file; "" for another.
func KeyFile(database string) string {
	path, embedded := strings.CutPrefix(database, "sqlite:")
	if !embedded {
		return ""
	}
	return strings.TrimSuffix(path, ".db") + ".arguments.key"
}

// Key reads the key for the hashes of arguments, and creates the file if it does not exist, so that
// hashes stay the same after a restart. Of several processes that create it at once, all get the
// first key.
func Key(path string) (config.Secret, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeKey(path); err == nil {
			key, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return "", fmt.Errorf("the key that names arguments: %w", err)
	}
	s := strings.TrimSpace(string(key))
	if s == "" {
		return "", fmt.Errorf("the key that names arguments: %s is empty; remove it, and another is made", path)
	}
	return config.Secret(s), nil
}

// makeKey creates the file atomically, unless it exists.
func makeKey(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // readable by its owner alone
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(rand.Text() + rand.Text() + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
