package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// scan reads the columns of a row.
type scan = func(into ...any) error

// each runs one statement for the tenant and hands on every row that it returns; it counts them. It
// and byKey are the only ways to the tables: in PostgreSQL the statement sees the tenant's rows and
// no others, whatever it says (row-level security, migration 3), and in every dialect it says so
// itself as well.
func (t Tenant) each(ctx context.Context, statement string, arguments []any, row func(scan) error) (n int, err error) {
	return t.run(ctx, ctx, statement, arguments, row)
}

// byKey is each for what finds its row by the key. SQLite has that at hand, and writers do not keep
// readers waiting, so nobody watches whether the caller has gone: the watching would take two
// goroutines and longer than the finding. Waiting for a turn is another matter.
func (t Tenant) byKey(ctx context.Context, statement string, arguments []any, row func(scan) error) (n int, err error) {
	return t.run(ctx, context.WithoutCancel(ctx), statement, arguments, row)
}

// run waits for its turn with one context, and has SQLite work with the other.
func (t Tenant) run(waiting, working context.Context, statement string, arguments []any, row func(scan) error) (n int,
	err error) {
	if t.d.postgres {
		return t.eachPostgres(waiting, statement, arguments, row)
	}
	leave, err := t.d.turn(waiting)
	if err != nil {
		return 0, err
	}
	defer leave()
	return t.eachSQLite(working, statement, arguments, row)
}

// turn waits until one of the connections is free.
func (d *DB) turn(ctx context.Context) (leave func(), err error) {
	select {
	case d.turns <- struct{}{}:
		return func() { <-d.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (t Tenant) eachSQLite(ctx context.Context, statement string, arguments []any, row func(scan) error) (n int,
	err error) {
	prepared, err := t.d.prepare(ctx, statement)
	if err != nil {
		return 0, err
	}
	rows, err := prepared.QueryContext(ctx, arguments...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	return drain(rows, row)
}

// prepare is a statement that SQLite has read and planned: that takes it longer than to find a row.
// There are only as many as this package has in its text. (pgx keeps its own.)
func (d *DB) prepare(ctx context.Context, statement string) (*sql.Stmt, error) {
	if s, ok := d.prepared.Load(statement); ok {
		return s.(*sql.Stmt), nil
	}
	s, err := d.db.PrepareContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	first, there := d.prepared.LoadOrStore(statement, s)
	if there {
		_ = s.Close() // somebody else was at it: one is enough
	}
	return first.(*sql.Stmt), nil
}

// drain reads rows one by one, and counts them.
func drain(rows interface {
	Next() bool
	Scan(...any) error
	Err() error
}, row func(scan) error) (n int, err error) {
	for rows.Next() {
		n++
		if err := row(rows.Scan); err != nil {
			return n, err
		}
	}
	return n, rows.Err()
}

// eachPostgres names the tenant and runs the statement in one transaction of one round trip:
// statements that are sent together are one (PostgreSQL, "Pipelining"). The name is gone with the
// transaction, whether it is done, broken off or cancelled, so a connection never comes back from
// the pool with somebody's.
func (t Tenant) eachPostgres(ctx context.Context, statement string, arguments []any, row func(scan) error) (n int,
	err error) {
	conn, err := t.d.db.Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	err = conn.Raw(func(driver any) error {
		c, ok := driver.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("the driver is %T, not pgx", driver)
		}
		batch := &pgx.Batch{}
		batch.Queue("SELECT set_config('gatehouse.tenant', $1, true)", t.id)
		batch.Queue(statement, arguments...)
		results := c.Conn().SendBatch(ctx, batch)
		n, err = readRows(results, row)
		return errors.Join(err, results.Close()) // what is not done until here is not done
	})
	return n, err
}

func readRows(results pgx.BatchResults, row func(scan) error) (n int, err error) {
	if _, err := results.Exec(); err != nil {
		return 0, fmt.Errorf("naming the tenant: %w", err)
	}
	rows, err := results.Query()
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	return drain(rows, row)
}

// Walled says whether the database itself keeps tenants apart from whoever this program is there.
// SQLite does not, nor does PostgreSQL for superusers and roles with BYPASSRLS.
func (d *DB) Walled(ctx context.Context) (bool, error) {
	if !d.postgres {
		return false, nil
	}
	var free bool
	if err := d.db.QueryRowContext(ctx,
		"SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user").Scan(&free); err != nil &&
		!errors.Is(err, sql.ErrNoRows) {
		return false, fmt.Errorf("asking what the companion's database lets this role do: %w", err)
	}
	return !free, nil
}
