package demo

import (
	"context"
	"database/sql"
)

// Each runs a statement for the tenant as the tools' do, and returns the first column of its rows:
// for tests that leave the WHERE clause away.
func (t Tenant) Each(ctx context.Context, statement string, arguments ...any) (values []string, err error) {
	_, err = t.each(ctx, statement, arguments, func(into scan) error {
		var v string
		if err := into(&v); err != nil {
			return err
		}
		values = append(values, v)
		return nil
	})
	return values, err
}

// OneConnection makes all share one connection, so that whatever the last left on it is there for
// the next.
func (d *DB) OneConnection() { d.db.Write.SetMaxOpenConns(1) }

// Whose is the tenant that a connection is left with, asked past everything that would name one.
func (d *DB) Whose(ctx context.Context) (tenantID string, err error) {
	err = d.db.Read.QueryRowContext(ctx, "SELECT COALESCE(current_setting('gatehouse.tenant', true), '')").Scan(
		&tenantID)
	return tenantID, err
}

// Busy takes all connections.
func (d *DB) Busy(ctx context.Context) (done func(), err error) {
	var taken []*sql.Conn
	for range poolSize {
		c, err := d.db.Write.Conn(ctx)
		if err != nil {
			return nil, err
		}
		taken = append(taken, c)
	}
	return func() {
		for _, c := range taken {
			c.Close()
		}
	}, nil
}
