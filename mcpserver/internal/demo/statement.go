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

// each runs one statement for the tenant, passes on every row that it returns, and counts them. It
// is the only way to the tables: in PostgreSQL the statement sees this tenant's rows only, whatever
// it says (row-level security, migration 3), and every statement names the tenant as well.
func (t Tenant) each(ctx context.Context, statement string, arguments []any, row func(scan) error) (n int, err error) {
	if t.d.db.Postgres {
		return t.eachPostgres(ctx, statement, arguments, row)
	}
	var rows *sql.Rows
	if prepared := t.d.db.Prepared(ctx, statement); prepared != nil {
		rows, err = prepared.QueryContext(ctx, arguments...)
	} else {
		rows, err = t.d.db.Write.QueryContext(ctx, statement, arguments...)
	}
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	return drain(rows, row)
}

// drain reads all rows and counts them.
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

// eachPostgres sets the tenant and runs the statement in one transaction and one round trip:
// statements that are sent together are one transaction (PostgreSQL, "Pipelining"). The setting
// ends with the transaction, also when it fails or is cancelled, so that no connection returns to
// the pool with a tenant.
func (t Tenant) eachPostgres(ctx context.Context, statement string, arguments []any, row func(scan) error) (n int,
	err error) {
	conn, err := t.d.db.Write.Conn(ctx)
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
		return errors.Join(err, results.Close())
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

// Walled reports whether the database enforces row-level security for this program's role. SQLite
// does not, nor does PostgreSQL for superusers and roles with BYPASSRLS.
func (d *DB) Walled(ctx context.Context) (bool, error) {
	if !d.db.Postgres {
		return false, nil
	}
	var free bool
	if err := d.db.Read.QueryRowContext(ctx,
		"SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user").Scan(&free); err != nil &&
		!errors.Is(err, sql.ErrNoRows) {
		return false, fmt.Errorf("asking what the companion's database lets this role do: %w", err)
	}
	return !free, nil
}
