// Package demotest is a test kit: it creates the schema without golang-migrate, which the MCP
// server does not depend on.
package demotest

import (
	"database/sql"
	"io/fs"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"
	_ "modernc.org/sqlite"             // registers "sqlite"

	"github.com/gatehouse-mcp/gatehouse/migrations"
)

// Migrate creates the schema in an empty database (sqlite:PATH or postgres://…), as golang-migrate
// would.
func Migrate(t testing.TB, database string) {
	t.Helper()
	driver, dialect, dsn := "pgx", "postgres", database
	if path, ok := strings.CutPrefix(database, "sqlite:"); ok {
		driver, dialect, dsn = "sqlite", "sqlite", "file:"+strings.NewReplacer("%", "%25", "?", "%3f", "#",
			"%23").Replace(path)
	}
	db, err := sql.Open(driver, dsn)
	must(t, err)
	defer db.Close()
	set, err := migrations.Companion(dialect)
	must(t, err)
	files, err := fs.Glob(set, "*.up.sql")
	must(t, err)
	for _, name := range files {
		text, err := fs.ReadFile(set, name)
		must(t, err)
		_, err = db.Exec(string(text))
		must(t, err)
	}
	for _, statement := range []string{"CREATE TABLE schema_migrations_companion (version BIGINT, dirty BOOLEAN)",
		"INSERT INTO schema_migrations_companion VALUES (1, FALSE)"} {
		_, err := db.Exec(statement)
		must(t, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
