package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
)

// RotateWithoutLine is Rotate without its audit line, to be measured beside it.
func (d *DB) RotateWithoutLine(ctx context.Context, hash string, at time.Time, next issuer.RefreshToken) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.spend(ctx, tx, "refresh_tokens", hash, at); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, insertRefreshToken, refreshTokenRow(&next)...)
		return err
	})
}
