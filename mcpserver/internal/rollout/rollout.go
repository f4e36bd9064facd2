// Package rollout stores the modes of enforcement by tenant and tool, and reads them while the
// server runs.
package rollout

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/auditstore"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// Divider separates the name of a server from the name of its tool, if there are several servers.
// The mode of a server's name applies to all its tools without a mode of their own.
const Divider = "/"

// Tenants of modes that are not tenants.
const (
	Everyone = "*" // all tenants without a mode of their own
	Nobody   = ""  // requests without a valid token; Everyone does not include it
)

// Setting is the mode of a tenant and a tool.
type Setting struct {
	Tenant string
	Tool   string // empty: all tools without a mode of their own
	Mode   guard.Mode
	SetAt  time.Time
}

// ErrMode says that a mode is not valid.
var ErrMode = errors.New("a mode is observe, enforce_writes or enforce")

const (
	readEvery = 500 * time.Millisecond // so that a change is in effect within a second
	readWait  = 400 * time.Millisecond
	// Trusted is how long modes are used when they cannot be read again. Then all rules are
	// enforced: cutting a server off from its database must not keep it lenient.
	Trusted = 10 * time.Second
)

// Modes are the modes as they were last read. It implements guard.Rollout.
type Modes struct {
	book    *auditstore.DB
	now     func() time.Time
	log     *slog.Logger
	last    atomic.Pointer[snapshot]
	reading sync.Mutex
}

var _ guard.Rollout = (*Modes)(nil)

// place is a tenant and a tool.
type place struct{ tenant, tool string }

type snapshot struct {
	revision int64
	settings map[place]Setting
	readAt   time.Time
}

// New returns modes that are not read yet: all rules are enforced. Refresh reads them once, Run
// periodically.
func New(b *auditstore.DB, now func() time.Time, log *slog.Logger) *Modes {
	m := &Modes{book: b, now: now, log: log}
	m.last.Store(&snapshot{revision: -1})
	return m
}

// Mode implements guard.Rollout.
func (m *Modes) Mode(tenantID, name string) guard.Mode {
	s, _ := m.Why(tenantID, name)
	return s.Mode
}

// Why returns the setting for a tenant's tool: the tool's own, its server's, the tenant's, or those
// of Everyone in the same order. known is false if there is none, or the modes are too old: then
// all rules are enforced.
func (m *Modes) Why(tenantID, tool string) (s Setting, known bool) {
	last := m.last.Load()
	strict := Setting{Tenant: tenantID, Mode: guard.Enforce}
	if len(last.settings) == 0 || m.now().Sub(last.readAt) > Trusted {
		return strict, false
	}
	server, _, _ := strings.Cut(tool, Divider)
	for _, whose := range []string{tenantID, Everyone} {
		if whose == Everyone && tenantID == Nobody {
			break
		}
		for _, what := range []string{tool, server, ""} {
			if s, ok := last.settings[place{whose, what}]; ok {
				return s, true
			}
		}
	}
	return strict, false
}

// All returns the settings as they were last read, by tenant and tool.
func (m *Modes) All() []Setting {
	var all []Setting
	for _, s := range m.last.Load().settings {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Setting) int {
		return strings.Compare(a.Tenant+"\x00"+a.Tool, b.Tenant+"\x00"+b.Tool)
	})
	return all
}

// Age returns how long ago the modes were read.
func (m *Modes) Age() time.Duration {
	last := m.last.Load()
	if last.readAt.IsZero() {
		return Trusted + time.Second
	}
	return m.now().Sub(last.readAt)
}

// Refresh reads the modes if they have changed.
func (m *Modes) Refresh(ctx context.Context) error {
	m.reading.Lock()
	defer m.reading.Unlock()
	began, last := m.now(), m.last.Load()
	next := &snapshot{revision: last.revision, settings: last.settings, readAt: began}
	revision := int64(-1)
	err := m.book.Read(ctx, func(scan func(...any) error) error { return scan(&revision) },
		"SELECT revision FROM rollout_revision WHERE id = 1")
	if err != nil {
		return fmt.Errorf("reading the rollout's revision: %w", err)
	}
	if revision != last.revision {
		// Rows newer than the revision are read again next time, which is harmless; in the other
		// order a change would be missed.
		if next.settings, err = m.read(ctx); err != nil {
			return err
		}
		next.revision = revision
	}
	m.last.Store(next)
	return nil
}

func (m *Modes) read(ctx context.Context) (map[place]Setting, error) {
	settings := map[place]Setting{}
	err := m.book.Read(ctx, func(scan func(...any) error) error {
		var s Setting
		var at int64
		err := scan(&s.Tenant, &s.Tool, &s.Mode, &at)
		s.SetAt = time.Unix(at, 0).UTC()
		settings[place{s.Tenant, s.Tool}] = s
		return err
	}, "SELECT tenant_id, tool, mode, set_at FROM rollout_modes")
	if err != nil {
		return nil, fmt.Errorf("reading the rollout's modes: %w", err)
	}
	return settings, nil
}

// Run reads the modes periodically until ctx is done. The first of several errors is logged.
func (m *Modes) Run(ctx context.Context) {
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := m.readOnce(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			m.log.Error("the rollout's modes cannot be read: those that are known hold for "+Trusted.String()+
				", then all rules count", "error", err)
		}
		failing = err != nil
	}
}

func (m *Modes) readOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	return m.Refresh(ctx)
}

// Set stores a mode and its audit record, and reads the modes again: it is in effect here at once,
// and within a second at other replicas. A tool's mode is stored even if it is the tenant's: it
// stays when the tenant's changes.
func (m *Modes) Set(ctx context.Context, s Setting, actor string) error {
	if !slices.Contains([]guard.Mode{guard.Observe, guard.EnforceWrites, guard.Enforce}, s.Mode) {
		return ErrMode
	}
	now := m.now().UTC()
	err := m.book.Write(ctx, func(tx *sql.Tx) error {
		e := audit.Event{Time: now, Actor: actor, Action: "rollout.set", Target: target(s), Tenant: s.Tenant,
			Detail: string(s.Mode)}
		if err := m.book.Line(ctx, tx, e); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO rollout_modes (tenant_id, tool, mode, set_at) VALUES ($1, $2, $3,
			$4)
			ON CONFLICT (tenant_id, tool) DO UPDATE SET mode = excluded.mode,
			set_at = excluded.set_at`, s.Tenant, s.Tool, string(s.Mode), now.Unix()); err != nil {
			return fmt.Errorf("keeping the mode: %w", err)
		}
		if _, err := tx.ExecContext(ctx,
			"UPDATE rollout_revision SET revision = revision + 1 WHERE id = 1"); err != nil {
			return fmt.Errorf("counting the change of modes: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return m.Refresh(ctx)
}

func target(s Setting) string {
	if s.Tool == "" {
		return "all tools"
	}
	return s.Tool
}
