package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/database"
)

var _ user.Store = (*DB)(nil)

const userColumns = "id, email, name, password_hash, operator, disabled, sessions_ended, created_at, email_verified"

// CreateUser implements user.Store.
func (d *DB) CreateUser(ctx context.Context, u user.User) error {
	_, err := d.write.ExecContext(ctx, "INSERT INTO users ("+userColumns+
		", audit_key) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		u.ID, u.Email, u.Name, u.PasswordHash, u.Operator, u.Disabled, u.SessionsEnded, unixTime(u.CreatedAt),
		u.EmailVerified, append([]byte{}, u.AuditKey...))
	if database.IsUniqueViolation(err) {
		return user.ErrExists
	}
	if err != nil {
		return fmt.Errorf("keeping user %s: %w", u.ID, err)
	}
	return nil
}

// User implements user.Store.
func (d *DB) User(ctx context.Context, id string) (user.User, error) {
	u, err := scanUser(d.row(ctx, "SELECT "+userColumns+" FROM users WHERE id = $1 AND deleted_at IS NULL", id))
	return u, database.NotFound(err, user.ErrNotFound)
}

// UserByEmail implements user.Store.
func (d *DB) UserByEmail(ctx context.Context, email string) (user.User, error) {
	u, err := scanUser(d.row(ctx, "SELECT "+userColumns+" FROM users WHERE (email = $1 OR email = $2) AND deleted_at "+
		"IS NULL ORDER BY email = $1 DESC LIMIT 1", email, user.OlderForm(email)))
	return u, database.NotFound(err, user.ErrNotFound)
}

func scanUser(r interface{ Scan(...any) error }) (user.User, error) {
	var u user.User
	err := r.Scan(&u.ID, &u.Email, &u.Name, &u.PasswordHash, &u.Operator, &u.Disabled, &u.SessionsEnded,
		(*unixTime)(&u.CreatedAt), &u.EmailVerified)
	return u, err
}

// Users implements user.Store.
func (d *DB) Users(ctx context.Context, tenantID string, limit int) ([]user.User, error) {
	return collect(ctx, d, scanUser, "SELECT "+userColumns+` FROM users
		WHERE deleted_at IS NULL AND ($1 = '' OR id IN (SELECT user_id FROM memberships WHERE tenant_id = $1))
		ORDER BY email LIMIT $2`, tenantID, limit)
}

// Forced implements user.Store.
func (d *DB) Forced() user.Store { return forced{d} }

// forced is a database whose user.Store never returns *user.Lockout.
type forced struct{ *DB }

func (f forced) Forced() user.Store { return f }

func (f forced) SetDisabled(ctx context.Context, id string, disabled bool) error {
	return f.tx(ctx, func(tx *sql.Tx) error { return setDisabled(ctx, tx, id, disabled) })
}

func (f forced) DeleteUser(ctx context.Context, id string, at time.Time) error {
	return f.tx(ctx, func(tx *sql.Tx) error {
		if err := f.alone(ctx, tx); err != nil { // no role is given to them meanwhile
			return err
		}
		return f.deleteUser(ctx, tx, id, at)
	})
}

func (f forced) PutRole(ctx context.Context, r user.Role) error {
	return f.PutRoles(ctx, r.TenantID, []user.Role{r})
}

func (f forced) PutRoles(ctx context.Context, tenantID string, roles []user.Role) error {
	return f.tx(ctx, func(tx *sql.Tx) error {
		if err := f.alone(ctx, tx); err != nil {
			return err
		}
		return f.putRoles(ctx, tx, tenantID, roles)
	})
}

func (f forced) PutMember(ctx context.Context, tenantID, userID, role string) error {
	return f.tx(ctx, func(tx *sql.Tx) error { return putMember(ctx, tx, tenantID, userID, role) })
}

func (f forced) RemoveMember(ctx context.Context, tenantID, userID string) error {
	return f.tx(ctx, func(tx *sql.Tx) error { return removeMember(ctx, tx, tenantID, userID) })
}

// SetDisabled implements user.Store.
func (d *DB) SetDisabled(ctx context.Context, id string, disabled bool) error {
	return d.govern(ctx, "", id, func(tx *sql.Tx) error { return setDisabled(ctx, tx, id, disabled) })
}

func setDisabled(ctx context.Context, x execer, id string, disabled bool) error {
	there, err := database.Changed(x.ExecContext(ctx,
		"UPDATE users SET disabled = $2, sessions_ended = sessions_ended + 1 WHERE id = $1 AND deleted_at IS NULL", id,
		disabled))
	return found(there, err, user.ErrNotFound, "disabling user "+id)
}

// DeleteUser implements user.Store.
func (d *DB) DeleteUser(ctx context.Context, id string, at time.Time) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		// The administrators that would be missing are counted while the memberships still exist.
		if err := d.inside(tx).SetDisabled(ctx, id, true); err != nil {
			return err
		}
		return d.deleteUser(ctx, tx, id, at)
	})
}

// deleteUser clears a person's row except for its id, and deletes the rows about them. Their grants
// keep the id as long as a token of them may be valid: see deletedUsers.
func (d *DB) deleteUser(ctx context.Context, tx *sql.Tx, id string, at time.Time) error {
	there, err := database.Changed(tx.ExecContext(ctx, `UPDATE users SET email = 'deleted ' || id, name = '',
		password_hash = '', audit_key = $3, operator = FALSE, disabled = TRUE,
		sessions_ended = sessions_ended + 1, created_at = $2, deleted_at = $2 WHERE id = $1
		AND deleted_at IS NULL`, id, unixTime(at), []byte{}))
	if err := found(there, err, user.ErrNotFound, "deleting user "+id); err != nil {
		return err
	}
	if err := d.oneWriter(ctx, tx); err != nil { // of attempts
		return err
	}
	for _, table := range []string{"memberships", "identities", "connections"} {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE user_id = $1", id); err != nil {
			return fmt.Errorf("deleting the %s of user %s: %w", table, id, err)
		}
	}
	return nil
}

// AuditKey implements user.Store.
func (d *DB) AuditKey(ctx context.Context, id string) (wrapped []byte, err error) {
	err = d.row(ctx, "SELECT audit_key FROM users WHERE id = $1 AND deleted_at IS NULL", id).Scan(&wrapped)
	return wrapped, database.NotFound(err, user.ErrNotFound)
}

// PutAuditKey implements user.Store.
func (d *DB) PutAuditKey(ctx context.Context, id string, wrapped []byte) error {
	_, err := d.write.ExecContext(ctx,
		"UPDATE users SET audit_key = $2 WHERE id = $1 AND length(audit_key) = 0 AND deleted_at IS NULL", id, wrapped)
	if err != nil {
		return fmt.Errorf("keeping the audit key of user %s: %w", id, err)
	}
	return nil
}

// SetPassword implements user.Store.
func (d *DB) SetPassword(ctx context.Context, id, hash string) error {
	there, err := database.Changed(d.write.ExecContext(ctx,
		"UPDATE users SET password_hash = $2, sessions_ended = sessions_ended + 1 WHERE id = $1 AND deleted_at IS NULL",
		id, hash))
	return found(there, err, user.ErrNotFound, "keeping the password of user "+id)
}

// Members implements user.Store.
func (d *DB) Members(ctx context.Context, tenantID string, limit int) ([]user.Member, error) {
	return collect(ctx, d, func(r interface{ Scan(...any) error }) (user.Member, error) {
		var m user.Member
		err := r.Scan(&m.UserID, &m.Email, &m.Name, &m.Role, &m.Admin, &m.Disabled)
		return m, err
	}, `SELECT u.id, u.email, u.name, r.name, r.admin, u.disabled FROM memberships m
		JOIN users u ON u.id = m.user_id
		JOIN roles r ON r.tenant_id = m.tenant_id AND r.name = m.role
		WHERE m.tenant_id = $1 ORDER BY u.email LIMIT $2`, tenantID, limit)
}

// HeldRoles implements user.Store.
func (d *DB) HeldRoles(ctx context.Context, tenantID string) ([]string, error) {
	return collect(ctx, d, func(r interface{ Scan(...any) error }) (name string, err error) {
		err = r.Scan(&name)
		return name, err
	}, `SELECT r.name FROM roles r WHERE r.tenant_id = $1 AND EXISTS (SELECT 1 FROM memberships m
		JOIN users u ON u.id = m.user_id AND NOT u.disabled WHERE m.tenant_id = r.tenant_id AND m.role = r.name)
		ORDER BY r.name`, tenantID)
}

// PutMember implements user.Store.
func (d *DB) PutMember(ctx context.Context, tenantID, userID, role string) error {
	return d.govern(ctx, tenantID, userID, func(tx *sql.Tx) error { return putMember(ctx, tx, tenantID, userID, role) })
}

func putMember(ctx context.Context, x execer, tenantID, userID, role string) error {
	there, err := database.Changed(x.ExecContext(ctx, `INSERT INTO memberships (user_id, tenant_id, role) SELECT id,
		$2, $3
		FROM users WHERE id = $1 AND deleted_at IS NULL
		ON CONFLICT (user_id, tenant_id) DO UPDATE SET role = excluded.role`, userID, tenantID, role))
	if database.IsForeignKeyViolation(err) {
		return user.ErrNotFound
	}
	return found(there, err, user.ErrNotFound, "making "+userID+" a member of "+tenantID)
}

// RemoveMember implements user.Store.
func (d *DB) RemoveMember(ctx context.Context, tenantID, userID string) error {
	return d.govern(ctx, tenantID, userID, func(tx *sql.Tx) error { return removeMember(ctx, tx, tenantID, userID) })
}

func removeMember(ctx context.Context, x execer, tenantID, userID string) error {
	there, err := database.Changed(x.ExecContext(ctx, "DELETE FROM memberships WHERE tenant_id = $1 AND user_id = $2",
		tenantID,
		userID))
	return found(there, err, user.ErrNotFound, "taking "+userID+" out of "+tenantID)
}

// Memberships implements user.Store.
func (d *DB) Memberships(ctx context.Context, userID string) ([]user.Membership, error) {
	rows, err := d.rows(ctx, `SELECT t.id, t.name, r.name, r.scopes, r.admin FROM memberships m
		JOIN users u ON u.id = m.user_id AND NOT u.disabled
		JOIN tenants t ON t.id = m.tenant_id AND t.suspended_at IS NULL
		JOIN roles r ON r.tenant_id = m.tenant_id AND r.name = m.role
		WHERE m.user_id = $1 ORDER BY t.id`, userID)
	return all(rows, err, func(r interface{ Scan(...any) error }) (user.Membership, error) {
		var m user.Membership
		err := r.Scan(&m.TenantID, &m.TenantName, &m.Role, (*stringList)(&m.Scopes), &m.Admin)
		return m, err
	})
}
