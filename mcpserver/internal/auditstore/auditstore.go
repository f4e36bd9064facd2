// Package auditstore stores the MCP server's audit records, and opens the database for its other
// bookkeeping (usage, modes, records of calls).
//
// It has connections of its own, so that bookkeeping and the tools' data never wait for each other.
package auditstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
	"github.com/gatehouse-mcp/gatehouse/shared/database"
)

// DB is an open database.
type DB struct {
	db    *database.DB
	audit *chain.Chain
	calls *chain.Chain
}

// poolSize limits the connections.
const poolSize = 4

// Open opens a migrated database: sqlite:PATH or postgres://….
func Open(ctx context.Context, name string) (*DB, error) {
	db, err := database.Open(name, database.Options{SQLite: poolSize, Postgres: poolSize, Wait: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	if err := db.Write.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the MCP server's database: %w", err), db.Close())
	}
	sealed := func(table string) *chain.Chain {
		return chain.New(chain.Options{Write: db.Write, Read: db.Read, Name: table, Lock: db.ForUpdate()})
	}
	return &DB{db: db, audit: sealed("companion"), calls: sealed("companion_calls")}, nil
}

// Close closes the database.
func (d *DB) Close() error { return d.db.Close() }

// Write runs do in one transaction, committed when do returns nil.
func (d *DB) Write(ctx context.Context, do func(*sql.Tx) error) error { return d.db.Tx(ctx, do) }

// Read calls row for each row of a query.
func (d *DB) Read(ctx context.Context, row func(scan func(...any) error) error, query string, args ...any) error {
	rows, err := d.db.Read.QueryContext(ctx, query, args...)
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

// Calls returns the chain of records of tool calls. It is separate because only the oldest records
// of a chain can be deleted, and these have another retention.
func (d *DB) Calls() *chain.Chain { return d.calls }

// Embedded reports whether the database is a file, which one process has at a time.
func (d *DB) Embedded() bool { return !d.db.Postgres }

// Line writes an audit event within the transaction of what it is about.
func (d *DB) Line(ctx context.Context, tx *sql.Tx, e audit.Event) error {
	return d.audit.Insert(ctx, tx, e)
}

// LineOnce writes an audit event unless one of this name was written at any replica, and reports
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
	return d.audit.Insert(ctx, d.db.Write, e)
}

// Events returns the newest records, newest first.
func (d *DB) Events(ctx context.Context, f audit.Filter) ([]audit.Record, error) {
	return d.audit.List(ctx, f)
}

var _ audit.Log = (*DB)(nil)
