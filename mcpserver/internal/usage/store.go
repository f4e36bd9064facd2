package usage

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/auditstore"
)

// Kept is the retention of usage.
const Kept = 90 * 24 * time.Hour

const (
	sweepEvery = time.Hour
	atOnce     = 50  // rows of one statement
	inOne      = 500 // rows of one transaction
	columns    = 13
)

func compare(a, b Key) int {
	return cmp.Or(
		cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Client, b.Client),
		cmp.Compare(a.Agent, b.Agent),
		cmp.Compare(a.Method, b.Method), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Outcome, b.Outcome),
		cmp.Compare(a.Reason, b.Reason),
		cmp.Compare(a.Lacking, b.Lacking),
	)
}

// write adds sums to the rows in short transactions: the data of the tools may be in the same file.
// Written sums are removed, so that an error loses or doubles none.
func write(ctx context.Context, b *auditstore.DB, sums map[Key]Sum) error {
	for some := range slices.Chunk(sorted(sums), inOne) {
		err := b.Write(ctx, func(tx *sql.Tx) error {
			for rows := range slices.Chunk(some, atOnce) {
				if err := add(ctx, tx, rows, sums); err != nil {
					return fmt.Errorf("adding to usage: %w", err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, k := range some {
			delete(sums, k)
		}
	}
	return nil
}

func add(ctx context.Context, tx *sql.Tx, keys []Key, sums map[Key]Sum) error {
	var places strings.Builder
	var args []any
	for i, k := range keys {
		if i > 0 {
			places.WriteString(", ")
		}
		places.WriteByte('(')
		for j := range columns {
			if j > 0 {
				places.WriteString(", ")
			}
			fmt.Fprintf(&places, "$%d", i*columns+j+1)
		}
		places.WriteByte(')')
		s := sums[k]
		args = append(args, k.Hour, k.Tenant, k.Client, k.Agent, k.Method, k.Name, k.Outcome, k.Reason, k.Lacking,
			s.Calls, s.Micros, s.Slowest, s.Last)
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO usage_hours (hour, tenant_id, client_id, agent, method, name, outcome,
		reason, lacking, calls, micros, slowest, last_at)
		VALUES `+places.String()+` ON CONFLICT (hour, tenant_id, client_id, agent, method, name, outcome, reason,
		lacking) DO UPDATE SET
		calls = usage_hours.calls + excluded.calls, micros = usage_hours.micros + excluded.micros,
		slowest = CASE WHEN excluded.slowest > usage_hours.slowest THEN excluded.slowest ELSE usage_hours.slowest END,
		last_at = CASE WHEN excluded.last_at > usage_hours.last_at THEN excluded.last_at
		ELSE usage_hours.last_at END`, args...)
	return err
}

// forget deletes rows older than Kept.
func forget(ctx context.Context, b *auditstore.DB, now time.Time) error {
	return b.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM usage_hours WHERE hour < $1", now.Add(-Kept).Unix())
		return err
	})
}

// Filter selects usage.
type Filter struct {
	Tenant  string // empty: all
	Client  string // empty: all
	Nobody  bool   // only requests without a valid token
	Since   time.Time
	Outcome string // empty: all
	Limit   int
}

// Row is usage in a period. The hour of its key is zero.
type Row struct {
	Key
	Sum
}

// List returns usage since a time, the most used first.
func List(ctx context.Context, b *auditstore.DB, f Filter) (rows []Row, err error) {
	where, args := "hour >= $1", []any{hourOf(f.Since)}
	if f.Tenant != "" {
		args = append(args, f.Tenant)
		where += fmt.Sprintf(" AND tenant_id = $%d", len(args))
	}
	if f.Client != "" {
		args = append(args, f.Client)
		where += fmt.Sprintf(" AND client_id = $%d", len(args))
	}
	if f.Outcome != "" {
		args = append(args, f.Outcome)
		where += fmt.Sprintf(" AND outcome = $%d", len(args))
	}
	if f.Nobody {
		where += " AND tenant_id = ''"
	}
	args = append(args, f.Limit)
	err = b.Read(ctx, func(scan func(...any) error) error {
		var r Row
		err := scan(&r.Tenant, &r.Client, &r.Agent, &r.Method, &r.Name, &r.Outcome, &r.Reason, &r.Lacking, &r.Calls,
			&r.Micros, &r.Slowest, &r.Last)
		rows = append(rows, r)
		return err
	}, `SELECT tenant_id, client_id, agent, method, name, outcome, reason, lacking, CAST(SUM(calls) AS BIGINT) AS n,
		CAST(SUM(micros) AS BIGINT), MAX(slowest), MAX(last_at)
		FROM usage_hours WHERE `+where+` GROUP BY tenant_id, client_id, agent, method, name, outcome, reason, lacking
		ORDER BY n DESC, tenant_id, client_id, method, name, outcome, reason, lacking, agent
		LIMIT `+fmt.Sprintf("$%d", len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("reading usage: %w", err)
	}
	return rows, nil
}

// Traffic counts a tenant's allowed requests, and those of them that were allowed only because
// denials are not enforced.
type Traffic struct{ Passed, Observed int64 }

// TrafficSince returns the traffic since a time, by tenant.
func TrafficSince(ctx context.Context, b *auditstore.DB, since time.Time) (map[string]Traffic, error) {
	out := map[string]Traffic{}
	err := b.Read(ctx, func(scan func(...any) error) error {
		var tenant string
		var t Traffic
		err := scan(&tenant, &t.Passed, &t.Observed)
		out[tenant] = t
		return err
	}, `SELECT tenant_id, CAST(SUM(calls) AS BIGINT), CAST(SUM(CASE WHEN outcome = $2 THEN calls ELSE 0 END) AS BIGINT)
		FROM usage_hours
		WHERE hour >= $1 AND outcome <> $3
		GROUP BY tenant_id`, hourOf(since), guard.OutcomeObserved, guard.OutcomeRefused)
	if err != nil {
		return nil, fmt.Errorf("reading usage: %w", err)
	}
	return out, nil
}
