// Package sqlstore stores everything that must not be lost, in SQLite or PostgreSQL with the same
// statements, in one file per domain type.
package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
	"github.com/gatehouse-mcp/gatehouse/shared/database"
)

// DB is an open database. It implements the Store of every domain type.
type DB struct {
	db          *database.DB
	within      *sql.Tx // the surrounding transaction; nil: each call has its own
	write, read handle  // the two pools, or the one transaction
	audit       *chain.Chain

	reads, writes Observer // nil: nobody measures
}

// Observer takes durations in seconds, as a Prometheus histogram does.
type Observer interface{ Observe(seconds float64) }

// Measure has the duration of reads and writes observed. Call it before the database is used.
func (d *DB) Measure(reads, writes Observer) { d.reads, d.writes = reads, writes }

func observe(o Observer, since time.Time) {
	if o != nil {
		o.Observe(time.Since(since).Seconds())
	}
}

// handle runs statements: a pool, or one transaction.
type handle interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// The sizes of pools.
const (
	sqliteReaders    = 4
	postgresPoolSize = 16
)

// Open opens a migrated database, sqlite:PATH or postgres://….
func Open(ctx context.Context, name string) (*DB, error) {
	db, err := database.Open(name, database.Options{SQLite: sqliteReaders, Postgres: postgresPoolSize, OneWriter: true,
		Wait: 30 * time.Second})
	if err != nil {
		return nil, err
	}
	d := &DB{db: db, write: db.Write, read: db.Read}
	d.openAudit()
	if err := d.Ping(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Ping checks that the database answers and has its schema.
func (d *DB) Ping(ctx context.Context) error {
	return d.db.CheckSchema(ctx, "schema_migrations_issuer")
}

// Close closes the database. Using it afterwards is an error, not a panic.
func (d *DB) Close() error { return d.db.Close() }

// row runs a query for one row.
func (d *DB) row(ctx context.Context, query string, args ...any) *sql.Row {
	defer observe(d.reads, time.Now())
	if s := d.prepared(ctx, query); s != nil {
		return s.QueryRowContext(ctx, args...)
	}
	return d.read.QueryRowContext(ctx, query, args...)
}

// rows runs a constant query for any number of rows.
func (d *DB) rows(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	defer observe(d.reads, time.Now())
	if s := d.prepared(ctx, query); s != nil {
		return s.QueryContext(ctx, args...)
	}
	return d.read.QueryContext(ctx, query, args...)
}

// prepared returns the prepared statement of a constant query. Nil: run it unprepared.
func (d *DB) prepared(ctx context.Context, query string) *sql.Stmt {
	if d.within != nil {
		return nil
	}
	return d.db.Prepared(ctx, query)
}

// tx runs do in one transaction, committed durably as a whole or not at all.
func (d *DB) tx(ctx context.Context, do func(*sql.Tx) error) error {
	if d.within != nil {
		return do(d.within)
	}
	defer observe(d.writes, time.Now())
	return d.db.Tx(ctx, do)
}

// collect reads all rows of a query.
func collect[T any](ctx context.Context, d *DB, scan func(interface{ Scan(...any) error }) (T, error), query string,
	args ...any) ([]T, error) {
	defer observe(d.reads, time.Now())
	rows, err := d.read.QueryContext(ctx, query, args...)
	return all(rows, err, scan)
}

// all reads all rows of a result.
func all[T any](rows *sql.Rows, err error, scan func(interface{ Scan(...any) error }) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := []T{}
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// stringList is a list of strings in a column.
type stringList []string

func (l stringList) Value() (driver.Value, error) {
	if l == nil {
		return "[]", nil
	}
	b, err := json.Marshal([]string(l))
	return string(b), err
}

func (l *stringList) Scan(src any) error {
	switch v := src.(type) {
	case string:
		return json.Unmarshal([]byte(v), (*[]string)(l))
	case []byte:
		return json.Unmarshal(v, (*[]string)(l))
	}
	return fmt.Errorf("a list column holds %T", src)
}

// unixTime is a time in a column: whole Unix seconds, UTC. The zero time is NULL.
type unixTime time.Time

func (m unixTime) Value() (driver.Value, error) {
	if time.Time(m).IsZero() {
		return nil, nil
	}
	return time.Time(m).Unix(), nil
}

func (m *unixTime) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*m = unixTime{}
	case int64:
		*m = unixTime(time.Unix(v, 0).UTC())
	default:
		return fmt.Errorf("a time column holds %T", src)
	}
	return nil
}

// span is a duration in a column: whole seconds.
type span time.Duration

func (s span) Value() (driver.Value, error) { return int64(time.Duration(s) / time.Second), nil }

func (s *span) Scan(src any) error {
	n, ok := src.(int64)
	if !ok {
		return fmt.Errorf("a column of seconds holds %T", src)
	}
	*s = span(time.Duration(n) * time.Second)
	return nil
}

// seconds returns a time as a column stores it; 0 for the zero time.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// optional returns text for a column in which empty is NULL.
func optional(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }
