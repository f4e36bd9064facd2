package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/database"
)

var _ keyring.Store = (*DB)(nil)

// Keys implements keyring.Store.
func (d *DB) Keys(ctx context.Context) ([]keyring.Sealed, error) {
	return collect(ctx, d, func(r interface{ Scan(...any) error }) (keyring.Sealed, error) {
		var k keyring.Sealed
		err := r.Scan(&k.KID, &k.Algorithm, &k.Generation, &k.Private, &k.Under, (*unixTime)(&k.CreatedAt),
			(*unixTime)(&k.ActiveAt), (*unixTime)(&k.Withdrawn))
		return k, err
	}, "SELECT kid, algorithm, generation, private, sealed_under, created_at, active_at, withdrawn_at FROM "+
		"signing_keys ORDER BY algorithm, generation")
}

// holdKeys prevents others from creating or resealing keys until the transaction ends.
func (d *DB) holdKeys(ctx context.Context, tx *sql.Tx) error {
	if !d.db.Postgres {
		return nil // the only writer
	}
	if _, err := tx.ExecContext(ctx, "LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE"); err != nil {
		return fmt.Errorf("holding the signing keys: %w", err)
	}
	return nil
}

// PutKey implements keyring.Store. The unique (algorithm, generation) decides which is first. A
// sealing key with no rows, while another has some, has just been replaced.
func (d *DB) PutKey(ctx context.Context, k keyring.Sealed, e audit.Event) (made bool, err error) {
	err = d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.holdKeys(ctx, tx); err != nil {
			return err
		}
		var with, without int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(CASE WHEN sealed_under = $1 THEN 1 END), COUNT(CASE
			WHEN sealed_under NOT IN ('', $1) THEN 1 END)
			FROM signing_keys WHERE withdrawn_at IS NULL`, k.Under).Scan(&with, &without); err != nil {
			return fmt.Errorf("looking under which key the others lie: %w", err)
		}
		if with == 0 && without > 0 {
			return keyring.ErrChanged
		}
		made, err = database.Changed(tx.ExecContext(ctx, `INSERT INTO signing_keys (kid, algorithm, generation, private,
			sealed_under, created_at, active_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT DO NOTHING`, k.KID, k.Algorithm, k.Generation, k.Private, k.Under,
			unixTime(k.CreatedAt), unixTime(k.ActiveAt)))
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
		if err := d.holdKeys(ctx, tx); err != nil {
			// first: a resealing transaction locks them too, and would wait for one of its rows
			return err
		}
		if err := d.notSigning(ctx, tx, kid, at); err != nil {
			return err
		}
		withdrawn, err := database.Changed(tx.ExecContext(ctx,
			"UPDATE signing_keys SET withdrawn_at = $2, private = $3 WHERE kid = $1 AND withdrawn_at IS NULL", kid,
			unixTime(at), []byte{}))
		if err != nil {
			return fmt.Errorf("withdrawing key %s: %w", kid, err)
		}
		if !withdrawn {
			return keyring.ErrNotFound
		}
		return d.audit.Insert(ctx, tx, e)
	})
}

// notSigning locks the keys of a key's algorithm until the transaction ends, and returns an error
// for the active one.
func (d *DB) notSigning(ctx context.Context, tx *sql.Tx, kid string, at time.Time) error {
	rows, err := tx.QueryContext(ctx, `SELECT kid, active_at FROM signing_keys WHERE withdrawn_at IS NULL
		AND algorithm = (SELECT algorithm FROM signing_keys WHERE kid = $1) ORDER BY generation`+d.db.ForUpdate(), kid)
	if err != nil {
		return fmt.Errorf("reading signing keys: %w", err)
	}
	defer rows.Close()
	there, signs := false, ""
	for rows.Next() {
		var other string
		var active time.Time
		if err := rows.Scan(&other, (*unixTime)(&active)); err != nil {
			return fmt.Errorf("reading signing keys: %w", err)
		}
		there = there || other == kid
		if !active.After(at) {
			signs = other
		}
	}
	switch {
	case rows.Err() != nil:
		return fmt.Errorf("reading signing keys: %w", rows.Err())
	case !there:
		return keyring.ErrNotFound
	case signs == kid || signs == "":
		return keyring.ErrSigns
	}
	return nil
}

// Secret implements keyring.Store.
func (d *DB) Secret(ctx context.Context, name string) (keyring.Secret, error) {
	s := keyring.Secret{Name: name}
	err := d.row(ctx, "SELECT secret, sealed_under, created_at FROM sealed_secrets WHERE name = $1",
		name).Scan(&s.Sealed, &s.Under, (*unixTime)(&s.CreatedAt))
	return s, database.NotFound(err, keyring.ErrNotFound)
}

// PutSecret implements keyring.Store.
func (d *DB) PutSecret(ctx context.Context, s keyring.Secret) error {
	_, err := d.write.ExecContext(ctx,
		"INSERT INTO sealed_secrets (name, secret, sealed_under, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO "+
			"NOTHING",
		s.Name, s.Sealed, s.Under, unixTime(s.CreatedAt))
	return err
}

// Reseal implements keyring.Store.
func (d *DB) Reseal(ctx context.Context, under string, rows []keyring.Resealing, e audit.Event) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.holdKeys(ctx, tx); err != nil {
			return err
		}
		for _, r := range rows {
			statement, name := "UPDATE signing_keys SET private = $3, sealed_under = $4 WHERE kid = $1 AND private = "+
				"$2 AND withdrawn_at IS NULL", r.KID
			if r.KID == "" {
				statement, name = "UPDATE sealed_secrets SET secret = $3, sealed_under = $4 WHERE name = $1 AND "+
					"secret = $2", r.Name
			}
			was, err := database.Changed(tx.ExecContext(ctx, statement, name, r.Old, r.New, under))
			if err != nil {
				return fmt.Errorf("putting %s under another key: %w", name, err)
			}
			if !was {
				return keyring.ErrChanged
			}
		}
		var others int
		err := tx.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM signing_keys WHERE withdrawn_at IS NULL
			AND sealed_under <> $1)
			+ (SELECT COUNT(*) FROM sealed_secrets WHERE sealed_under <> $1)`, under).Scan(&others)
		if err != nil {
			return fmt.Errorf("looking for what lies under another key: %w", err)
		}
		if others > 0 {
			return keyring.ErrChanged
		}
		return d.audit.Insert(ctx, tx, e)
	})
}
