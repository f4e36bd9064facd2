package sqlstore

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/job"
	"github.com/gatehouse-mcp/gatehouse/shared/database"
)

var _ job.Store = (*DB)(nil)

// TakeJob implements job.Store.
func (d *DB) TakeJob(ctx context.Context, s job.State, due time.Time) (run int64, after string, err error) {
	err = d.write.QueryRowContext(ctx, `INSERT INTO jobs (name, run, holder, until, next_at, began_at, took_ms,
		removed, outcome, error, after) VALUES ($1, 1, $2, $3, 0, $4, 0, 0, $5, '', '')
		ON CONFLICT (name) DO UPDATE SET run = jobs.run + 1, holder = excluded.holder, until = excluded.until,
		next_at = 0, began_at = excluded.began_at, took_ms = 0, removed = 0,
		outcome = excluded.outcome, error = '' WHERE (jobs.until <= excluded.began_at OR jobs.until > $7)
		AND (jobs.next_at <= $6 OR jobs.next_at > $8) RETURNING run, after`,
		s.Name, s.Holder, seconds(s.Until), seconds(s.BeganAt), s.Outcome, seconds(due), seconds(s.Until.Add(job.Skew)),
		seconds(s.NextAt.Add(job.Skew))).Scan(&run, &after)
	if err = database.NotFound(err, job.ErrHeld); err != nil {
		return 0, "", fmt.Errorf("taking the job %s: %w", s.Name, err)
	}
	return run, after, nil
}

// KeepJob implements job.Store.
func (d *DB) KeepJob(ctx context.Context, s job.State) (bool, error) {
	ours, err := database.Changed(d.write.ExecContext(ctx,
		"UPDATE jobs SET until = $3, next_at = $4, took_ms = $5, removed = $6, outcome = $7, error = $8, after = $9 "+
			"WHERE name = $1 AND run = $2",
		s.Name, s.Run, seconds(s.Until), seconds(s.NextAt), s.Took.Milliseconds(), s.Removed, s.Outcome, s.Error,
		s.After))
	if err != nil {
		return false, fmt.Errorf("keeping the job %s: %w", s.Name, err)
	}
	return ours, nil
}

// JobStates implements job.Store.
func (d *DB) JobStates(ctx context.Context) ([]job.State, error) {
	return collect(ctx, d, func(r interface{ Scan(...any) error }) (job.State, error) {
		var s job.State
		var until, next, took int64
		err := r.Scan(&s.Name, &s.Run, &s.Holder, &until, &next, (*unixTime)(&s.BeganAt), &took, &s.Removed, &s.Outcome,
			&s.Error, &s.After)
		s.Until, s.NextAt, s.Took = since(until), since(next), time.Duration(took)*time.Millisecond
		return s, err
	}, "SELECT name, run, holder, until, next_at, began_at, took_ms, removed, outcome, error, after FROM jobs ORDER "+
		"BY name")
}

// since is the inverse of seconds.
func since(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}
