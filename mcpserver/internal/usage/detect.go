package usage

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/auditstore"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// Signals of the detector.
const (
	SignalFirstUse = "signal.first_use" // a tenant uses a tool for the first time in the retention of usage
	// a tenant uses a tool far more than in the usual hour in which it uses it
	SignalVolume = "signal.volume"
)

// Thresholds of SignalVolume.
const (
	volumeFactor = 8                   // times the mean of the hours in which the tool was used
	volumeLeast  = 50                  // least calls in this hour
	volumeHours  = 3                   // least hours with use
	history      = 14 * 24 * time.Hour // that are regarded
	mostSignals  = 200                 // of each kind at once
	mostOfOne    = mostSignals / 10    // of one tenant
	lookEvery    = time.Minute
)

// suspect is a tool that a tenant used in an hour.
type suspect struct {
	hour         int64
	tenant, name string
	calls        int64
}

// passing selects use: allowed calls of tools.
const passing = "method = 'tools/call' AND name <> '' AND name <> '" + guard.Other + "' AND name NOT LIKE '%/" +
	guard.Other + "' AND tenant_id <> '' AND tenant_id <> '" + Other + "' AND outcome <> '" + guard.OutcomeRefused + "'"

// Detect writes signals for unusual use in this hour and the last as audit records, and returns the
// new ones. It depends on the rows alone: every replica finds the same, and there is at most one
// signal for a tenant, a tool and an hour.
func Detect(ctx context.Context, b *auditstore.DB, now time.Time) (found []audit.Event, err error) {
	this := hourOf(now)
	for _, h := range []int64{this - hour, this} {
		first, err := suspects(ctx, b, h, `NOT EXISTS (SELECT 1 FROM usage_hours e WHERE e.tenant_id = u.tenant_id
			AND e.name = u.name AND e.hour < u.hour
			AND e.method = 'tools/call' AND e.outcome <> '`+guard.OutcomeRefused+`')`, 1)
		if err != nil {
			return found, err
		}
		for _, s := range first {
			if found, err = s.mark(ctx, b, now, found, SignalFirstUse,
				fmt.Sprintf("%d calls in the hour of %s", s.calls, clock(h))); err != nil {
				return found, err
			}
		}
		many, err := suspects(ctx, b, h, "TRUE", volumeLeast)
		if err != nil {
			return found, err
		}
		for _, s := range many {
			usual, enough, err := s.usual(ctx, b)
			if err != nil {
				return found, err
			}
			if !enough || float64(s.calls) <= volumeFactor*usual {
				continue
			}
			if found, err = s.mark(ctx, b, now, found, SignalVolume,
				fmt.Sprintf("%d calls in the hour of %s, %.1f are usual", s.calls, clock(h), usual)); err != nil {
				return found, err
			}
		}
	}
	return found, nil
}

func clock(h int64) string { return time.Unix(h, 0).UTC().Format("2006-01-02T15:04Z") }

// suspects returns the tools with that many calls in an hour, and no signal yet.
func suspects(ctx context.Context, b *auditstore.DB, h int64, condition string, least int64) (out []suspect,
	err error) {
	err = b.Read(ctx, func(scan func(...any) error) error {
		s := suspect{hour: h}
		err := scan(&s.tenant, &s.name, &s.calls)
		out = append(out, s)
		return err
	}, `SELECT tenant_id, name, calls FROM (SELECT tenant_id, name, CAST(SUM(calls) AS BIGINT) AS calls,
		ROW_NUMBER() OVER (PARTITION BY tenant_id ORDER BY SUM(calls) DESC, name) AS place
		FROM usage_hours u WHERE hour = $1 AND `+passing+` AND `+condition+`
		AND NOT EXISTS (SELECT 1 FROM companion_once c WHERE c.name = 'signal:' || u.hour || ':' || u.tenant_id || ':'
		|| u.name)
		GROUP BY tenant_id, name, hour HAVING SUM(calls) >= $2) found WHERE place <= $4 ORDER BY calls DESC, tenant_id,
		name LIMIT $3`, h, least, mostSignals, mostOfOne)
	if err != nil {
		return nil, fmt.Errorf("looking for what is unusual: %w", err)
	}
	return out, nil
}

// forgetSignals deletes the names of old signals.
func forgetSignals(ctx context.Context, b *auditstore.DB, now time.Time) error {
	return b.Write(ctx, func(tx *sql.Tx) error {
		oldest := fmt.Sprintf("signal:%010d", hourOf(now)-24*hour)
		_, err := tx.ExecContext(ctx,
			"DELETE FROM companion_once WHERE name LIKE 'signal:%' AND substr(name, 1, 17) < $1", oldest)
		if err != nil {
			return fmt.Errorf("forgetting signals: %w", err)
		}
		return nil
	})
}

// usual returns the mean of the hours in which the tenant used the tool, and whether there are
// enough of them.
func (s suspect) usual(ctx context.Context, b *auditstore.DB) (mean float64, enough bool, err error) {
	var calls, hours int64
	err = b.Read(ctx, func(scan func(...any) error) error { return scan(&calls, &hours) },
		`SELECT CAST(COALESCE(SUM(calls), 0) AS BIGINT), COUNT(DISTINCT hour) FROM usage_hours WHERE tenant_id = $1 `+
			`AND name = $2 AND hour >= $3 AND hour < $4 AND `+passing,
		s.tenant, s.name, s.hour-int64(history/time.Second), s.hour)
	if err != nil {
		return 0, false, fmt.Errorf("looking for what is usual: %w", err)
	}
	if hours < volumeHours {
		return 0, false, nil
	}
	return float64(calls) / float64(hours), true, nil
}

func (s suspect) mark(ctx context.Context, b *auditstore.DB, now time.Time, found []audit.Event, action,
	detail string) ([]audit.Event, error) {
	e := audit.Event{Time: now, Actor: "system", Action: action, Target: s.name, Tenant: s.tenant, Detail: detail}
	err := b.Write(ctx, func(tx *sql.Tx) error {
		written, err := b.LineOnce(ctx, tx, e, fmt.Sprintf("signal:%d:%s:%s", s.hour, s.tenant, s.name))
		if written {
			found = append(found, e)
		}
		return err
	})
	return found, err
}
