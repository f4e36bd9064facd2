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

// governing is the key of PostgreSQL's advisory lock under which who may what is changed, in this
// database.
const governing = 0x67617465686f7573

// alone holds everybody else off who would change who may what, until the transaction ends: two
// changes that each count on what the other takes away come one after the other. On SQLite the
// transaction has the only write lock anyway.
func (d *DB) alone(ctx context.Context, tx *sql.Tx) error {
	if d.own == "" {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(governing)); err != nil {
		return fmt.Errorf("waiting to change who may what: %w", err)
	}
	return nil
}

// issuing is the key of PostgreSQL's advisory lock that transactions share which issue something on
// the strength of a grant, in this database.
const issuing = 0x6761746569737375

// stopIssuing waits for the transactions that issue something and began before, and holds off
// others until this one ends: whatever it changes, they have read neither half of it. On SQLite the
// transaction has the only write lock anyway.
func (d *DB) stopIssuing(ctx context.Context, tx *sql.Tx) error {
	if d.own == "" {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(issuing)); err != nil {
		return fmt.Errorf("waiting for what is being issued: %w", err)
	}
	return nil
}

// issue shares the lock of those that issue something. What follows must read who may what by
// another statement, which sees what was changed while it waited.
func (d *DB) issue(ctx context.Context, tx *sql.Tx) error {
	if d.own == "" {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock_shared($1)", int64(issuing)); err != nil {
		return fmt.Errorf("waiting to issue: %w", err)
	}
	return nil
}

// active says whether a client is registered and not disabled, and a tenant not suspended. It is
// asked after issue.
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

// inside is the database as a transaction sees it; all that is done to it is part of that.
func (d *DB) inside(tx *sql.Tx) *DB {
	return &DB{writer: d.writer, reader: d.reader, within: tx, write: tx, read: tx, share: d.share, own: d.own,
		audit: d.audit}
}

// Atomically runs do with a database whose every change is part of one transaction: all of it is
// committed, durably, or nothing is. Nobody else changes who may what meanwhile. do must touch no
// other value of the same database, and everything that it was refused is final: on an error it
// gives up.
func (d *DB) Atomically(ctx context.Context, do func(*DB) error) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.alone(ctx, tx); err != nil {
			return err
		}
		return do(d.inside(tx))
	})
}

// govern runs a change of who may what, of a tenant or of all to which a user belongs. When it
// would leave nobody who could take it back where there was somebody, it answers *user.Lockout, and
// nothing has changed.
func (d *DB) govern(ctx context.Context, tenantID, userID string, do func(*sql.Tx) error) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.alone(ctx, tx); err != nil {
			return err
		}
		before, err := keepers(ctx, tx, tenantID, userID)
		if err != nil {
			return err
		}
		if err := do(tx); err != nil {
			return err
		}
		after, err := keepers(ctx, tx, tenantID, userID)
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

// keepers counts who could take a change back: the operators who can sign in, under "", and the
// admins of the tenants in question who are not disabled.
func keepers(ctx context.Context, tx *sql.Tx, tenantID, userID string) (map[string]int, error) {
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

// Changes counts the changes to what processes remember; see package recent.
func (d *DB) Changes(ctx context.Context) (n int64, err error) {
	if err := d.row(ctx, "SELECT n FROM changes").Scan(&n); err != nil {
		return 0, fmt.Errorf("asking whether something changed: %w", err)
	}
	return n, nil
}
