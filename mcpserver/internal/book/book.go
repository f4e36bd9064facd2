// Package book owns what the resource wing writes of its own doing: the way into the database for those who keep rows there, and its audit lines.
//
// It has connections of its own, so that what is written down never waits for the tools' data, nor they for it.
package book

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"
	_ "modernc.org/sqlite"             // registers "sqlite"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// DB is an open database.
type DB struct{ sql *sql.DB }

// poolSize bounds the connections.
const poolSize = 4

// Open opens a migrated database: sqlite:PATH or postgres://….
func Open(ctx context.Context, database string) (*DB, error) {
	driver, dsn := "pgx", database
	if path, ok := strings.CutPrefix(database, "sqlite:"); ok {
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			return nil, fmt.Errorf("the companion's database %s is not there; run `gatehouse migrate` first", path)
		}
		driver = "sqlite"
		dsn = "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path) +
			"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"
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
	return &DB{db}, nil
}

// Close closes the database.
func (d *DB) Close() error { return d.sql.Close() }

// Write runs do in one transaction, which is kept when do returns nil.
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

// Read reads rows one by one.
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

// Line writes an audit line within a transaction: what it is about is kept with it, or neither is.
func Line(ctx context.Context, tx *sql.Tx, e audit.Event) error {
	_, err := line(ctx, tx, e, nil)
	return err
}

// LineOnce writes an audit line unless there is one of this name, whichever replica wrote it, and says whether it did.
func LineOnce(ctx context.Context, tx *sql.Tx, e audit.Event, name string) (written bool, err error) {
	return line(ctx, tx, e, &name)
}

func line(ctx context.Context, tx *sql.Tx, e audit.Event, once *string) (bool, error) {
	r, err := tx.ExecContext(ctx, `INSERT INTO companion_events (at, actor, action, target, tenant, detail, once)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (once) DO NOTHING`, e.Time.Unix(), e.Actor, e.Action, e.Target, e.Tenant, e.Detail, once)
	if err != nil {
		return false, fmt.Errorf("writing the audit line: %w", err)
	}
	n, err := r.RowsAffected()
	return n == 1, err
}

// Record implements audit.Log.
func (d *DB) Record(ctx context.Context, e audit.Event) error {
	return d.Write(ctx, func(tx *sql.Tx) error { return Line(ctx, tx, e) })
}

// Events returns the newest lines, newest first, at most limit.
func (d *DB) Events(ctx context.Context, limit int) (events []audit.Event, err error) {
	err = d.Read(ctx, func(scan func(...any) error) error {
		var e audit.Event
		var at int64
		err := scan(&at, &e.Actor, &e.Action, &e.Target, &e.Tenant, &e.Detail)
		e.Time = time.Unix(at, 0).UTC()
		events = append(events, e)
		return err
	}, "SELECT at, actor, action, target, tenant, detail FROM companion_events ORDER BY id DESC LIMIT $1", limit)
	if err != nil {
		return nil, fmt.Errorf("reading audit lines: %w", err)
	}
	return events, nil
}

var _ audit.Log = (*DB)(nil)
