package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/shared/database"
)

var _ tenant.Store = (*DB)(nil)

const tenantColumns = "id, name, scopes, clients, registrations, token_life, refresh_life, created_at"

// tenantRead are the columns of a tenant that are read.
const tenantRead = tenantColumns + ", suspended_at"

// CreateTenant implements tenant.Store.
func (d *DB) CreateTenant(ctx context.Context, t tenant.Tenant) error {
	_, err := d.write.ExecContext(ctx, "INSERT INTO tenants ("+tenantColumns+
		") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		t.ID, t.Name, stringList(t.Scopes), stringList(t.Clients), stringList(t.Registrations),
		span(t.MaxAccessTokenLifetime),
		span(t.MaxRefreshTokenLifetime),
		unixTime(t.CreatedAt))
	if database.IsUniqueViolation(err) {
		return tenant.ErrExists
	}
	if err != nil {
		return fmt.Errorf("keeping tenant %s: %w", t.ID, err)
	}
	return nil
}

// Tenant implements tenant.Store.
func (d *DB) Tenant(ctx context.Context, id string) (tenant.Tenant, error) {
	t, err := scanTenant(d.row(ctx, "SELECT "+tenantRead+" FROM tenants WHERE id = $1 AND deleted_at IS NULL", id))
	return t, database.NotFound(err, tenant.ErrNotFound)
}

// RenameTenant implements tenant.Store.
func (d *DB) RenameTenant(ctx context.Context, id, name string) error {
	there, err := database.Changed(d.write.ExecContext(ctx,
		"UPDATE tenants SET name = $2 WHERE id = $1 AND deleted_at IS NULL",
		id, name))
	return found(there, err, tenant.ErrNotFound, "renaming tenant "+id)
}

// PutPolicy implements tenant.Store.
func (d *DB) PutPolicy(ctx context.Context, id string, p tenant.Policy) error {
	there, err := database.Changed(d.write.ExecContext(ctx,
		"UPDATE tenants SET scopes = $2, clients = $3, registrations = $4, token_life = $5, refresh_life = $6 WHERE "+
			"id = $1 AND deleted_at IS NULL",
		id, stringList(p.Scopes), stringList(p.Clients), stringList(p.Registrations), span(p.MaxAccessTokenLifetime),
		span(p.MaxRefreshTokenLifetime)))
	return found(there, err, tenant.ErrNotFound, "keeping the policy of tenant "+id)
}

// found returns the outcome of a guarded statement: word when it changed no row.
func found(there bool, err, word error, doing string) error {
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if !there {
		return word
	}
	return nil
}

// SuspendTenant implements tenant.Store.
func (d *DB) SuspendTenant(ctx context.Context, id string, at time.Time) (since time.Time, err error) {
	err = d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.stopIssuing(ctx, tx); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx,
			"UPDATE tenants SET suspended_at = COALESCE(suspended_at, $2) WHERE id = $1 AND deleted_at IS NULL "+
				"RETURNING suspended_at",
			id, unixTime(at)).Scan((*unixTime)(&since))
	})
	return since, database.NotFound(err, tenant.ErrNotFound)
}

// ResumeTenant implements tenant.Store.
func (d *DB) ResumeTenant(ctx context.Context, id string) error {
	there, err := database.Changed(d.write.ExecContext(ctx,
		"UPDATE tenants SET suspended_at = NULL WHERE id = $1 AND deleted_at IS NULL", id))
	return found(there, err, tenant.ErrNotFound, "resuming tenant "+id)
}

// DeleteTenant implements tenant.Store. The row stays, suspended and emptied, for grants and
// records that name it.
func (d *DB) DeleteTenant(ctx context.Context, id string, at time.Time) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.stopIssuing(ctx, tx); err != nil {
			return err
		}
		there, err := database.Changed(tx.ExecContext(ctx, `UPDATE tenants SET deleted_at = $2, suspended_at = $2,
			name = '',
			scopes = '[]', clients = '[]', registrations = '[]'
			WHERE id = $1 AND deleted_at IS NULL`, id, unixTime(at)))
		if err := found(there, err, tenant.ErrNotFound, "deleting tenant "+id); err != nil {
			return err
		}
		for _, statement := range []string{
			"DELETE FROM memberships WHERE tenant_id = $1",
			"DELETE FROM roles WHERE tenant_id = $1",
			"DELETE FROM initial_tokens WHERE tenant_id = $1",
			"DELETE FROM trusted_issuers WHERE tenant_id = $1",
		} {
			if _, err := tx.ExecContext(ctx, statement, id); err != nil {
				return fmt.Errorf("deleting what belongs to tenant %s: %w", id, err)
			}
		}
		if _, err := tx.ExecContext(ctx, `UPDATE clients SET deleted_at = $2, disabled_at = NULL, secret_hash = '',
			old_secret_hash = '', manage_hash = ''
			WHERE tenant_id = $1 AND deleted_at IS NULL`, id, unixTime(at)); err != nil {
			return fmt.Errorf("deleting the clients of tenant %s: %w", id, err)
		}
		return nil
	})
}

// Tenants implements tenant.Store.
func (d *DB) Tenants(ctx context.Context) ([]tenant.Tenant, error) {
	return collect(ctx, d, scanTenant, "SELECT "+tenantRead+" FROM tenants WHERE deleted_at IS NULL ORDER BY id")
}

func scanTenant(r interface{ Scan(...any) error }) (tenant.Tenant, error) {
	var t tenant.Tenant
	err := r.Scan(&t.ID, &t.Name, (*stringList)(&t.Scopes), (*stringList)(&t.Clients), (*stringList)(&t.Registrations),
		(*span)(&t.MaxAccessTokenLifetime), (*span)(&t.MaxRefreshTokenLifetime),
		(*unixTime)(&t.CreatedAt), (*unixTime)(&t.SuspendedAt))
	return t, err
}
