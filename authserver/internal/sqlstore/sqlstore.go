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
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
)

// DB is an open database. It implements the Store of every domain type.
type DB struct {
	writer, reader *sql.DB // SQLite: one connection writes, so that writers queue here and not at the file's lock
	within         *sql.Tx // the surrounding transaction; nil: each call has its own
	write, read    handle  // the two pools, or the one transaction
	share          string  // makes a SELECT share-lock its rows until the transaction ends
	own            string  // makes a SELECT lock its rows until then
	stmts          sync.Map
	keep           bool // keep prepared statements; pgx does so itself
	audit          *chain.Chain

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
func Open(ctx context.Context, database string) (*DB, error) {
	d := &DB{}
	var err error
	if path, ok := strings.CutPrefix(database, "sqlite:"); ok {
		err = d.openSQLite(path)
	} else {
		err = d.openPostgres(database)
	}
	if err != nil {
		return nil, err
	}
	d.openAudit()
	if err := d.Ping(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *DB) openSQLite(path string) (err error) {
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return fmt.Errorf("opening the database %s: there is no such file; run `gatehouse migrate` first", path)
	}
	// What was answered is committed: FULL syncs at every commit. IMMEDIATE takes the write lock at
	// the start of a transaction, so that none fails half-way for want of it. Another process that
	// writes to the file, such as a backup tool, is waited for: SQLite polls every 100 ms without a
	// queue, so the timeout is generous.
	uri := "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path) +
		"?_pragma=busy_timeout(30000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=secure_delete(1)&" +
		"_pragma=foreign_keys(1)"
	if d.writer, err = sql.Open("sqlite", uri+"&_txlock=immediate"); err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	if d.reader, err = sql.Open("sqlite", uri+"&_pragma=query_only(1)"); err != nil {
		return fmt.Errorf("opening the database: %w", errors.Join(err, d.writer.Close()))
	}
	d.writer.SetMaxOpenConns(1)
	d.reader.SetMaxOpenConns(sqliteReaders)
	d.reader.SetMaxIdleConns(sqliteReaders)
	d.write, d.read, d.keep = d.writer, d.reader, true
	return nil
}

func (d *DB) openPostgres(url string) (err error) {
	if d.writer, err = sql.Open("pgx", url); err != nil {
		return errors.New("the database's URL is malformed; give it as postgres://user@host:5432/name")
	}
	d.writer.SetMaxOpenConns(postgresPoolSize)
	d.writer.SetMaxIdleConns(postgresPoolSize)
	d.writer.SetConnMaxLifetime(time.Hour)
	d.reader, d.write, d.read, d.share, d.own = d.writer, d.writer, d.writer, " FOR SHARE", " FOR UPDATE"
	return nil
}

// Ping checks that the database answers and has its schema.
func (d *DB) Ping(ctx context.Context) error {
	var n int
	if err := d.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM schema_migrations_issuer WHERE NOT dirty").Scan(
		&n); err != nil {
		return fmt.Errorf("asking the database for its schema (run `gatehouse migrate` if there is none): %w", err)
	}
	if n != 1 {
		return errors.New("the database's migration was cut short; run `gatehouse migrate`")
	}
	return nil
}

// Close closes the database. Using it afterwards is an error, not a panic.
func (d *DB) Close() error {
	if d.writer == d.reader {
		return d.writer.Close()
	}
	return errors.Join(d.reader.Close(), d.writer.Close())
}

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

// prepared returns the prepared statement of a constant query, kept until the database is closed.
// Nil: run the query unprepared, which reports what is wrong with it.
func (d *DB) prepared(ctx context.Context, query string) *sql.Stmt {
	if !d.keep {
		return nil
	}
	if s, ok := d.stmts.Load(query); ok {
		return s.(*sql.Stmt)
	}
	s, err := d.read.PrepareContext(ctx, query)
	if err != nil {
		return nil
	}
	if kept, raced := d.stmts.LoadOrStore(query, s); raced {
		s.Close()
		s = kept.(*sql.Stmt)
	}
	return s
}

// tx runs do in one transaction, committed durably as a whole or not at all.
func (d *DB) tx(ctx context.Context, do func(*sql.Tx) error) error {
	if d.within != nil {
		return do(d.within)
	}
	defer observe(d.writes, time.Now())
	tx, err := d.writer.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	defer tx.Rollback() // does nothing after a commit; releases the lock after a panic
	if err := do(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
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

// changed reports whether a guarded statement changed exactly one row.
func changed(r sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n == 1, err
}

// isUniqueViolation reports whether err is a violation of a unique key.
func isUniqueViolation(err error) bool {
	var p *pgconn.PgError
	var s *sqlite.Error
	return errors.As(err, &p) && p.Code == "23505" ||
		errors.As(err, &s) &&
			(s.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || s.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// isForeignKeyViolation reports whether a statement named a row that does not exist.
func isForeignKeyViolation(err error) bool {
	var p *pgconn.PgError
	var s *sqlite.Error
	return errors.As(err, &p) && p.Code == "23503" || errors.As(err, &s) &&
		s.Code() == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
}

// notFound turns sql.ErrNoRows into the domain's own error. Text that PostgreSQL cannot store is
// the name of nothing, too.
func notFound(err, word error) error {
	var p *pgconn.PgError
	if errors.Is(err, sql.ErrNoRows) || errors.As(err, &p) && p.Code == "22021" {
		return word
	}
	return err
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
