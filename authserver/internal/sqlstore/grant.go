package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/database"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

var _ grant.Store = (*DB)(nil)

const grantColumns = "g.id, g.tenant_id, g.client_id, g.user_id, g.resource, g.scopes, g.created_at, g.ended_at, " +
	"g.end_reason, g.signed_in_at, g.asserted_by, g.asserted_at, g.derived_from, " + suspended

// suspended is the condition that a grant's client is disabled or its tenant suspended.
const suspended = `(EXISTS (SELECT 1 FROM clients sc WHERE sc.id = g.client_id AND sc.disabled_at IS NOT NULL)
	OR EXISTS (SELECT 1 FROM tenants st WHERE st.id = g.tenant_id AND st.suspended_at IS NOT NULL))`

// grantRow returns the destinations of a grant's columns.
func grantRow(g *grant.Grant, userID *sql.NullString) []any {
	return []any{&g.ID, &g.TenantID, &g.ClientID, userID, &g.Resource, (*stringList)(&g.Scopes),
		(*unixTime)(&g.CreatedAt),
		(*unixTime)(&g.RevokedAt), &g.RevokeReason,
		(*unixTime)(&g.SignedInAt), &g.AssertedBy, (*unixTime)(&g.AssertedAt), &g.DerivedFrom, &g.Suspended}
}

func scanGrant(r interface{ Scan(...any) error }) (grant.Grant, error) {
	var g grant.Grant
	var userID sql.NullString
	err := r.Scan(grantRow(&g, &userID)...)
	g.UserID = userID.String
	return g, err
}

func insertGrant(ctx context.Context, e execer, g grant.Grant) error {
	_, err := e.ExecContext(ctx,
		"INSERT INTO grants (id, tenant_id, client_id, user_id, resource, scopes, created_at, signed_in_at, "+
			"derived_from) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		g.ID, g.TenantID, g.ClientID, optional(g.UserID), g.Resource, stringList(g.Scopes), unixTime(g.CreatedAt),
		unixTime(g.SignedInAt), g.DerivedFrom)
	if err != nil {
		return fmt.Errorf("keeping grant %s: %w", g.ID, err)
	}
	return nil
}

// Grant implements grant.Store.
func (d *DB) Grant(ctx context.Context, id string) (grant.Grant, error) {
	g, err := scanGrant(d.row(ctx, "SELECT "+grantColumns+" FROM grants g WHERE g.id = $1", id))
	return g, database.NotFound(err, grant.ErrNotFound)
}

// Grants implements grant.Store.
func (d *DB) Grants(ctx context.Context, f grant.Filter) ([]grant.Grant, error) {
	w := &where{}
	for _, c := range []struct{ column, value string }{
		{"g.tenant_id", f.TenantID}, {"g.user_id", f.UserID}, {"g.client_id", f.ClientID},
		{"g.end_reason", f.RevokeReason}, {"g.resource", f.Resource},
	} {
		if c.value != "" {
			w.is(c.column+" = ?", c.value)
		}
	}
	if f.Active {
		w.is("g.ended_at IS NULL")
	}
	if f.AssertedBy != "" { // repeated because the index has it as its condition
		w.is("g.asserted_by <> '' AND g.asserted_by = ?", f.AssertedBy)
	}
	if f.DerivedFrom != "" {
		w.is("g.derived_from <> '' AND g.derived_from = ?", f.DerivedFrom)
	}
	if f.Consented {
		w.is("g.derived_from = ''")
	}
	if !f.RevokedSince.IsZero() {
		w.is("g.ended_at >= ?", seconds(f.RevokedSince))
	}
	w.after("grants", "g.", f.After)
	query, args := w.newest("SELECT "+grantColumns+" FROM grants g", "g.", f.Limit)
	return collect(ctx, d, scanGrant, query, args...)
}

const livingMachineGrant = "SELECT " + grantColumns + " FROM grants g WHERE g.client_id = $1 AND g.resource = $2 AND " +
	"g.user_id IS NULL AND g.ended_at IS NULL"

// MachineGrant implements grant.Store.
func (d *DB) MachineGrant(ctx context.Context, clientID, resource string) (grant.Grant, error) {
	g, err := scanGrant(d.row(ctx, "SELECT "+grantColumns+` FROM grants g WHERE g.client_id = $1 AND g.resource = $2
		AND g.user_id IS NULL
		AND (g.ended_at IS NULL OR g.end_reason <> $3) ORDER BY CASE WHEN g.ended_at IS NULL THEN 0 ELSE 1 END,
		g.ended_at DESC LIMIT 1`,
		clientID, resource, grant.ReasonClient))
	return g, database.NotFound(err, grant.ErrNotFound)
}

// PutMachineGrant implements grant.Store. The unique index of active machine grants decides which
// is first.
func (d *DB) PutMachineGrant(ctx context.Context, g grant.Grant, e audit.Event) (living grant.Grant, err error) {
	err = d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.mayIssue(ctx, tx, g, grant.ErrSuspended); err != nil {
			return err
		}
		made, err := database.Changed(tx.ExecContext(ctx, `INSERT INTO grants (id, tenant_id, client_id, resource,
			scopes,
			created_at)
			VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT DO NOTHING`, g.ID, g.TenantID, g.ClientID, g.Resource, stringList(g.Scopes),
			unixTime(g.CreatedAt)))
		if err != nil {
			return fmt.Errorf("keeping a machine grant: %w", err)
		}
		if made {
			living = g
			return d.audit.Insert(ctx, tx, e)
		}
		living, err = scanGrant(tx.QueryRowContext(ctx, livingMachineGrant, g.ClientID, g.Resource))
		return database.NotFound(err, grant.ErrNotFound)
	})
	return living, err
}

// RevokeGrant implements grant.Store. Codes and refresh tokens are not changed: each use of one
// checks its grant in the same transaction.
func (d *DB) RevokeGrant(ctx context.Context, id string, at time.Time, reason string, e audit.Event) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		ended, err := database.Changed(tx.ExecContext(ctx,
			"UPDATE grants SET ended_at = $2, end_reason = $3 WHERE id = $1 AND ended_at IS NULL", id, unixTime(at),
			reason))
		if err != nil {
			return fmt.Errorf("ending grant %s: %w", id, err)
		}
		if ended {
			return d.audit.Insert(ctx, tx, e)
		}
		var there int
		err = tx.QueryRowContext(ctx, "SELECT 1 FROM grants WHERE id = $1", id).Scan(&there)
		return database.NotFound(err, grant.ErrNotFound)
	})
}

// Orphans implements grant.Store. Each part starts from what was deleted, which is little, except
// for memberships.
func (d *DB) Orphans(ctx context.Context, limit int) ([]string, error) {
	rows, err := d.read.QueryContext(ctx, `
		SELECT g.id FROM clients c JOIN grants g ON g.client_id = c.id WHERE c.deleted_at IS NOT NULL
		AND g.ended_at IS NULL
		UNION SELECT g.id FROM tenants t JOIN grants g ON g.tenant_id = t.id WHERE t.deleted_at IS NOT NULL
		AND g.ended_at IS NULL
		UNION SELECT g.id FROM users u JOIN grants g ON g.user_id = u.id WHERE u.disabled AND g.ended_at IS NULL
		UNION SELECT g.id FROM grants g WHERE g.user_id IS NOT NULL AND g.ended_at IS NULL
			AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = g.user_id AND m.tenant_id = g.tenant_id)
		UNION SELECT g.id FROM grants g WHERE g.asserted_by <> '' AND g.ended_at IS NULL
			AND NOT EXISTS (SELECT 1 FROM trusted_issuers t WHERE t.issuer = g.asserted_by)
		UNION SELECT g.id FROM grants g JOIN grants p ON p.id = g.derived_from
			WHERE g.derived_from <> '' AND g.ended_at IS NULL AND p.ended_at IS NOT NULL
		LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("reading grants that were left alive: %w", err)
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// SuspendedSince implements grant.Store.
func (d *DB) SuspendedSince(ctx context.Context, t time.Time) (map[revocation.Subject]time.Time, error) {
	since := map[revocation.Subject]time.Time{}
	for query, subject := range map[string]func(string) revocation.Subject{
		"SELECT id, disabled_at FROM clients WHERE disabled_at >= $1":   revocation.Client,
		"SELECT id, suspended_at FROM tenants WHERE suspended_at >= $1": revocation.Tenant,
	} {
		found, err := d.times(ctx, query, t)
		if err != nil {
			return nil, fmt.Errorf("reading what is suspended: %w", err)
		}
		for id, at := range found {
			since[subject(id)] = at
		}
	}
	return since, nil
}

// RevokedSince implements grant.Store.
func (d *DB) RevokedSince(ctx context.Context, t time.Time) (map[string]time.Time, error) {
	ended, err := d.times(ctx, "SELECT id, ended_at FROM grants WHERE ended_at >= $1", t)
	if err != nil {
		return nil, fmt.Errorf("reading ended grants: %w", err)
	}
	return ended, nil
}

// times selects ids with their times, from a time on.
func (d *DB) times(ctx context.Context, query string, from time.Time) (map[string]time.Time, error) {
	rows, err := d.read.QueryContext(ctx, query, unixTime(from))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[string]time.Time{}
	for rows.Next() {
		var id string
		var at unixTime
		if err := rows.Scan(&id, &at); err != nil {
			return nil, err
		}
		found[id] = time.Time(at)
	}
	return found, rows.Err()
}

// mayIssue returns refused when the grant's client is deleted or disabled or its tenant suspended.
func (d *DB) mayIssue(ctx context.Context, tx *sql.Tx, g grant.Grant, refused error) error {
	if err := d.issue(ctx, tx); err != nil {
		return err
	}
	ok, err := active(ctx, tx, g.ClientID, g.TenantID)
	if err != nil {
		return fmt.Errorf("asking whether client %s may act for tenant %s: %w", g.ClientID, g.TenantID, err)
	}
	if !ok {
		return refused
	}
	return nil
}

// living is the condition that a grant g may issue tokens.
const living = "g.ended_at IS NULL AND NOT " + suspended

// alive locks a grant until the transaction ends, or reports that it was revoked. On PostgreSQL the
// row's share lock makes a revocation wait for this transaction, or this transaction see it: READ
// COMMITTED checks the condition again after the wait. On SQLite the transaction has the only write
// lock. A suspended grant counts as revoked; issue must have been called, so that this does not
// change.
func (d *DB) alive(ctx context.Context, tx *sql.Tx, id string) (bool, error) {
	var one int
	err := tx.QueryRowContext(ctx, "SELECT 1 FROM grants g WHERE g.id = $1 AND "+living+d.db.ForShare(), id).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
