// Package schema migrates a database to the newest schema, with golang-migrate.
package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"

	"github.com/gatehouse-mcp/gatehouse/shared/database"
)

// ErrDirty says that an earlier program was killed while it applied a migration; the error around
// it says which.
var ErrDirty = errors.New("an earlier program was killed while it applied this migration; `gatehouse migrate repair` " +
	"finds out whether it was applied, and finishes it")

// ErrNewer says that the database was migrated by a newer program.
var ErrNewer = errors.New("the database has a newer schema than this program knows; run the newer program")

// ErrChanged says that a migration was applied with another text than this program has.
var ErrChanged = errors.New("it was applied to this database with another text than this program has; run a released " +
	"program, or restore the database from a backup")

// ErrDatabase says that a database URL is of no supported kind.
var ErrDatabase = errors.New("a database is given as sqlite:PATH or postgres://…")

// Status is how far a database is migrated.
type Status struct {
	Version int      // newest applied migration; 0: none
	Latest  int      // newest migration of this program
	Dirty   bool     // an earlier program was killed while it applied Version
	Pending []string // files that Up would apply, in order
}

// Up applies the missing migrations of a set (migrations.Issuer or migrations.Companion). table
// stores the set's version. A migration and its mark are one transaction, so that a process killed
// at any moment leaves a database that the next Up completes. Replicas that start at once take
// turns on PostgreSQL by golang-migrate's lock; a SQLite file is migrated by the one process that
// holds its directory.
//
// Errors: ErrDatabase, ErrNewer, ErrChanged, and ErrDirty for what an older version left.
func Up(ctx context.Context, databaseName string, set func(dialect string) (fs.FS, error), table string) error {
	return with(ctx, databaseName, set, table, func(s *session) error {
		if err := s.driver.resume(); err != nil {
			return err
		}
		if err := explain(s.migrate.Up()); err != nil {
			return err
		}
		return s.driver.adopt(ctx)
	})
}

// ReadStatus returns how far the database is migrated, together with ErrNewer and ErrChanged. It
// changes nothing, except that it creates missing version tables.
func ReadStatus(ctx context.Context, databaseName string, set func(dialect string) (fs.FS, error),
	table string) (st Status, err error) {
	err = with(ctx, databaseName, set, table, func(s *session) error {
		version, dirty, err := s.driver.Version()
		if err != nil {
			return fmt.Errorf("reading the schema's version: %w", err)
		}
		st = s.driver.files.status(version, dirty)
		if st.Version > st.Latest {
			return ErrNewer
		}
		return s.driver.compare(ctx)
	})
	return st, err
}

// Repair finishes a migration during which an older program was killed, so that Up can go on. That
// program ran the migration in one transaction but its mark in others, so the migration is there
// whole or not at all: it is applied again, unless its objects exist. applied says which. A
// database that needs no repair is unchanged, with version 0.
func Repair(ctx context.Context, databaseName string, set func(dialect string) (fs.FS, error),
	table string) (version int, applied bool, err error) {
	err = with(ctx, databaseName, set, table, func(s *session) error {
		if err := s.driver.Lock(); err != nil {
			return fmt.Errorf("locking the schema: %w", err)
		}
		defer s.driver.Unlock()
		v, dirty, err := s.driver.Version()
		if err != nil || !dirty {
			return err
		}
		version = v
		applied, err = s.driver.repair(ctx, v)
		return err
	})
	return version, applied, err
}

// session is one connection to a database with a set of migrations.
type session struct {
	driver  *driver
	migrate *migrate.Migrate
}

// with opens the database, runs do, and closes it.
func with(ctx context.Context, databaseName string, set func(dialect string) (fs.FS, error), table string,
	do func(*session) error) (err error) {
	dialect, db, err := open(databaseName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.PingContext(ctx); err != nil {
		return fmt.Errorf("opening the database for migration: %w", err)
	}
	content, err := set(dialect)
	if err != nil {
		return fmt.Errorf("reading migrations: %w", err)
	}
	source, err := iofs.New(content, ".")
	if err != nil {
		return fmt.Errorf("reading migrations: %w", err)
	}
	defer source.Close()
	d, err := newDriver(ctx, dialect, db, table, content)
	if err != nil {
		return fmt.Errorf("preparing migration: %w", err)
	}
	m, err := migrate.NewWithInstance("embedded", source, dialect, d)
	if err != nil {
		return fmt.Errorf("preparing migration: %w", err)
	}
	return do(&session{d, m})
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
		db, err = sql.Open("sqlite",
			database.SQLiteURI(path)+"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"+
				"&_pragma=synchronous(FULL)&_pragma=secure_delete(1)")
		return "sqlite", db, err
	}
	if strings.HasPrefix(name, "postgres://") || strings.HasPrefix(name, "postgresql://") {
		db, err = sql.Open("pgx", name)
		return "postgres", db, err
	}
	return "", nil, ErrDatabase
}
