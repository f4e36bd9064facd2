package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/job"
)

// RotateWithoutLine is Rotate without its audit line, to be measured beside it.
func (d *DB) RotateWithoutLine(ctx context.Context, hash string, at time.Time, next issuer.RefreshToken) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.consume(ctx, tx, "refresh_tokens", hash, at); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, insertRefreshToken, refreshTokenRow(&next)...)
		return err
	})
}

// SweepStatements are those that look for what is over, with five parameters, and those that take
// as many rows away, with two more, by the name of the job.
func SweepStatements(rows int, sqlite bool) map[string][2]string {
	all := map[string][2]string{}
	for name, w := range sweeps(job.Keeping{Clients: time.Hour}) {
		all[name] = [2]string{w.look(), w.act(rows, sqlite)}
	}
	return all
}
