// Package auditstore opens the database of the MCP server for usage and modes, and writes its audit
// records.
//
// It has connections of its own, so that these writes and the data of the tools do not wait for
// each other.
package auditstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"
	_ "modernc.org/sqlite"             // registers "sqlite"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
)

// DB is an open database.
type DB struct {
	sql      *sql.DB
	audit    *chain.Chain
	calls    *chain.Chain
	embedded bool
}

// poolSize limits the connections.
const poolSize = 4

// Open opens a migrated database: sqlite:PATH or postgres://….
func Open(ctx context.Context, database string) (*DB, error) {
	driver, dsn, lock := "pgx", database, " FOR UPDATE"
	if path, ok := strings.CutPrefix(database, "sqlite:"); ok {
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			return nil, fmt.Errorf("the companion's database %s is not there; run `gatehouse migrate` first", path)
		}
		driver, lock = "sqlite", ""
		dsn = "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path) +
			"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&" +
			"_pragma=secure_delete(1)&_pragma=foreign_keys(1)"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, errors.New("the companion's database is malformed; give sqlite:PATH or postgres://…")
	}
	db.SetMaxOpenConns(poolSize)
	db.SetMaxIdleConns(poolSize)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the companion's database: %w", err), db.Close())
	}
	return &DB{
		sql: db, embedded: driver == "sqlite",
		audit: chain.New(chain.Options{Write: db, Read: db, Name: "companion", Lock: lock}),
		calls: chain.New(chain.Options{Write: db, Read: db, Name: "companion_calls", Lock: lock}),
	}, nil
}

// Close closes the database.
func (d *DB) Close() error { return d.sql.Close() }

// Write runs do in a transaction, which is committed if do returns nil.
func (d *DB) Write(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := d.sql.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning to write: %w", err)
	}
	defer tx.Rollback()
	if err := do(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("keeping what was written: %w", err)
	}
	return nil
}

// Read calls row for each row of a query.
func (d *DB) Read(ctx context.Context, row func(scan func(...any) error) error, query string, args ...any) error {
	rows, err := d.sql.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Audit returns the chain of audit records.
func (d *DB) Audit() *chain.Chain { return d.audit }

// Calls returns the chain of records of tool calls. It is separate, because only the oldest records
// of a chain can be deleted, and these have another retention.
func (d *DB) Calls() *chain.Chain { return d.calls }

// Embedded reports whether the database is a file, which one process at a time uses.
func (d *DB) Embedded() bool { return d.embedded }

// Line writes an audit record in a transaction, together with the change that it records.
func (d *DB) Line(ctx context.Context, tx *sql.Tx, e audit.Event) error {
	return d.audit.Insert(ctx, tx, e)
}

// LineOnce writes an audit record unless one with this name exists, from any replica, and reports
// whether it did.
func (d *DB) LineOnce(ctx context.Context, tx *sql.Tx, e audit.Event, name string) (written bool, err error) {
	r, err := tx.ExecContext(ctx, "INSERT INTO companion_once (name) VALUES ($1) ON CONFLICT (name) DO NOTHING", name)
	if err != nil {
		return false, fmt.Errorf("naming an audit line: %w", err)
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return false, err
	}
	return true, d.audit.Insert(ctx, tx, e)
}

// Record implements audit.Log.
func (d *DB) Record(ctx context.Context, e audit.Event) error {
	return d.audit.Insert(ctx, d.sql, e)
}

// Events returns the newest audit records first.
func (d *DB) Events(ctx context.Context, f audit.Filter) ([]audit.Record, error) {
	return d.audit.List(ctx, f)
}

var _ audit.Log = (*DB)(nil)
