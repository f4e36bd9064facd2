package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

const roleColumns = "tenant_id, name, own, includes, admin, scopes"

func scanRole(r interface{ Scan(...any) error }) (user.Role, error) {
	var role user.Role
	err := r.Scan(&role.TenantID, &role.Name, (*list)(&role.Scopes), (*list)(&role.Includes), &role.Admin, (*list)(&role.Gives))
	return role, err
}

// Role implements user.Store.
func (d *DB) Role(ctx context.Context, tenantID, name string) (user.Role, error) {
	r, err := scanRole(d.row(ctx, "SELECT "+roleColumns+" FROM roles WHERE tenant_id = $1 AND name = $2", tenantID, name))
	return r, none(err, user.ErrNotFound)
}

// Roles implements user.Store.
func (d *DB) Roles(ctx context.Context, tenantID string) ([]user.Role, error) {
	return collect(ctx, d, scanRole, "SELECT "+roleColumns+" FROM roles WHERE tenant_id = $1 ORDER BY name", tenantID)
}

// PutRole implements user.Store.
func (d *DB) PutRole(ctx context.Context, r user.Role) error {
	return d.govern(ctx, r.TenantID, "", func(tx *sql.Tx) error { return d.putRole(ctx, tx, r) })
}

// putRole keeps a role, and what it and those that include it give from now on: who reads a membership reads one row, however deep the roles are.
func (d *DB) putRole(ctx context.Context, tx *sql.Tx, r user.Role) error {
	roles, err := d.inside(tx).Roles(ctx, r.TenantID)
	if err != nil {
		return fmt.Errorf("reading the roles of %s: %w", r.TenantID, err)
	}
	others := slices.DeleteFunc(roles, func(o user.Role) bool { return o.Name == r.Name })
	roles = append([]user.Role{r}, others...) // first, so that a circle is told from it on
	gives, err := user.Resolve(roles)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO roles ("+roleColumns+`) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (tenant_id, name) DO UPDATE SET own = excluded.own, includes = excluded.includes, admin = excluded.admin, scopes = excluded.scopes`,
		r.TenantID, r.Name, list(r.Scopes), list(r.Includes), r.Admin, list(gives[r.Name]))
	if err != nil {
		return fmt.Errorf("keeping role %s of %s: %w", r.Name, r.TenantID, err)
	}
	for _, other := range roles {
		if other.Name == r.Name || slices.Equal(other.Gives, gives[other.Name]) {
			continue
		}
		if _, err := tx.ExecContext(ctx, "UPDATE roles SET scopes = $3 WHERE tenant_id = $1 AND name = $2", r.TenantID, other.Name, list(gives[other.Name])); err != nil {
			return fmt.Errorf("keeping what role %s of %s gives: %w", other.Name, r.TenantID, err)
		}
	}
	return nil
}

// DeleteRole implements user.Store.
func (d *DB) DeleteRole(ctx context.Context, tenantID, name string) error {
	return d.govern(ctx, tenantID, "", func(tx *sql.Tx) error {
		var people int
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM memberships WHERE tenant_id = $1 AND role = $2", tenantID, name).Scan(&people); err != nil {
			return fmt.Errorf("counting who is %s of %s: %w", name, tenantID, err)
		}
		if people > 0 {
			return &user.RoleError{Reason: fmt.Sprintf("role %s has members: %d", name, people)}
		}
		roles, err := d.inside(tx).Roles(ctx, tenantID)
		if err != nil {
			return fmt.Errorf("reading the roles of %s: %w", tenantID, err)
		}
		for _, r := range roles {
			if slices.Contains(r.Includes, name) {
				return &user.RoleError{Reason: fmt.Sprintf("role %s includes %s", r.Name, name)}
			}
		}
		there, err := changed(tx.ExecContext(ctx, "DELETE FROM roles WHERE tenant_id = $1 AND name = $2", tenantID, name))
		return found(there, err, user.ErrNotFound, "deleting role "+name+" of "+tenantID)
	})
}
