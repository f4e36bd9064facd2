package sqlstore

import (
	"context"
	"fmt"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

var _ user.Store = (*DB)(nil)

const userColumns = "id, email, name, password_hash, operator, disabled, created_at"

// CreateUser implements user.Store.
func (d *DB) CreateUser(ctx context.Context, u user.User) error {
	_, err := d.write.ExecContext(ctx, "INSERT INTO users ("+userColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7)",
		u.ID, u.Email, u.Name, u.PasswordHash, u.Operator, u.Disabled, moment(u.CreatedAt))
	if taken(err) {
		return user.ErrExists
	}
	if err != nil {
		return fmt.Errorf("keeping user %s: %w", u.ID, err)
	}
	return nil
}

// User implements user.Store.
func (d *DB) User(ctx context.Context, id string) (user.User, error) {
	u, err := scanUser(d.row(ctx, "SELECT "+userColumns+" FROM users WHERE id = $1", id))
	return u, none(err, user.ErrNotFound)
}

// UserByEmail implements user.Store.
func (d *DB) UserByEmail(ctx context.Context, email string) (user.User, error) {
	u, err := scanUser(d.row(ctx, "SELECT "+userColumns+" FROM users WHERE email = $1", email))
	return u, none(err, user.ErrNotFound)
}

func scanUser(r interface{ Scan(...any) error }) (user.User, error) {
	var u user.User
	err := r.Scan(&u.ID, &u.Email, &u.Name, &u.PasswordHash, &u.Operator, &u.Disabled, (*moment)(&u.CreatedAt))
	return u, err
}

// PutRole implements user.Store.
func (d *DB) PutRole(ctx context.Context, r user.Role) error {
	_, err := d.write.ExecContext(ctx, `INSERT INTO roles (tenant_id, name, scopes, admin) VALUES ($1, $2, $3, $4)
		ON CONFLICT (tenant_id, name) DO UPDATE SET scopes = excluded.scopes, admin = excluded.admin`, r.TenantID, r.Name, list(r.Scopes), r.Admin)
	if err != nil {
		return fmt.Errorf("keeping role %s of %s: %w", r.Name, r.TenantID, err)
	}
	return nil
}

// HasRole implements user.Store.
func (d *DB) HasRole(ctx context.Context, tenantID, role string) (bool, error) {
	n := 0
	if err := d.row(ctx, "SELECT COUNT(*) FROM roles WHERE tenant_id = $1 AND name = $2", tenantID, role).Scan(&n); err != nil {
		return false, fmt.Errorf("reading roles of %s: %w", tenantID, err)
	}
	return n == 1, nil
}

// PutMember implements user.Store.
func (d *DB) PutMember(ctx context.Context, tenantID, userID, role string) error {
	_, err := d.write.ExecContext(ctx, `INSERT INTO memberships (user_id, tenant_id, role) VALUES ($1, $2, $3)
		ON CONFLICT (user_id, tenant_id) DO UPDATE SET role = excluded.role`, userID, tenantID, role)
	if dangling(err) {
		return user.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("making %s a member of %s: %w", userID, tenantID, err)
	}
	return nil
}

// Memberships implements user.Store.
func (d *DB) Memberships(ctx context.Context, userID string) ([]user.Membership, error) {
	return collect(ctx, d, func(r interface{ Scan(...any) error }) (user.Membership, error) {
		var m user.Membership
		err := r.Scan(&m.TenantID, &m.TenantName, &m.Role, (*list)(&m.Scopes), &m.Admin)
		return m, err
	}, `SELECT t.id, t.name, r.name, r.scopes, r.admin FROM memberships m
		JOIN users u ON u.id = m.user_id AND NOT u.disabled
		JOIN tenants t ON t.id = m.tenant_id
		JOIN roles r ON r.tenant_id = m.tenant_id AND r.name = m.role
		WHERE m.user_id = $1 ORDER BY t.id`, userID)
}
