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
	"github.com/gatehouse-mcp/gatehouse/shared/database"
)

// Migrate creates the schema in an empty database (sqlite:PATH or postgres://…), as golang-migrate
// would.
func Migrate(t testing.TB, name string) {
	t.Helper()
	driver, dialect, dsn := "pgx", "postgres", name
	if path, ok := strings.CutPrefix(name, "sqlite:"); ok {
		driver, dialect, dsn = "sqlite", "sqlite", database.SQLiteURI(path)
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
