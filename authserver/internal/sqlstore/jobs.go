package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/job"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// ofThemselves is the condition of clients that registered dynamically.
const ofThemselves = "c.origin IN ('" + client.OriginRegistration + "', '" + client.OriginDocument + "')"

// sweeps are the deletions of expired rows, by the name of the job. Refresh tokens come before
// codes, and codes before grants, because the former keep the latter.
func sweeps(k job.Keeping) map[string]sweep {
	return map[string]sweep{
		// Used ones stay as long as their chain: reuse shows that one was stolen.
		"refresh-tokens": {table: "refresh_tokens", key: "hash", along: "c.chain_ends"},
		// A used code stays while its grant has a refresh token, so that its reuse is noticed as
		// long.
		"codes": {
			table: "codes", key: "hash", along: "c.expires_at", keep: time.Hour,
			due: "NOT EXISTS (SELECT 1 FROM refresh_tokens r WHERE r.grant_id = c.grant_id)",
		},
		"initial-tokens": {table: "initial_tokens", key: "hash", along: "c.expires_at"},
		"assertions":     {table: "used_assertions", key: "hash", along: "c.expires_at", keep: time.Minute},
		// A person's grant expires when it has no usable code or refresh token and is too old for
		// an access token, unless an assertion renewed it.
		"grants": {
			table: "grants", key: "id", along: "COALESCE(c.asserted_at, c.created_at)",
			of: "c.user_id IS NOT NULL AND c.ended_at IS NULL", keep: 24 * time.Hour,
			due: `NOT EXISTS (SELECT 1 FROM codes o WHERE o.grant_id = c.id AND o.used_at IS NULL AND o.expires_at > $1)
				AND NOT EXISTS (SELECT 1 FROM refresh_tokens r WHERE r.grant_id = c.id AND r.used_at IS NULL
				AND r.expires_at > {past})`,
			set: "ended_at = $1, end_reason = '" + grant.ReasonExpired + "'",
		},
		// The comparison is of the row's own columns, which are checked again after a wait: a
		// shared client may have been registered again.
		"unused-clients": {
			table: "clients", key: "id", along: "c.created_at", keep: time.Hour,
			due: ofThemselves + " AND c.disabled_at IS NULL AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.client_id " +
				"= c.id)",
		},
		"idle-clients": {
			table: "clients", key: "id", along: "c.created_at", keep: k.Clients,
			due: ofThemselves + ` AND c.deleted_at IS NULL AND c.disabled_at IS NULL
				AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.client_id = c.id AND (g.ended_at IS NULL
				OR g.ended_at > {past}))`,
			set: "deleted_at = $1, secret_hash = '', old_secret_hash = '', manage_hash = ''",
		},
		"connections": {table: "connections", key: "id", along: "c.updated_at", keep: attempt.Kept},
	}
}

// Jobs returns the background jobs.
func (d *DB) Jobs(k job.Keeping) []job.Job {
	s := sweeps(k)
	sweep := func(name, about string, every time.Duration) job.Job {
		return job.Job{Name: name, About: about, Every: every, Batch: d.batch(s[name])}
	}
	const often, seldom = 10 * time.Minute, time.Hour
	jobs := []job.Job{
		sweep("refresh-tokens", "refresh tokens whose chain has expired", often),
		sweep("codes", "codes, an hour after their end, when no refresh token of their grant is left", often),
		sweep("initial-tokens", "expired initial access tokens", often),
		sweep("assertions", "expired marks of used assertions", often),
		sweep("grants", "grants of which nothing can be used any more: they end", often),
		sweep("unused-clients", "clients that were not authorized within an hour", often),
		sweep("idle-clients", "clients that were not used for --client-idle-timeout", seldom),
		sweep("connections", "attempts older than thirty days", often),
		{Name: "surplus-connections", About: "attempts beyond 1,000 of one client and 50,000 in all", Every: often,
			Batch: d.surplus},
		{Name: "deleted-users", About: "ids of people who were deleted a day ago, and their grants", Every: often,
			Batch: d.deletedUsers},
		{Name: "keys", About: "keys, thirty days after their last token", Every: seldom, Batch: d.forgetKeys(k.Keys)},
	}
	if k.Audit >= 0 {
		jobs = append(jobs, job.Job{Name: "audit", About: "records older than --audit-retention", Every: often,
			Batch: d.prune(k.Audit)})
	}
	return jobs
}

// prune deletes expired audit records; the others stay verifiable.
func (d *DB) prune(keep time.Duration) func(context.Context, time.Time, string) (job.Done, error) {
	return func(ctx context.Context, now time.Time, _ string) (done job.Done, err error) {
		n, more, err := d.audit.PruneSome(ctx, now.Add(-keep))
		done.Rows = n
		if more {
			done.Next = "more"
		}
		return done, err
	}
}

// forgetKeys deletes signing keys, with an audit record each, that were replaced long ago.
// Withdrawn ones stay, as a name only.
func (d *DB) forgetKeys(keep time.Duration) func(context.Context, time.Time, string) (job.Done, error) {
	return func(ctx context.Context, now time.Time, _ string) (done job.Done, err error) {
		err = d.tx(ctx, func(tx *sql.Tx) error {
			gone, err := rows(ctx, tx, `DELETE FROM signing_keys WHERE withdrawn_at IS NULL AND EXISTS (SELECT 1
				FROM signing_keys later WHERE later.algorithm = signing_keys.algorithm
				AND later.generation > signing_keys.generation AND later.withdrawn_at IS NULL AND later.active_at < $1)
				RETURNING kid, algorithm`, now.Add(-keep).Unix())
			if err != nil {
				return fmt.Errorf("deleting signing keys: %w", err)
			}
			for _, key := range gone {
				e := audit.Event{Time: now.UTC().Truncate(time.Second), Actor: keyring.System, Action: "key.delete",
					Target: key[0], Detail: key[1]}
				if err := d.audit.Insert(ctx, tx, e); err != nil {
					return err
				}
			}
			done.Rows = int64(len(gone))
			return nil
		})
		return done, err
	}
}

// deletedUsers deletes the grants of deleted people when no access token of them can be valid any
// more, and then the ids of the people.
func (d *DB) deletedUsers(ctx context.Context, now time.Time, _ string) (done job.Done, err error) {
	err = d.tx(ctx, func(tx *sql.Tx) error {
		var id string
		past := now.Add(-deletedKept).Unix()
		err := tx.QueryRowContext(ctx, `SELECT u.id FROM users u WHERE u.deleted_at < $1
			AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.user_id = u.id AND (g.ended_at IS NULL OR g.ended_at >= $1))
			ORDER BY u.deleted_at, u.id LIMIT 1`, past).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("looking for people who were deleted: %w", err)
		}
		done.Next = "more"
		gone, err := rows(ctx, tx, "SELECT id, user_id FROM grants WHERE user_id = $1 ORDER BY id LIMIT "+
			strconv.Itoa(job.Most), id)
		if err != nil {
			return fmt.Errorf("looking for the grants of somebody who was deleted: %w", err)
		}
		statements, args := []string{"DELETE FROM users WHERE id IN ("}, []any{id}
		if len(gone) > 0 {
			statements, args = []string{"DELETE FROM codes WHERE grant_id IN (",
				"DELETE FROM refresh_tokens WHERE grant_id IN (", "DELETE FROM grants WHERE id IN ("}, nil
			for _, g := range gone {
				args = append(args, g[0])
			}
		}
		for _, statement := range statements {
			r, err := tx.ExecContext(ctx, statement+places(1, len(args))+")", args...)
			if err != nil {
				return fmt.Errorf("deleting what is left of somebody who was deleted: %w", err)
			}
			n, err := r.RowsAffected()
			if err != nil {
				return err
			}
			done.Rows += n
		}
		return nil
	})
	return done, err
}

// deletedKept is how long grants of deleted people stay, so that a lost list of revoked grants can
// be restored: longer than any access token is valid.
const deletedKept = 24 * time.Hour

// rows returns the results of a statement of two columns.
func rows(ctx context.Context, tx *sql.Tx, query string, args ...any) (all [][2]string, err error) {
	found, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var r [2]string
		if err := found.Scan(&r[0], &r[1]); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, found.Err()
}

// surplus deletes the oldest attempts beyond the bound of one client, and then beyond that of all.
func (d *DB) surplus(ctx context.Context, _ time.Time, _ string) (done job.Done, err error) {
	for _, beyond := range []struct {
		query string
		bound int64
	}{
		{`SELECT id FROM (SELECT id, ROW_NUMBER() OVER (
			PARTITION BY CASE WHEN stranger THEN '' ELSE client_id END ORDER BY updated_at DESC, id) AS nth
			FROM connections) ranked WHERE nth > $1 LIMIT $2`, attempt.MostOfOne},
		{"SELECT id FROM (SELECT id FROM connections ORDER BY updated_at DESC, id LIMIT 1000000 OFFSET $1) beyond " +
			"LIMIT $2", attempt.Most},
	} {
		ids, err := collect(ctx, d, func(r interface{ Scan(...any) error }) (id any, err error) {
			var s string
			err = r.Scan(&s)
			return s, err
		}, beyond.query, beyond.bound, job.Most)
		if err != nil {
			return done, fmt.Errorf("looking for surplus connections: %w", err)
		}
		if len(ids) == 0 {
			continue
		}
		err = d.tx(ctx, func(tx *sql.Tx) error {
			if err := d.oneWriter(ctx, tx); err != nil {
				return err
			}
			r, err := tx.ExecContext(ctx, "DELETE FROM connections WHERE id IN ("+places(1, len(ids))+")", ids...)
			if err != nil {
				return fmt.Errorf("deleting surplus connections: %w", err)
			}
			done.Rows, err = r.RowsAffected()
			return err
		})
		done.Next = "more"
		return done, err
	}
	return done, nil
}
