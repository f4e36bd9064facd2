package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/golang-migrate/migrate/v4/source"
)

// noTransaction is in the name of a migration that cannot run inside a transaction (CREATE INDEX
// CONCURRENTLY), as in 000012_index.no_transaction.up.sql. Such a file must be repeatable: a
// process that is killed between it and its mark applies it again at the next start.
const noTransaction = ".no_transaction"

// file is one migration.
type file struct {
	name          string
	text          string
	noTransaction bool
}

// sum identifies the migration's text.
func (f file) sum() string {
	h := sha256.Sum256([]byte(f.text))
	return hex.EncodeToString(h[:])
}

// files are the migrations of one set and dialect, by version.
type files map[int]file

// readFiles reads the files whose names end with .up.sql.
func readFiles(content fs.FS) (files, error) {
	entries, err := fs.ReadDir(content, ".")
	if err != nil {
		return nil, fmt.Errorf("reading migrations: %w", err)
	}
	f := files{}
	for _, e := range entries {
		m, err := source.DefaultParse(e.Name())
		if err != nil || m.Direction != source.Up {
			continue
		}
		text, err := fs.ReadFile(content, e.Name())
		if err != nil {
			return nil, fmt.Errorf("reading migration %s: %w", e.Name(), err)
		}
		f[int(m.Version)] = file{e.Name(), string(text), strings.HasSuffix(m.Identifier, noTransaction)}
	}
	return f, nil
}

// versions returns the versions in order.
func (f files) versions() []int { return slices.Sorted(maps.Keys(f)) }

// before returns the version applied before v; -1 (database.NilVersion) for the first.
func (f files) before(v int) int {
	before := -1
	for _, have := range f.versions() {
		if have < v {
			before = have
		}
	}
	return before
}

// status compares the version that a database has with the files.
func (f files) status(version int, dirty bool) Status {
	st := Status{Version: max(version, 0), Dirty: dirty}
	for _, v := range f.versions() {
		st.Latest = v
		if v > version {
			st.Pending = append(st.Pending, f[v].name)
		}
	}
	return st
}
