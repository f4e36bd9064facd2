package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/trustedissuer"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/database"
)

var _ trustedissuer.Store = (*DB)(nil)

const trustColumns = "issuer, tenant_id, jwks_uri, jwks, emails, created_at"

func scanIssuer(r interface{ Scan(...any) error }) (trustedissuer.Issuer, error) {
	var i trustedissuer.Issuer
	err := r.Scan(&i.Issuer, &i.TenantID, &i.JWKSURI, &i.JWKS, &i.Emails, (*unixTime)(&i.CreatedAt))
	return i, err
}

// PutIssuer implements trustedissuer.Store.
func (d *DB) PutIssuer(ctx context.Context, i trustedissuer.Issuer) error {
	kept, err := database.Changed(d.write.ExecContext(ctx, "INSERT INTO trusted_issuers ("+trustColumns+`) VALUES ($1,
		$2, $3,
		$4, $5, $6)
		ON CONFLICT (issuer) DO UPDATE SET jwks_uri = excluded.jwks_uri, jwks = excluded.jwks, emails = excluded.emails
		WHERE trusted_issuers.tenant_id = excluded.tenant_id`,
		i.Issuer, i.TenantID, i.JWKSURI, i.JWKS, i.Emails, unixTime(i.CreatedAt)))
	if err != nil {
		return fmt.Errorf("keeping trusted issuer %s: %w", i.Issuer, err)
	}
	if !kept {
		return trustedissuer.ErrTaken
	}
	return nil
}

// Issuer implements trustedissuer.Store.
func (d *DB) Issuer(ctx context.Context, issuer string) (trustedissuer.Issuer, error) {
	i, err := scanIssuer(d.row(ctx, "SELECT "+trustColumns+" FROM trusted_issuers WHERE issuer = $1", issuer))
	return i, database.NotFound(err, trustedissuer.ErrNotFound)
}

// Issuers implements trustedissuer.Store.
func (d *DB) Issuers(ctx context.Context, tenantID string) ([]trustedissuer.Issuer, error) {
	return collect(ctx, d, scanIssuer,
		"SELECT "+trustColumns+" FROM trusted_issuers WHERE ($1 = '' OR tenant_id = $1) ORDER BY issuer", tenantID)
}

// DeleteIssuer implements trustedissuer.Store. Its subjects are deleted with it.
func (d *DB) DeleteIssuer(ctx context.Context, issuer string) error {
	gone, err := database.Changed(d.write.ExecContext(ctx, "DELETE FROM trusted_issuers WHERE issuer = $1", issuer))
	if err != nil {
		return fmt.Errorf("forgetting trusted issuer %s: %w", issuer, err)
	}
	if !gone {
		return trustedissuer.ErrNotFound
	}
	return nil
}

// Subject implements trustedissuer.Store.
func (d *DB) Subject(ctx context.Context, issuer, subject string) (userID string, err error) {
	err = d.row(ctx, "SELECT user_id FROM identities WHERE issuer = $1 AND subject = $2", issuer, subject).Scan(&userID)
	return userID, database.NotFound(err, trustedissuer.ErrNotFound)
}

// Assert implements issuer.Store. The row count of one statement makes an assertion count once; the
// unique index decides which grant is active.
func (d *DB) Assert(ctx context.Context, a trustedissuer.Assertion, g grant.Grant, e audit.Event) (kept grant.Grant,
	err error) {
	err = d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.mayIssue(ctx, tx, g, grant.ErrSuspended); err != nil {
			return err
		}
		// locked until the end: removing the issuer meanwhile finds the grant, or is seen here
		var there int
		if err := tx.QueryRowContext(ctx, "SELECT 1 FROM trusted_issuers WHERE issuer = $1 AND tenant_id = $2"+
			d.db.ForShare(),
			a.Issuer, g.TenantID).Scan(&there); err != nil {
			return database.NotFound(err, trustedissuer.ErrNotFound)
		}
		// Locked too: disabling the person or removing them from the tenant finds the grant
		// afterwards, or is seen here.
		err := tx.QueryRowContext(ctx, `SELECT 1 FROM memberships m JOIN users u ON u.id = m.user_id AND NOT u.disabled
			WHERE m.user_id = $1 AND m.tenant_id = $2`+d.db.ForShare(), g.UserID, g.TenantID).Scan(&there)
		if err != nil {
			return database.NotFound(err, trustedissuer.ErrNotFound)
		}
		first, err := database.Changed(tx.ExecContext(ctx,
			"INSERT INTO used_assertions (hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING", a.Hash,
			unixTime(a.ExpiresAt)))
		if err != nil {
			return fmt.Errorf("using an assertion: %w", err)
		}
		if !first {
			return trustedissuer.ErrUsed
		}
		_, err = tx.ExecContext(ctx,
			"INSERT INTO identities (issuer, subject, user_id, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO "+
				"NOTHING",
			a.Issuer, a.Subject, g.UserID, unixTime(g.CreatedAt))
		if err != nil {
			return fmt.Errorf("remembering a subject: %w", err)
		}
		// of two subjects for one person the first stays, because an address can be given to
		// someone else
		var whose string
		err = tx.QueryRowContext(ctx, "SELECT user_id FROM identities WHERE issuer = $1 AND subject = $2", a.Issuer,
			a.Subject).Scan(&whose)
		if err != nil || whose != g.UserID {
			return cmp.Or(database.NotFound(err, trustedissuer.ErrNotFound), trustedissuer.ErrNotFound)
		}
		kept, err = d.assert(ctx, tx, a, g, e)
		return err
	})
	return kept, err
}

// assert returns the active grant or creates one.
func (d *DB) assert(ctx context.Context, tx *sql.Tx, a trustedissuer.Assertion, g grant.Grant,
	e audit.Event) (grant.Grant,
	error) {
	living := g
	err := tx.QueryRowContext(ctx, `UPDATE grants SET scopes = $5, asserted_at = $6
		WHERE client_id = $1 AND resource = $2 AND user_id = $3 AND tenant_id = $4 AND asserted_by = $7
		AND ended_at IS NULL RETURNING id, created_at`,
		g.ClientID, g.Resource, g.UserID, g.TenantID, stringList(g.Scopes), unixTime(g.AssertedAt),
		g.AssertedBy).Scan(&living.ID, (*unixTime)(&living.CreatedAt))
	if err == nil {
		return living, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return grant.Grant{}, fmt.Errorf("renewing an asserted grant: %w", err)
	}
	var ended unixTime
	err = tx.QueryRowContext(ctx, `SELECT MAX(ended_at) FROM grants
		WHERE client_id = $1 AND resource = $2 AND user_id = $3 AND tenant_id = $4 AND asserted_by <> ''
		AND end_reason <> $5`,
		g.ClientID, g.Resource, g.UserID, g.TenantID, grant.ReasonExpired).Scan(&ended)
	if err != nil {
		return grant.Grant{}, fmt.Errorf("reading ended grants: %w", err)
	}
	if !a.IssuedAt.After(time.Time(ended)) {
		return grant.Grant{}, trustedissuer.ErrEnded
	}
	made, err := database.Changed(tx.ExecContext(ctx, `INSERT INTO grants (id, tenant_id, client_id, user_id, resource,
		scopes,
		created_at, asserted_by, asserted_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
		g.ID, g.TenantID, g.ClientID, g.UserID, g.Resource, stringList(g.Scopes), unixTime(g.CreatedAt), g.AssertedBy,
		unixTime(g.AssertedAt)))
	if err != nil {
		return grant.Grant{}, fmt.Errorf("keeping grant %s: %w", g.ID, err)
	}
	if made {
		return g, d.audit.Insert(ctx, tx, e)
	}
	err = tx.QueryRowContext(ctx, `SELECT id, created_at FROM grants
		WHERE client_id = $1 AND resource = $2 AND user_id = $3 AND tenant_id = $4 AND asserted_by = $5
		AND ended_at IS NULL`,
		// another was faster
		g.ClientID, g.Resource, g.UserID, g.TenantID, g.AssertedBy).Scan(&living.ID, (*unixTime)(&living.CreatedAt))
	return living, database.NotFound(err, trustedissuer.ErrEnded)
}
