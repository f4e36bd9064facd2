package sqlstore

import (
	"context"
	"fmt"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
)

var _ tenant.Store = (*DB)(nil)

const tenantColumns = "id, name, scopes, clients, registrations, token_life, refresh_life, created_at"

// CreateTenant implements tenant.Store.
func (d *DB) CreateTenant(ctx context.Context, t tenant.Tenant) error {
	_, err := d.write.ExecContext(ctx, "INSERT INTO tenants ("+tenantColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		t.ID, t.Name, list(t.Scopes), list(t.Clients), list(t.Registrations), span(t.TokenLife), span(t.RefreshLife), moment(t.CreatedAt))
	if taken(err) {
		return tenant.ErrExists
	}
	if err != nil {
		return fmt.Errorf("keeping tenant %s: %w", t.ID, err)
	}
	return nil
}

// Tenant implements tenant.Store.
func (d *DB) Tenant(ctx context.Context, id string) (tenant.Tenant, error) {
	t, err := scanTenant(d.row(ctx, "SELECT "+tenantColumns+" FROM tenants WHERE id = $1", id))
	return t, none(err, tenant.ErrNotFound)
}

// RenameTenant implements tenant.Store.
func (d *DB) RenameTenant(ctx context.Context, id, name string) error {
	there, err := changed(d.write.ExecContext(ctx, "UPDATE tenants SET name = $2 WHERE id = $1", id, name))
	return found(there, err, tenant.ErrNotFound, "renaming tenant "+id)
}

// PutPolicy implements tenant.Store.
func (d *DB) PutPolicy(ctx context.Context, id string, p tenant.Policy) error {
	there, err := changed(d.write.ExecContext(ctx, "UPDATE tenants SET scopes = $2, clients = $3, registrations = $4, token_life = $5, refresh_life = $6 WHERE id = $1",
		id, list(p.Scopes), list(p.Clients), list(p.Registrations), span(p.TokenLife), span(p.RefreshLife)))
	return found(there, err, tenant.ErrNotFound, "keeping the policy of tenant "+id)
}

// found is the outcome of a guarded statement: the noun's own word when it changed no row.
func found(there bool, err, word error, doing string) error {
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if !there {
		return word
	}
	return nil
}

// Tenants implements tenant.Store.
func (d *DB) Tenants(ctx context.Context) ([]tenant.Tenant, error) {
	return collect(ctx, d, scanTenant, "SELECT "+tenantColumns+" FROM tenants ORDER BY id")
}

func scanTenant(r interface{ Scan(...any) error }) (tenant.Tenant, error) {
	var t tenant.Tenant
	err := r.Scan(&t.ID, &t.Name, (*list)(&t.Scopes), (*list)(&t.Clients), (*list)(&t.Registrations), (*span)(&t.TokenLife), (*span)(&t.RefreshLife),
		(*moment)(&t.CreatedAt))
	return t, err
}
