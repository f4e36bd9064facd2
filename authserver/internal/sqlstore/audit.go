package sqlstore

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
)

var _ audit.Log = (*DB)(nil)

// Audit returns the chain of the authorization server's audit records.
func (d *DB) Audit() *chain.Chain { return d.audit }

func (d *DB) openAudit() {
	d.audit = chain.New(chain.Options{Write: d.db.Write, Read: d.db.Read, Name: "audit", Lock: d.db.ForUpdate()})
}

// Record implements audit.Log.
func (d *DB) Record(ctx context.Context, e audit.Event) error { return d.audit.Insert(ctx, d.write, e) }

// RecordAll writes records, all or none.
func (d *DB) RecordAll(ctx context.Context, events []audit.Event) error {
	if d.within != nil {
		return d.audit.InsertMany(ctx, d.within, events)
	}
	return d.audit.InsertAll(ctx, events)
}

// PlainRecords implements admin.Log.
func (d *DB) PlainRecords(ctx context.Context, userID, email string) (n int64, err error) {
	const plain = ` WHERE replace(detail, $2, '') <> detail OR replace(target, $2, '') <> target OR target = $1
		AND action IN ('user.sign_in', 'user.sign_out')
		AND (detail LIKE 'from %' OR actor LIKE 'address:%' AND actor NOT LIKE 'address:sealed(%')`
	if err := d.row(ctx, "SELECT (SELECT COUNT(*) FROM audit_records"+plain+") + (SELECT COUNT(*) FROM audit_events"+
		plain+")", userID, email).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting old audit records of a person: %w", err)
	}
	return n, nil
}

// Erase removes deleted data from SQLite's write-ahead log, which keeps old pages until they are
// overwritten. While a reader uses the log, it is overwritten later instead: Erase does not wait
// long.
func (d *DB) Erase(ctx context.Context) error {
	if d.db.Postgres {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var busy, pages, written int
	err := d.db.Write.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &written)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("writing back the write-ahead log: %w", err)
	}
	return nil
}

// Events returns the newest audit records, newest first.
func (d *DB) Events(ctx context.Context, f audit.Filter) ([]audit.Record, error) {
	return d.audit.List(ctx, f)
}
