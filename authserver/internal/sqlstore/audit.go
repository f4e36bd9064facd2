package sqlstore

import (
	"context"
	"fmt"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

var _ audit.Log = (*DB)(nil)

func insertEvent(ctx context.Context, x execer, e audit.Event) error {
	_, err := x.ExecContext(ctx, "INSERT INTO audit_events (at, actor, action, target, tenant, detail) VALUES ($1, $2, $3, $4, $5, $6)",
		moment(e.Time), e.Actor, e.Action, e.Target, e.Tenant, e.Detail)
	if err != nil {
		return fmt.Errorf("writing the audit line: %w", err)
	}
	return nil
}

// Record implements audit.Log.
func (d *DB) Record(ctx context.Context, e audit.Event) error { return insertEvent(ctx, d.write, e) }

// Events returns the newest audit lines, newest first, at most limit.
func (d *DB) Events(ctx context.Context, limit int) ([]audit.Event, error) {
	return collect(ctx, d, func(r interface{ Scan(...any) error }) (audit.Event, error) {
		var e audit.Event
		err := r.Scan((*moment)(&e.Time), &e.Actor, &e.Action, &e.Target, &e.Tenant, &e.Detail)
		return e, err
	}, "SELECT at, actor, action, target, tenant, detail FROM audit_events ORDER BY id DESC LIMIT $1", limit)
}
