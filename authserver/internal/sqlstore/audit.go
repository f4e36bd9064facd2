package sqlstore

import (
	"context"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
)

var _ audit.Log = (*DB)(nil)

// Audit is the chain of the issuing wing's audit lines.
func (d *DB) Audit() *chain.Chain { return d.audit }

func (d *DB) openAudit() {
	d.audit = chain.New(chain.Options{Write: d.writer, Read: d.reader, Name: "audit", Lock: d.own})
}

// Record implements audit.Log.
func (d *DB) Record(ctx context.Context, e audit.Event) error { return d.audit.Insert(ctx, d.write, e) }

// RecordAll keeps lines, all or none.
func (d *DB) RecordAll(ctx context.Context, events []audit.Event) error {
	if d.within != nil {
		return d.audit.InsertMany(ctx, d.within, events)
	}
	return d.audit.InsertAll(ctx, events)
}

// Events returns the newest audit lines, newest first.
func (d *DB) Events(ctx context.Context, f audit.Filter) ([]audit.Record, error) {
	return d.audit.List(ctx, f)
}
