// Package database opens SQLite and PostgreSQL databases, runs transactions, keeps prepared
// statements, and tells errors apart.
package database

import (
	"context"
	"database/sql"
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
)

// DB is an open database. It is safe for concurrent use.
type DB struct {
	// Write and Read are pools of connections. With Options.OneWriter, SQLite has one connection
	// for writing, so that writers queue here and not at the file's lock; otherwise they are the
	// same.
	Write, Read *sql.DB
	// Postgres says that it is PostgreSQL; otherwise it is SQLite.
	Postgres bool

	statements sync.Map // of *sql.Stmt by text, for SQLite
}

// Options configure Open.
type Options struct {
	SQLite, Postgres int           // connections of a pool
	OneWriter        bool          // SQLite: one connection for writing, beside the pool
	Wait             time.Duration // how long SQLite waits for another process that writes
}

// sqlitePragmas make what was answered durable (FULL syncs at every commit), let readers and a
// writer work at once, and overwrite what is deleted.
const sqlitePragmas = "&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=secure_delete(1)&" +
	"_pragma=foreign_keys(1)"

// Open opens a migrated database: sqlite:PATH or postgres://…. It checks that a SQLite file exists,
// and connects to nothing yet. Errors do not contain the URL, which may have a password.
func Open(name string, o Options) (*DB, error) {
	path, ok := strings.CutPrefix(name, "sqlite:")
	if !ok {
		return openPostgres(name, o)
	}
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return nil, fmt.Errorf("opening the database %s: there is no such file; run `gatehouse migrate` first", path)
	}
	// SQLite polls for the lock of another process, such as a backup tool, without a queue.
	uri := fmt.Sprintf("%s?_pragma=busy_timeout(%d)%s", SQLiteURI(path), o.Wait.Milliseconds(), sqlitePragmas)
	// IMMEDIATE takes the write lock at the start of a transaction, so that none fails half-way.
	write, err := sql.Open("sqlite", uri+"&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	d := &DB{Write: write, Read: write}
	if o.OneWriter {
		if d.Read, err = sql.Open("sqlite", uri+"&_pragma=query_only(1)"); err != nil {
			return nil, fmt.Errorf("opening the database: %w", errors.Join(err, write.Close()))
		}
		d.Write.SetMaxOpenConns(1)
	}
	d.Read.SetMaxOpenConns(o.SQLite)
	d.Read.SetMaxIdleConns(o.SQLite)
	return d, nil
}

// SQLiteURI returns the URI of a SQLite file, to which a query can be appended: characters of the
// path that have a meaning in a URI are escaped.
func SQLiteURI(path string) string {
	return "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
}

func openPostgres(url string, o Options) (*DB, error) {
	pool, err := sql.Open("pgx", url)
	if err != nil {
		return nil, errors.New("the database is malformed; give it as sqlite:PATH or postgres://user@host:5432/name")
	}
	pool.SetMaxOpenConns(o.Postgres)
	pool.SetMaxIdleConns(o.Postgres)
	pool.SetConnMaxLifetime(time.Hour)
	return &DB{Write: pool, Read: pool, Postgres: true}, nil
}

// Close closes the database. Using it afterwards is an error, not a panic.
func (d *DB) Close() error {
	if d.Write == d.Read {
		return d.Write.Close()
	}
	return errors.Join(d.Read.Close(), d.Write.Close())
}

// CheckSchema checks that the database answers and is migrated: table has the version of the set of
// migrations.
func (d *DB) CheckSchema(ctx context.Context, table string) error {
	var n int
	err := d.Read.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+table+" WHERE NOT dirty").Scan(&n)
	if err != nil {
		return fmt.Errorf("asking the database for its schema (run `gatehouse migrate` if there is none): %w", err)
	}
	if n != 1 {
		return errors.New("the database's migration was interrupted; run `gatehouse migrate`")
	}
	return nil
}

// Tx runs do in one transaction, committed durably as a whole or not at all.
func (d *DB) Tx(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := d.Write.BeginTx(ctx, nil)
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

// Prepared returns the prepared statement of a constant query, kept until the database is closed.
// SQLite takes longer to plan a query than to find a row. It is nil for PostgreSQL, whose driver
// keeps its own, and for a query that cannot be prepared: running it reports what is wrong.
func (d *DB) Prepared(ctx context.Context, query string) *sql.Stmt {
	if d.Postgres {
		return nil
	}
	if s, ok := d.statements.Load(query); ok {
		return s.(*sql.Stmt)
	}
	s, err := d.Read.PrepareContext(ctx, query)
	if err != nil {
		return nil
	}
	if kept, raced := d.statements.LoadOrStore(query, s); raced {
		s.Close()
		s = kept.(*sql.Stmt)
	}
	return s
}

// ForUpdate ends a SELECT that locks its rows until the transaction ends, and ForShare one that
// keeps others from changing them. Both are empty for SQLite, where a writing transaction is alone.
func (d *DB) ForUpdate() string { return d.lock(" FOR UPDATE") }

// ForShare is described at ForUpdate.
func (d *DB) ForShare() string { return d.lock(" FOR SHARE") }

func (d *DB) lock(clause string) string {
	if !d.Postgres {
		return ""
	}
	return clause
}

// Changed reports whether a guarded statement changed exactly one row.
func Changed(r sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n == 1, err
}

// IsUniqueViolation reports whether err is a violation of a unique key.
func IsUniqueViolation(err error) bool {
	return hasCode(err, "23505", sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// IsForeignKeyViolation reports whether a statement named a row that does not exist.
func IsForeignKeyViolation(err error) bool {
	return hasCode(err, "23503", sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY)
}

// NotFound returns word for sql.ErrNoRows, and other errors unchanged. Text that PostgreSQL cannot
// store is the name of nothing, too.
func NotFound(err, word error) error {
	if errors.Is(err, sql.ErrNoRows) || hasCode(err, "22021") {
		return word
	}
	return err
}

// hasCode reports whether err has the SQLSTATE of PostgreSQL or one of the codes of SQLite.
func hasCode(err error, state string, codes ...int) bool {
	var p *pgconn.PgError
	if errors.As(err, &p) {
		return p.Code == state
	}
	var s *sqlite.Error
	if !errors.As(err, &s) {
		return false
	}
	for _, code := range codes {
		if s.Code() == code {
			return true
		}
	}
	return false
}
