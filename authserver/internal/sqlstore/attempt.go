package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
)

var _ attempt.Store = (*DB)(nil)

const connectionColumns = "id, client_id, client_name, program, source, tenant_id, user_id, resource, started_at, " +
	"updated_at, step, outcome, reason, support, refusals, bare, stranger"

// PutAttempts implements attempt.Store.
func (d *DB) PutAttempts(ctx context.Context, entries []attempt.Entry) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.oneWriter(ctx, tx); err != nil {
			return err
		}
		for _, e := range entries {
			if err := putConnection(ctx, tx, e); err != nil {
				return fmt.Errorf("keeping a connection: %w", err)
			}
		}
		return forgetDeleted(ctx, tx, entries)
	})
}

// forgetDeleted deletes entries whose person was deleted while they waited to be written.
func forgetDeleted(ctx context.Context, tx *sql.Tx, entries []attempt.Entry) error {
	var people []any
	for _, e := range entries {
		if e.User != "" {
			people = append(people, e.User)
		}
	}
	if len(people) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM connections WHERE user_id IN (SELECT id FROM users WHERE deleted_at "+
		"IS NOT NULL AND id IN ("+places(1, len(people))+"))", people...)
	if err != nil {
		return fmt.Errorf("deleting connections of people who are deleted: %w", err)
	}
	return nil
}

// connectionsLock is the advisory lock for writing attempts.
const connectionsLock = 0x636f6e6e // "conn"

// oneWriter makes replicas on PostgreSQL write attempts one after another: a new attempt takes over
// rows of others, so that no order of rows prevents deadlocks.
func (d *DB) oneWriter(ctx context.Context, tx *sql.Tx) error {
	if !d.db.Postgres { // SQLite has one writer
		return nil
	}
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", connectionsLock); err != nil {
		return fmt.Errorf("waiting for others to write connections: %w", err)
	}
	return nil
}

func putConnection(ctx context.Context, tx *sql.Tx, e attempt.Entry) error {
	r := e.Attempt
	if e.Begins {
		var err error
		if r, err = takeOver(ctx, tx, r); err != nil {
			return err
		}
	}
	// further is the condition that a new row takes precedence over the stored one; see
	// attempt.Attempt.With.
	const further = "(excluded.step > connections.step OR excluded.step = connections.step AND excluded.updated_at " +
		">= connections.updated_at)"
	_, err := tx.ExecContext(ctx, "INSERT INTO connections ("+connectionColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
		ON CONFLICT (id) DO UPDATE SET
		client_id = CASE WHEN connections.client_id <> '' THEN connections.client_id ELSE excluded.client_id END,
		client_name = CASE WHEN connections.client_name <> '' THEN connections.client_name
		ELSE excluded.client_name END,
		program = CASE WHEN connections.program <> '' THEN connections.program ELSE excluded.program END,
		source = CASE WHEN connections.source <> '' THEN connections.source ELSE excluded.source END,
		tenant_id = CASE WHEN connections.tenant_id <> '' THEN connections.tenant_id ELSE excluded.tenant_id END,
		user_id = CASE WHEN connections.user_id <> '' THEN connections.user_id ELSE excluded.user_id END,
		resource = CASE WHEN connections.resource <> '' THEN connections.resource ELSE excluded.resource END,
		started_at = CASE WHEN excluded.started_at < connections.started_at THEN excluded.started_at
		ELSE connections.started_at END,
		updated_at = CASE WHEN excluded.updated_at > connections.updated_at THEN excluded.updated_at
		ELSE connections.updated_at END,
		step = CASE WHEN `+further+` THEN excluded.step ELSE connections.step END,
		outcome = CASE WHEN `+further+` THEN excluded.outcome ELSE connections.outcome END,
		reason = CASE WHEN `+further+` THEN excluded.reason ELSE connections.reason END,
		support = CASE WHEN `+further+` THEN excluded.support ELSE connections.support END,
		refusals = connections.refusals + excluded.refusals,
		bare = connections.bare OR excluded.bare, stranger = connections.stranger AND excluded.stranger`,
		r.ID, r.Client, r.ClientName, r.Program, r.Source, r.Tenant, r.User, r.Resource, r.StartedAt.Unix(),
		r.UpdatedAt.Unix(), int(r.Step), r.Outcome, r.Reason,
		r.Support, r.Refusals, r.NoResource, r.Unknown)
	return err
}

// takeOver deletes what was open at an earlier step, and returns the attempt merged with it.
func takeOver(ctx context.Context, tx *sql.Tx, r attempt.Attempt) (attempt.Attempt, error) {
	rows, err := tx.QueryContext(ctx, `DELETE FROM connections WHERE id IN (SELECT id FROM connections
		WHERE outcome = 'open' AND step < $1 AND step <= $2
		AND updated_at >= $3 AND (client_id = $4 AND client_id <> '' OR client_id = '' AND source = $5) AND id <> $6
		ORDER BY id LIMIT 20)
		RETURNING `+connectionColumns, int(r.Step), int(attempt.Registration), r.StartedAt.Add(-attempt.Window).Unix(),
		r.Client, r.Source, r.ID)
	if err != nil {
		return r, err
	}
	defer rows.Close()
	for rows.Next() {
		was, err := scanConnection(rows)
		if err != nil {
			return r, err
		}
		was.ID = r.ID
		r = was.With(r)
	}
	return r, rows.Err()
}

func scanConnection(row interface{ Scan(...any) error }) (attempt.Attempt, error) {
	var r attempt.Attempt
	var step int
	err := row.Scan(&r.ID, &r.Client, &r.ClientName, &r.Program, &r.Source, &r.Tenant, &r.User, &r.Resource,
		(*unixTime)(&r.StartedAt), (*unixTime)(&r.UpdatedAt), &step,
		&r.Outcome, &r.Reason, &r.Support, &r.Refusals, &r.NoResource, &r.Unknown)
	r.Step = attempt.Step(step)
	return r, err
}

// Attempts implements attempt.Store.
func (d *DB) Attempts(ctx context.Context, f attempt.Filter) ([]attempt.Attempt, error) {
	w := &where{}
	w.is("TRUE")
	if f.ID != "" {
		w.is("id = ?", f.ID)
	}
	if f.Failed { // reading the metadata alone is no attempt
		w.is("(outcome = 'failed' OR outcome = 'open' AND updated_at < ? AND step > ?)",
			f.Now.Add(-attempt.Window).Unix(), int(attempt.Discovery))
	}
	if f.Done {
		w.is("outcome = 'done'")
	}
	if len(f.Clients) > 0 {
		var any []any
		for _, id := range f.Clients {
			any = append(any, id)
		}
		w.is("client_id IN (?"+strings.Repeat(", ?", len(any)-1)+")", any...)
	}
	if f.Tenant != "" {
		w.is("tenant_id = ?", f.Tenant)
	}
	if !f.Since.IsZero() {
		w.is("updated_at >= ?", f.Since.Unix())
	}
	args := append(w.args, f.Limit)
	found, err := collect(ctx, d, scanConnection, "SELECT "+connectionColumns+" FROM connections WHERE "+
		strings.Join(w.conditions, " AND ")+
		" ORDER BY updated_at DESC, id LIMIT "+fmt.Sprintf("$%d", len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("reading connections: %w", err)
	}
	return found, nil
}
