package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

// governing is the key of the advisory lock (PostgreSQL) for changing permissions in this database.
const governing = 0x67617465686f7573

// alone serializes changes of permissions until the transaction ends, so that two changes that each
// rely on what the other removes do not both succeed. On SQLite the transaction has the only write
// lock.
func (d *DB) alone(ctx context.Context, tx *sql.Tx) error {
	if !d.db.Postgres {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(governing)); err != nil {
		return fmt.Errorf("waiting to change who may what: %w", err)
	}
	return nil
}

// issuing is the key of the advisory lock (PostgreSQL) that transactions share which issue codes or
// tokens in this database.
const issuing = 0x6761746569737375

// stopIssuing waits for transactions that issue something, and blocks new ones until this one ends,
// so that they see all of its changes or none. On SQLite the transaction has the only write lock.
func (d *DB) stopIssuing(ctx context.Context, tx *sql.Tx) error {
	if !d.db.Postgres {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(issuing)); err != nil {
		return fmt.Errorf("waiting for what is being issued: %w", err)
	}
	return nil
}

// issue takes the shared lock for issuing. Permissions must be read by a later statement, which
// sees what changed while this one waited.
func (d *DB) issue(ctx context.Context, tx *sql.Tx) error {
	if !d.db.Postgres {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock_shared($1)", int64(issuing)); err != nil {
		return fmt.Errorf("waiting to issue: %w", err)
	}
	return nil
}

// active reports whether a client is registered and enabled, and a tenant not suspended. issue must
// have been called.
func active(ctx context.Context, tx *sql.Tx, clientID, tenantID string) (bool, error) {
	var one int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM clients c, tenants t
		WHERE c.id = $1 AND c.deleted_at IS NULL AND c.disabled_at IS NULL AND t.id = $2
		AND t.suspended_at IS NULL`, clientID, tenantID).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// inside returns the database as part of a transaction.
func (d *DB) inside(tx *sql.Tx) *DB {
	return &DB{db: d.db, within: tx, write: tx, read: tx, audit: d.audit}
}

// Atomically runs do with a database whose changes are one transaction: committed durably as a
// whole, or not at all. No other process changes permissions meanwhile. do must not use another
// value of the same database, and must return the first error.
func (d *DB) Atomically(ctx context.Context, do func(*DB) error) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.alone(ctx, tx); err != nil {
			return err
		}
		return do(d.inside(tx))
	})
}

// govern runs a change of permissions in a tenant, or in all tenants of a user. It returns
// *user.Lockout and changes nothing when no administrator would be left where there was one.
func (d *DB) govern(ctx context.Context, tenantID, userID string, do func(*sql.Tx) error) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.alone(ctx, tx); err != nil {
			return err
		}
		before, err := administrators(ctx, tx, tenantID, userID)
		if err != nil {
			return err
		}
		if err := do(tx); err != nil {
			return err
		}
		after, err := administrators(ctx, tx, tenantID, userID)
		if err != nil {
			return err
		}
		for _, whose := range slices.Sorted(maps.Keys(before)) {
			if before[whose] > 0 && after[whose] == 0 {
				return &user.Lockout{TenantID: whose}
			}
		}
		return nil
	})
}

// administrators counts who could undo a change: the operators who can sign in, under "", and the
// enabled administrators of the tenants concerned.
func administrators(ctx context.Context, tx *sql.Tx, tenantID, userID string) (map[string]int, error) {
	rows, err := tx.QueryContext(ctx, `SELECT '', COUNT(*) FROM users WHERE operator AND NOT disabled
		AND password_hash <> ''
		UNION ALL
		SELECT m.tenant_id, COUNT(*) FROM memberships m
		JOIN users u ON u.id = m.user_id AND NOT u.disabled
		JOIN roles r ON r.tenant_id = m.tenant_id AND r.name = m.role AND r.admin
		WHERE m.tenant_id = $1 OR m.tenant_id IN (SELECT tenant_id FROM memberships WHERE user_id = $2)
		GROUP BY m.tenant_id`, tenantID, userID)
	if err != nil {
		return nil, fmt.Errorf("counting who looks after what: %w", err)
	}
	defer rows.Close()
	many := map[string]int{}
	for rows.Next() {
		var whose string
		var n int
		if err := rows.Scan(&whose, &n); err != nil {
			return nil, err
		}
		many[whose] = n
	}
	return many, rows.Err()
}

// Changes returns the number of changes to what processes cache; see package cache.
func (d *DB) Changes(ctx context.Context) (n int64, err error) {
	if err := d.row(ctx, "SELECT n FROM changes").Scan(&n); err != nil {
		return 0, fmt.Errorf("asking whether something changed: %w", err)
	}
	return n, nil
}
