// Package schema brings a database to the newest schema, with golang-migrate.
package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	pgxmigrate "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	sqlitemigrate "github.com/golang-migrate/migrate/v4/database/sqlite"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"
)

// ErrDirty says that an earlier migration was cut short; the error around it says of which version.
var ErrDirty = errors.New("an earlier migration was cut short; restore the database from before it, or finish it by hand")

// ErrNewer says that the database was migrated by a newer program.
var ErrNewer = errors.New("the database has a newer schema than this program knows; run the newer program")

// ErrDatabase says that a database's name is of no kind that we speak.
var ErrDatabase = errors.New("a database is given as sqlite:PATH or postgres://…")

// Up applies what is missing of a set of migrations (migrations.Issuer or migrations.Companion). table keeps the set's version. Replicas that
// start at once take turns on PostgreSQL by golang-migrate's lock; a SQLite file is migrated by the one process that holds its directory.
func Up(ctx context.Context, databaseName string, set func(dialect string) (fs.FS, error), table string) (err error) {
	dialect, db, err := open(databaseName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.PingContext(ctx); err != nil {
		return fmt.Errorf("opening the database for migration: %w", err)
	}
	files, err := set(dialect)
	if err != nil {
		return fmt.Errorf("reading migrations: %w", err)
	}
	source, err := iofs.New(files, ".")
	if err != nil {
		return fmt.Errorf("reading migrations: %w", err)
	}
	defer source.Close()
	driver, err := driverFor(dialect, db, table)
	if err != nil {
		return fmt.Errorf("preparing migration: %w", err)
	}
	m, err := migrate.NewWithInstance("embedded", source, dialect, driver)
	if err != nil {
		return fmt.Errorf("preparing migration: %w", err)
	}
	return explain(m.Up())
}

func explain(err error) error {
	var dirty migrate.ErrDirty
	switch {
	case err == nil || errors.Is(err, migrate.ErrNoChange):
		return nil
	case errors.As(err, &dirty):
		return fmt.Errorf("version %d: %w", dirty.Version, ErrDirty)
	case errors.Is(err, fs.ErrNotExist):
		return ErrNewer
	}
	return fmt.Errorf("migrating: %w", err)
}

func open(name string) (dialect string, db *sql.DB, err error) {
	if path, ok := strings.CutPrefix(name, "sqlite:"); ok && path != "" {
		db, err = sql.Open("sqlite", "file:"+escape(path)+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=secure_delete(1)")
		return "sqlite", db, err
	}
	if strings.HasPrefix(name, "postgres://") || strings.HasPrefix(name, "postgresql://") {
		db, err = sql.Open("pgx", name)
		return "postgres", db, err
	}
	return "", nil, ErrDatabase
}

// escape keeps a path's special characters out of the query of a SQLite URI.
func escape(path string) string {
	return strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
}

func driverFor(dialect string, db *sql.DB, table string) (database.Driver, error) {
	if dialect == "sqlite" {
		return sqlitemigrate.WithInstance(db, &sqlitemigrate.Config{MigrationsTable: table})
	}
	return pgxmigrate.WithInstance(db, &pgxmigrate.Config{MigrationsTable: table})
}
