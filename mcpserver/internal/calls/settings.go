package calls

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// Values of Setting.Keep.
const (
	KeepAll               = "all"
	KeepRefusalsAndWrites = "refusals_and_writes"

	everyone = "*" // all tenants without a setting of their own
)

// ErrKeep says that a value of Setting.Keep is not valid.
var ErrKeep = errors.New("what is kept is " + KeepAll + " or " + KeepRefusalsAndWrites)

// Setting says which calls of a tenant are recorded.
type Setting struct {
	Tenant string // "*": all tenants without a setting of their own
	Keep   string
	SetAt  time.Time
}

// keep returns which calls of a tenant are recorded. If the settings cannot be read, the last ones
// stay in effect; at first, all calls are recorded.
func (l *Log) keep(tenant string) string {
	settings := *l.settings.Load()
	if len(settings) == 0 {
		return KeepAll
	}
	for _, whose := range []string{tenant, everyone} {
		if keep := settings[whose]; keep != "" {
			return keep
		}
	}
	return KeepAll
}

// Refresh reads the settings.
func (l *Log) Refresh(ctx context.Context) error {
	all, err := l.Settings(ctx)
	if err != nil {
		return err
	}
	settings := make(map[string]string, len(all))
	for _, s := range all {
		settings[s.Tenant] = s.Keep
	}
	l.settings.Store(&settings)
	return nil
}

// Settings returns the settings, by tenant.
func (l *Log) Settings(ctx context.Context) (all []Setting, err error) {
	err = l.book.Read(ctx, func(scan func(...any) error) error {
		var s Setting
		var at int64
		err := scan(&s.Tenant, &s.Keep, &at)
		s.SetAt = time.Unix(at, 0).UTC()
		all = append(all, s)
		return err
	}, "SELECT tenant_id, keep, set_at FROM call_settings")
	if err != nil {
		return nil, fmt.Errorf("reading of which calls records are kept: %w", err)
	}
	slices.SortFunc(all, func(a, b Setting) int { return strings.Compare(a.Tenant, b.Tenant) })
	return all, nil
}

// Set stores a setting and its audit record. It is in effect here at once, and within two seconds
// at other processes.
func (l *Log) Set(ctx context.Context, s Setting, actor string) error {
	if s.Keep != KeepAll && s.Keep != KeepRefusalsAndWrites {
		return ErrKeep
	}
	now := l.now().UTC()
	err := l.book.Write(ctx, func(tx *sql.Tx) error {
		e := audit.Event{Time: now, Actor: actor, Action: "calls.set", Target: s.Tenant, Tenant: s.Tenant,
			Detail: s.Keep}
		if err := l.book.Line(ctx, tx, e); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO call_settings (tenant_id, keep, set_at) VALUES ($1, $2, $3)
			ON CONFLICT (tenant_id) DO UPDATE SET keep = excluded.keep,
			set_at = excluded.set_at`, s.Tenant, s.Keep, now.Unix())
		if err != nil {
			return fmt.Errorf("keeping the setting: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return l.Refresh(ctx)
}
