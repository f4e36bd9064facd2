package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/database"
)

var _ issuer.Store = (*DB)(nil)

// PutCode implements issuer.Store.
func (d *DB) PutCode(ctx context.Context, g grant.Grant, c issuer.Code, e audit.Event) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.mayIssue(ctx, tx, g, grant.ErrSuspended); err != nil {
			return err
		}
		if g.DerivedFrom != "" {
			if alive, err := d.alive(ctx, tx, g.DerivedFrom); err != nil || !alive {
				return cmp.Or(err, issuer.ErrSpent)
			}
		}
		if g.UserID != "" {
			// locked: anyone who disables or deletes the person either finds the grant afterwards,
			// or is seen here
			var there int
			if err := tx.QueryRowContext(ctx, "SELECT 1 FROM users WHERE id = $1 AND NOT disabled"+d.db.ForShare(),
				g.UserID).Scan(&there); err != nil {
				return database.NotFound(err, user.ErrNotFound)
			}
		}
		if err := insertGrant(ctx, tx, g); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx,
			"INSERT INTO codes (hash, grant_id, client_id, redirect_uri, challenge, nonce, jkt, created_at, "+
				"expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
			c.Hash, c.GrantID, c.ClientID, c.RedirectURI, c.Challenge, c.Nonce, c.JKT, unixTime(c.CreatedAt),
			unixTime(c.ExpiresAt))
		if err != nil {
			return fmt.Errorf("keeping a code: %w", err)
		}
		return d.audit.Insert(ctx, tx, e)
	})
}

// Code implements issuer.Store.
func (d *DB) Code(ctx context.Context, hash string) (issuer.Code, grant.Grant, error) {
	var c issuer.Code
	var g grant.Grant
	var userID sql.NullString
	into := append([]any{&c.Hash, &c.GrantID, &c.ClientID, &c.RedirectURI, &c.Challenge, &c.Nonce, &c.JKT,
		(*unixTime)(&c.CreatedAt), (*unixTime)(&c.ExpiresAt), (*unixTime)(&c.UsedAt)},
		grantRow(&g, &userID)...)
	err := d.row(ctx, "SELECT c.hash, c.grant_id, c.client_id, c.redirect_uri, c.challenge, c.nonce, c.jkt, "+
		"c.created_at, c.expires_at, c.used_at, "+grantColumns+
		" FROM codes c JOIN grants g ON g.id = c.grant_id WHERE c.hash = $1", hash).Scan(into...)
	g.UserID = userID.String
	return c, g, database.NotFound(err, issuer.ErrNotFound)
}

// Redeem implements issuer.Store.
func (d *DB) Redeem(ctx context.Context, codeHash string, at time.Time, first *issuer.RefreshToken,
	e audit.Event) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.consume(ctx, tx, "codes", codeHash, at); err != nil {
			return err
		}
		if first == nil {
			return d.audit.Insert(ctx, tx, e)
		}
		return d.audit.InsertWith(ctx, tx, e, insertRefreshToken, refreshTokenRow(first)...)
	})
}

// RefreshToken implements issuer.Store.
func (d *DB) RefreshToken(ctx context.Context, hash string) (issuer.RefreshToken, grant.Grant, error) {
	var t issuer.RefreshToken
	var g grant.Grant
	var userID sql.NullString
	into := append([]any{&t.Hash, &t.GrantID, &t.ClientID, &t.JKT, (*unixTime)(&t.CreatedAt), (*unixTime)(&t.ExpiresAt),
		(*unixTime)(&t.ChainEnds), (*unixTime)(&t.UsedAt)},
		grantRow(&g, &userID)...)
	err := d.row(ctx, "SELECT r.hash, r.grant_id, r.client_id, r.jkt, r.created_at, r.expires_at, r.chain_ends, "+
		"r.used_at, "+grantColumns+
		" FROM refresh_tokens r JOIN grants g ON g.id = r.grant_id WHERE r.hash = $1", hash).Scan(into...)
	g.UserID = userID.String
	return t, g, database.NotFound(err, issuer.ErrNotFound)
}

// Rotate implements issuer.Store.
func (d *DB) Rotate(ctx context.Context, hash string, at time.Time, next issuer.RefreshToken, e audit.Event) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.consume(ctx, tx, "refresh_tokens", hash, at); err != nil {
			return err
		}
		return d.audit.InsertWith(ctx, tx, e, insertRefreshToken, refreshTokenRow(&next)...)
	})
}

// consume marks a code or refresh token used, in one guarded statement whose row count decides.
func (d *DB) consume(ctx context.Context, tx *sql.Tx, table, hash string, at time.Time) error {
	// On SQLite the transaction has the only write lock, so that one statement checks both. On
	// PostgreSQL the lock of issue comes first, at no extra statement; what it protects is read
	// after it.
	alive, verdict := false, "EXISTS (SELECT 1 FROM grants g WHERE g.id = "+table+".grant_id AND "+living+")"
	if d.db.Postgres {
		verdict = "pg_advisory_xact_lock_shared(" + strconv.Itoa(issuing) + ") IS NOT NULL"
	}
	grantID := ""
	row := tx.QueryRowContext(ctx, "UPDATE "+table+" SET used_at = $2 WHERE hash = $1 AND used_at IS NULL RETURNING "+
		"grant_id, "+verdict, hash, unixTime(at))
	if err := row.Scan(&grantID, &alive); err != nil {
		return database.NotFound(err, issuer.ErrSpent)
	}
	if d.db.Postgres {
		var err error
		if alive, err = d.alive(ctx, tx, grantID); err != nil {
			return fmt.Errorf("asking whether grant %s is alive: %w", grantID, err)
		}
	}
	if !alive {
		return issuer.ErrSpent
	}
	return nil
}

const insertRefreshToken = "INSERT INTO refresh_tokens (hash, grant_id, client_id, jkt, created_at, expires_at, " +
	"chain_ends) VALUES ($1, $2, $3, $4, $5, $6, $7)"

func refreshTokenRow(t *issuer.RefreshToken) []any {
	return []any{t.Hash, t.GrantID, t.ClientID, t.JKT, unixTime(t.CreatedAt), unixTime(t.ExpiresAt),
		unixTime(t.ChainEnds)}
}
