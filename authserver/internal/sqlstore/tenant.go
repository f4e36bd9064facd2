package sqlstore

import (
	"context"
	"fmt"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
)

var _ tenant.Store = (*DB)(nil)

// CreateTenant implements tenant.Store.
func (d *DB) CreateTenant(ctx context.Context, t tenant.Tenant) error {
	_, err := d.write.ExecContext(ctx, "INSERT INTO tenants (id, name, scopes, created_at) VALUES ($1, $2, $3, $4)",
		t.ID, t.Name, list(t.Scopes), moment(t.CreatedAt))
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
	t, err := scanTenant(d.row(ctx, "SELECT id, name, scopes, created_at FROM tenants WHERE id = $1", id))
	return t, none(err, tenant.ErrNotFound)
}

// Tenants implements tenant.Store.
func (d *DB) Tenants(ctx context.Context) ([]tenant.Tenant, error) {
	return collect(ctx, d, scanTenant, "SELECT id, name, scopes, created_at FROM tenants ORDER BY id")
}

func scanTenant(r interface{ Scan(...any) error }) (tenant.Tenant, error) {
	var t tenant.Tenant
	err := r.Scan(&t.ID, &t.Name, (*list)(&t.Scopes), (*moment)(&t.CreatedAt))
	return t, err
}
