package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

var _ keyring.Store = (*DB)(nil)

// Keys implements keyring.Store.
func (d *DB) Keys(ctx context.Context) ([]keyring.Sealed, error) {
	return collect(ctx, d, func(r interface{ Scan(...any) error }) (keyring.Sealed, error) {
		var k keyring.Sealed
		err := r.Scan(&k.KID, &k.Algorithm, &k.Generation, &k.Private, (*moment)(&k.CreatedAt), (*moment)(&k.ActiveAt))
		return k, err
	}, "SELECT kid, algorithm, generation, private, created_at, active_at FROM signing_keys WHERE withdrawn_at IS NULL ORDER BY algorithm, generation")
}

// PutKey implements keyring.Store. The unique (algorithm, generation) decides who is first.
func (d *DB) PutKey(ctx context.Context, k keyring.Sealed, e audit.Event) (made bool, err error) {
	err = d.tx(ctx, func(tx *sql.Tx) error {
		made, err = changed(tx.ExecContext(ctx, `INSERT INTO signing_keys (kid, algorithm, generation, private, created_at, active_at)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`, k.KID, k.Algorithm, k.Generation, k.Private, moment(k.CreatedAt), moment(k.ActiveAt)))
		if err != nil || !made {
			return err
		}
		return d.audit.Insert(ctx, tx, e)
	})
	return made && err == nil, err
}

// WithdrawKey implements keyring.Store.
func (d *DB) WithdrawKey(ctx context.Context, kid string, at time.Time, e audit.Event) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.notLast(ctx, tx, kid); err != nil {
			return err
		}
		withdrawn, err := changed(tx.ExecContext(ctx, "UPDATE signing_keys SET withdrawn_at = $2 WHERE kid = $1 AND withdrawn_at IS NULL", kid, moment(at)))
		if err != nil {
			return fmt.Errorf("withdrawing key %s: %w", kid, err)
		}
		if !withdrawn {
			return keyring.ErrNotFound
		}
		return d.audit.Insert(ctx, tx, e)
	})
}

// notLast holds the keys of a key's algorithm until the transaction ends, and says whether another one is left.
func (d *DB) notLast(ctx context.Context, tx *sql.Tx, kid string) error {
	rows, err := tx.QueryContext(ctx, `SELECT kid FROM signing_keys WHERE withdrawn_at IS NULL
		AND algorithm = (SELECT algorithm FROM signing_keys WHERE kid = $1)`+d.own, kid)
	if err != nil {
		return fmt.Errorf("reading signing keys: %w", err)
	}
	defer rows.Close()
	there, others := false, 0
	for rows.Next() {
		var other string
		if err := rows.Scan(&other); err != nil {
			return fmt.Errorf("reading signing keys: %w", err)
		}
		if other == kid {
			there = true
			continue
		}
		others++
	}
	switch {
	case rows.Err() != nil:
		return fmt.Errorf("reading signing keys: %w", rows.Err())
	case !there:
		return keyring.ErrNotFound
	case others == 0:
		return keyring.ErrLast
	}
	return nil
}
