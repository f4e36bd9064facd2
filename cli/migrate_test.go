package cli_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // registers "sqlite"
)

func TestMigrateStatusAndRepair(t *testing.T) {
	dir := t.TempDir()
	code, _, stderr := run(t, "migrate", "status", "--data-dir", dir)
	complaint(t, code, stderr, 2, "there is no database")
	do(t, dir, "", "up to date", "migrate")
	do(t, dir, "", "up to date", "migrate", "status")

	db, err := sql.Open("sqlite", filepath.Join(dir, "gatehouse.db"))
	must(t, err)
	defer db.Close()
	_, err = db.Exec("UPDATE schema_migrations_issuer SET dirty = TRUE") // as a program left it that was killed
	must(t, err)
	code, _, stderr = run(t, append([]string{"serve", "--data-dir", dir}, free...)...)
	complaint(t, code, stderr, 2, "killed while it applied")
	if !strings.Contains(stderr, "migrate repair") {
		t.Errorf("the hint does not name the cure: %s", stderr)
	}
	code, out, _ := run(t, "migrate", "status", "--data-dir", dir)
	if code != 1 || !strings.Contains(out, "needs repair") {
		t.Errorf("status: got %d, %s; want 1, needs repair", code, out)
	}
	do(t, dir, "", "issuer: migration", "migrate", "repair")
	do(t, dir, "", "companion: needed no repair", "migrate", "repair")
	server := serve(t, dir)
	do(t, dir, "", "up to date", "migrate", "status") // beside the server
	server.stop()

	_, err = db.Exec("UPDATE schema_migrations_issuer_files SET sha256 = 'another' WHERE version = 9")
	must(t, err)
	code, _, stderr = run(t, append([]string{"serve", "--data-dir", dir}, free...)...)
	complaint(t, code, stderr, 2, "000009_jobs.up.sql")
}
