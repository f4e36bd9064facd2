package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/golang-migrate/migrate/v4/database"
	pgxmigrate "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	sqlitemigrate "github.com/golang-migrate/migrate/v4/database/sqlite"
	"github.com/jackc/pgx/v5/pgconn"
)

// driver is golang-migrate's driver for a dialect, except that a migration and the mark that it is
// applied are one transaction. golang-migrate marks a version dirty, runs it, and marks it clean,
// in three transactions: a process killed between them leaves a database on which no program
// starts.
//
// It also stores the hash of each migration's text, to notice a text that was changed after it was
// applied.
type driver struct {
	database.Driver // the dialect's own: its lock, its version table
	db              *sql.DB
	postgres        bool
	table           string // stores the version
	files           files
	pending         int // the version that Run applies next; 0: none
}

func newDriver(ctx context.Context, dialect string, db *sql.DB, table string, content fs.FS) (*driver, error) {
	d := &driver{db: db, postgres: dialect == "postgres", table: table}
	var err error
	if d.files, err = readFiles(content); err != nil {
		return nil, err
	}
	if d.postgres {
		d.Driver, err = pgxmigrate.WithInstance(db, &pgxmigrate.Config{MigrationsTable: table})
	} else {
		d.Driver, err = sqlitemigrate.WithInstance(db, &sqlitemigrate.Config{MigrationsTable: table})
	}
	if err != nil {
		return nil, err
	}
	return d, d.makeHashes(ctx)
}

// makeHashes creates the table of hashes if it is missing. Replicas that start at once take turns.
func (d *driver) makeHashes(ctx context.Context) error {
	return d.inTransaction(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS "+d.hashes()+
			" (version BIGINT PRIMARY KEY, sha256 TEXT NOT NULL)")
		return err
	})
}

// hashes returns the name of the table with the hash of each applied migration.
func (d *driver) hashes() string { return d.table + "_files" }

// SetVersion is called by golang-migrate before Run with dirty, and after it without. The mark of a
// migration that runs in a transaction is written by Run itself.
func (d *driver) SetVersion(version int, dirty bool) error {
	f, known := d.files[version]
	switch {
	case known && dirty:
		d.pending = version
		if !f.noTransaction {
			return nil
		}
	case known && version == d.pending && !f.noTransaction:
		d.pending = 0
		return nil
	case known && version == d.pending:
		d.pending = 0
		return d.inTransaction(context.Background(), func(tx *sql.Tx) error { return d.mark(tx, version) })
	}
	return d.Driver.SetVersion(version, dirty)
}

// Run applies the migration that SetVersion announced, and marks it in the same transaction.
func (d *driver) Run(migration io.Reader) error {
	if _, err := io.Copy(io.Discard, migration); err != nil { // the text that is applied is the one whose hash is kept
		return fmt.Errorf("reading migration %d: %w", d.pending, err)
	}
	return d.apply(context.Background(), d.pending)
}

func (d *driver) apply(ctx context.Context, version int) error {
	f, ok := d.files[version]
	if !ok {
		return fmt.Errorf("there is no migration %d", version)
	}
	var err error
	if f.noTransaction {
		_, err = d.db.ExecContext(ctx, f.text)
	} else {
		err = d.inTransaction(ctx, func(tx *sql.Tx) error { return d.applyOnce(ctx, tx, f, version) })
	}
	if err != nil {
		return fmt.Errorf("applying %s: %w", f.name, err)
	}
	return nil
}

// applyOnce applies a migration unless another process did so since golang-migrate read the
// version.
func (d *driver) applyOnce(ctx context.Context, tx *sql.Tx, f file, version int) error {
	var have int
	if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(version), -1) FROM "+d.table+" WHERE NOT dirty").Scan(
		&have); err != nil {
		return err
	}
	if have >= version {
		return nil
	}
	if _, err := tx.ExecContext(ctx, f.text); err != nil {
		return err
	}
	return d.mark(tx, version)
}

// mark records that the version is applied, and with which text.
func (d *driver) mark(tx *sql.Tx, version int) error {
	if _, err := tx.Exec("DELETE FROM " + d.table); err != nil {
		return err
	}
	if _, err := tx.Exec(fmt.Sprintf("INSERT INTO %s (version, dirty) VALUES (%d, FALSE)", d.table,
		version)); err != nil {
		return err
	}
	return d.keepHash(tx, version)
}

// keepHash stores the hash of a migration's text, unless there is one.
func (d *driver) keepHash(tx *sql.Tx, version int) error {
	_, err := tx.Exec(fmt.Sprintf("INSERT INTO %s (version, sha256) VALUES (%d, '%s') ON CONFLICT (version) DO NOTHING",
		d.hashes(), version, d.files[version].sum()))
	return err
}

// inTransaction runs do in a transaction, on PostgreSQL one at a time: golang-migrate's lock
// belongs to another session, which may end with a killed process while that process's transaction
// still runs.
func (d *driver) inTransaction(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if d.postgres {
		_, err = tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtext(current_schema() || '.' || $1))", d.table)
	}
	if err == nil {
		err = do(tx)
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// resume prepares what a killed process left: a file without a transaction is applied again. It
// also compares the hashes.
func (d *driver) resume() error {
	version, dirty, err := d.Version()
	if err != nil {
		return fmt.Errorf("reading the schema's version: %w", err)
	}
	if dirty && d.files[version].noTransaction {
		if err := d.Driver.SetVersion(d.files.before(version), false); err != nil {
			return fmt.Errorf("applying %s again: %w", d.files[version].name, err)
		}
	}
	return d.compare(context.Background())
}

// compare looks for a migration whose text is not the one that was applied.
func (d *driver) compare(ctx context.Context) error {
	rows, err := d.db.QueryContext(ctx, "SELECT version, sha256 FROM "+d.hashes()+" ORDER BY version")
	if err != nil {
		return fmt.Errorf("reading the hashes of applied migrations: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var version int
		var sum string
		if err := rows.Scan(&version, &sum); err != nil {
			return fmt.Errorf("reading the hashes of applied migrations: %w", err)
		}
		if f, ok := d.files[version]; ok && f.sum() != sum {
			return fmt.Errorf("migration %s: %w", f.name, ErrChanged)
		}
	}
	return rows.Err()
}

// adopt stores the hashes of migrations applied by a version that stored none.
func (d *driver) adopt(ctx context.Context) error {
	version, _, err := d.Version()
	if err != nil {
		return fmt.Errorf("reading the schema's version: %w", err)
	}
	return d.inTransaction(ctx, func(tx *sql.Tx) error {
		for _, v := range d.files.versions() {
			if v > version {
				break
			}
			if err := d.keepHash(tx, v); err != nil {
				return fmt.Errorf("keeping the hash of %s: %w", d.files[v].name, err)
			}
		}
		return nil
	})
}

// repair applies the version that is marked dirty, or only marks it clean where its objects exist
// already.
func (d *driver) repair(ctx context.Context, version int) (applied bool, err error) {
	err = d.apply(ctx, version)
	if err == nil && d.files[version].noTransaction {
		err = d.inTransaction(ctx, func(tx *sql.Tx) error { return d.mark(tx, version) })
	}
	if err == nil {
		return true, nil
	}
	if !exists(err) {
		return false, err
	}
	return false, d.inTransaction(ctx, func(tx *sql.Tx) error { return d.mark(tx, version) })
}

// exists reports whether a statement failed because what it creates exists already: the table,
// column, index, trigger or function.
func exists(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code { // https://www.postgresql.org/docs/current/errcodes-appendix.html, class 42
		case "42P07", "42701", "42710", "42723", "42P06":
			return true
		}
		return false
	}
	text := err.Error() // SQLite has no code for these
	return strings.Contains(text, "already exists") || strings.Contains(text, "duplicate column name")
}
