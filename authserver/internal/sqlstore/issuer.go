package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

var _ issuer.Store = (*DB)(nil)

// PutCode implements issuer.Store.
func (d *DB) PutCode(ctx context.Context, g grant.Grant, c issuer.Code, e audit.Event) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if g.DerivedFrom != "" {
			if alive, err := d.alive(ctx, tx, g.DerivedFrom); err != nil || !alive {
				return cmp.Or(err, issuer.ErrSpent)
			}
		}
		if err := insertGrant(ctx, tx, g); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO codes (hash, grant_id, client_id, redirect_uri, challenge, nonce, jkt, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
			c.Hash, c.GrantID, c.ClientID, c.RedirectURI, c.Challenge, c.Nonce, c.JKT, moment(c.CreatedAt), moment(c.ExpiresAt))
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
	into := append([]any{&c.Hash, &c.GrantID, &c.ClientID, &c.RedirectURI, &c.Challenge, &c.Nonce, &c.JKT, (*moment)(&c.CreatedAt), (*moment)(&c.ExpiresAt), (*moment)(&c.UsedAt)},
		grantRow(&g, &userID)...)
	err := d.row(ctx, "SELECT c.hash, c.grant_id, c.client_id, c.redirect_uri, c.challenge, c.nonce, c.jkt, c.created_at, c.expires_at, c.used_at, "+grantColumns+
		" FROM codes c JOIN grants g ON g.id = c.grant_id WHERE c.hash = $1", hash).Scan(into...)
	g.UserID = userID.String
	return c, g, none(err, issuer.ErrNotFound)
}

// Redeem implements issuer.Store.
func (d *DB) Redeem(ctx context.Context, codeHash string, at time.Time, first *issuer.RefreshToken, e audit.Event) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.spend(ctx, tx, "codes", codeHash, at); err != nil {
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
	into := append([]any{&t.Hash, &t.GrantID, &t.ClientID, &t.JKT, (*moment)(&t.CreatedAt), (*moment)(&t.ExpiresAt), (*moment)(&t.ChainEnds), (*moment)(&t.UsedAt)},
		grantRow(&g, &userID)...)
	err := d.row(ctx, "SELECT r.hash, r.grant_id, r.client_id, r.jkt, r.created_at, r.expires_at, r.chain_ends, r.used_at, "+grantColumns+
		" FROM refresh_tokens r JOIN grants g ON g.id = r.grant_id WHERE r.hash = $1", hash).Scan(into...)
	g.UserID = userID.String
	return t, g, none(err, issuer.ErrNotFound)
}

// Rotate implements issuer.Store.
func (d *DB) Rotate(ctx context.Context, hash string, at time.Time, next issuer.RefreshToken, e audit.Event) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.spend(ctx, tx, "refresh_tokens", hash, at); err != nil {
			return err
		}
		return d.audit.InsertWith(ctx, tx, e, insertRefreshToken, refreshTokenRow(&next)...)
	})
}

// spend marks a code or refresh token used, in one guarded statement whose row count is the verdict.
func (d *DB) spend(ctx context.Context, tx *sql.Tx, table, hash string, at time.Time) error {
	grantID := ""
	row := tx.QueryRowContext(ctx, "UPDATE "+table+" SET used_at = $2 WHERE hash = $1 AND used_at IS NULL RETURNING grant_id", hash, moment(at))
	if err := row.Scan(&grantID); err != nil {
		return none(err, issuer.ErrSpent)
	}
	alive, err := d.alive(ctx, tx, grantID)
	if err != nil {
		return fmt.Errorf("asking whether grant %s is alive: %w", grantID, err)
	}
	if !alive {
		return issuer.ErrSpent
	}
	return nil
}

const insertRefreshToken = "INSERT INTO refresh_tokens (hash, grant_id, client_id, jkt, created_at, expires_at, chain_ends) VALUES ($1, $2, $3, $4, $5, $6, $7)"

func refreshTokenRow(t *issuer.RefreshToken) []any {
	return []any{t.Hash, t.GrantID, t.ClientID, t.JKT, moment(t.CreatedAt), moment(t.ExpiresAt), moment(t.ChainEnds)}
}

// deleteBatch bounds how many rows one statement touches, so that no request waits long for the lock.
const deleteBatch = 1000

// DeleteExpired implements issuer.Store. $1 is now, in whole seconds: a day is 86400.
// A used code stays while a refresh token of its grant does, so that its reuse is noticed for as long.
func (d *DB) DeleteExpired(ctx context.Context, t time.Time, idle time.Duration) (int64, error) {
	total, seconds := int64(0), strconv.FormatInt(int64(idle/time.Second), 10)
	for _, query := range []string{
		"DELETE FROM refresh_tokens WHERE hash IN (SELECT hash FROM refresh_tokens WHERE chain_ends < $1 LIMIT $2)",
		`DELETE FROM codes WHERE hash IN (SELECT c.hash FROM codes c WHERE c.expires_at < $1 - 3600
			AND NOT EXISTS (SELECT 1 FROM refresh_tokens r WHERE r.grant_id = c.grant_id) LIMIT $2)`,
		"DELETE FROM initial_tokens WHERE hash IN (SELECT hash FROM initial_tokens WHERE expires_at < $1 LIMIT $2)",
		"DELETE FROM used_assertions WHERE hash IN (SELECT hash FROM used_assertions WHERE expires_at < $1 - 60 LIMIT $2)",
		// A grant of a person's without a code or refresh token that could still bring something, and too old for an access token, is over.
		// What is asked within is asked once more of the row itself: an assertion may have renewed it while this waited for it.
		`UPDATE grants SET ended_at = $1, end_reason = '` + grant.ReasonExpired + `' WHERE ended_at IS NULL AND COALESCE(asserted_at, created_at) < $1 - 86400 AND id IN (SELECT g.id FROM grants g
			WHERE g.user_id IS NOT NULL AND g.ended_at IS NULL AND COALESCE(g.asserted_at, g.created_at) < $1 - 86400
			AND NOT EXISTS (SELECT 1 FROM codes c WHERE c.grant_id = g.id AND c.used_at IS NULL AND c.expires_at > $1)
			AND NOT EXISTS (SELECT 1 FROM refresh_tokens r WHERE r.grant_id = g.id AND r.used_at IS NULL AND r.expires_at > $1 - 86400) LIMIT $2)`,
		// A client that made itself known and that nobody let in is forgotten after an hour; one that nobody has used for long becomes unknown.
		"DELETE FROM clients WHERE (id, created_at) IN (" + neverLetIn + " AND c.created_at < $1 - 3600 LIMIT $2)",
		`UPDATE clients SET deleted_at = $1, secret_hash = '', old_secret_hash = '', manage_hash = '' WHERE id IN (SELECT c.id FROM clients c
			WHERE c.origin IN ('` + client.OriginRegistration + `', '` + client.OriginDocument + `') AND c.deleted_at IS NULL AND c.created_at < $1 - ` + seconds + `
			AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.client_id = c.id AND (g.ended_at IS NULL OR g.ended_at > $1 - ` + seconds + `)) LIMIT $2)`,
	} {
		for {
			r, err := d.write.ExecContext(ctx, query, t.Unix(), deleteBatch)
			if err != nil {
				return total, fmt.Errorf("deleting what has expired: %w", err)
			}
			n, err := r.RowsAffected()
			if err != nil {
				return total, err
			}
			total += n
			if n < deleteBatch {
				break
			}
		}
	}
	return total, nil
}
