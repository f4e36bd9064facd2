package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/database"
)

const roleColumns = "tenant_id, name, own, includes, admin, scopes"

func scanRole(r interface{ Scan(...any) error }) (user.Role, error) {
	var role user.Role
	err := r.Scan(&role.TenantID, &role.Name, (*stringList)(&role.Scopes), (*stringList)(&role.Includes), &role.Admin,
		(*stringList)(&role.Gives))
	return role, err
}

// Role implements user.Store.
func (d *DB) Role(ctx context.Context, tenantID, name string) (user.Role, error) {
	r, err := scanRole(d.row(ctx, "SELECT "+roleColumns+" FROM roles WHERE tenant_id = $1 AND name = $2",
		tenantID, name))
	return r, database.NotFound(err, user.ErrNotFound)
}

// Roles implements user.Store.
func (d *DB) Roles(ctx context.Context, tenantID string) ([]user.Role, error) {
	return collect(ctx, d, scanRole, "SELECT "+roleColumns+" FROM roles WHERE tenant_id = $1 ORDER BY name", tenantID)
}

// PutRole implements user.Store.
func (d *DB) PutRole(ctx context.Context, r user.Role) error {
	return d.PutRoles(ctx, r.TenantID, []user.Role{r})
}

// PutRoles implements user.Store.
func (d *DB) PutRoles(ctx context.Context, tenantID string, roles []user.Role) error {
	return d.govern(ctx, tenantID, "", func(tx *sql.Tx) error { return d.putRoles(ctx, tx, tenantID, roles) })
}

// putRoles stores roles, and what they and the roles that include them give: a membership is then
// read from one row, however deep the roles are.
func (d *DB) putRoles(ctx context.Context, tx *sql.Tx, tenantID string, put []user.Role) error {
	there, err := d.inside(tx).Roles(ctx, tenantID)
	if err != nil {
		return fmt.Errorf("reading the roles of %s: %w", tenantID, err)
	}
	others := slices.DeleteFunc(slices.Clone(there), func(o user.Role) bool {
		return slices.ContainsFunc(put, func(r user.Role) bool { return r.Name == o.Name })
	})
	// these first, so that a cycle is reported from them
	gives, err := user.Resolve(append(slices.Clone(put), others...))
	if err != nil {
		return err
	}
	// What each gives is written first, also for those that are stored: an older program changes
	// only that (see roles_put_whole in the schema).
	for _, r := range there {
		if slices.Equal(r.Gives, gives[r.Name]) {
			continue
		}
		if _, err := tx.ExecContext(ctx, "UPDATE roles SET scopes = $3 WHERE tenant_id = $1 AND name = $2", tenantID,
			r.Name, stringList(gives[r.Name])); err != nil {
			return fmt.Errorf("keeping what role %s of %s gives: %w", r.Name, tenantID, err)
		}
	}
	for _, r := range put {
		_, err := tx.ExecContext(ctx, "INSERT INTO roles ("+roleColumns+`) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (tenant_id, name) DO UPDATE SET own = excluded.own, includes = excluded.includes,
			admin = excluded.admin, scopes = excluded.scopes`,
			tenantID, r.Name, stringList(r.Scopes), stringList(r.Includes), r.Admin, stringList(gives[r.Name]))
		if err != nil {
			return fmt.Errorf("keeping role %s of %s: %w", r.Name, tenantID, err)
		}
	}
	return nil
}

// DeleteRole implements user.Store.
func (d *DB) DeleteRole(ctx context.Context, tenantID, name string) error {
	return d.govern(ctx, tenantID, "", func(tx *sql.Tx) error {
		var people int
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM memberships WHERE tenant_id = $1 AND role = $2",
			tenantID, name).Scan(&people); err != nil {
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
		there, err := database.Changed(tx.ExecContext(ctx, "DELETE FROM roles WHERE tenant_id = $1 AND name = $2",
			tenantID, name))
		return found(there, err, user.ErrNotFound, "deleting role "+name+" of "+tenantID)
	})
}
