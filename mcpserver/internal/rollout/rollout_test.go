package rollout_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/auditstore"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo/demotest"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/rollout"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sqlite(t testing.TB) string {
	database := "sqlite:" + filepath.Join(t.TempDir(), "companion.db")
	demotest.Migrate(t, database)
	return database
}

func replica(t *testing.T, database string) *rollout.Modes {
	b, err := auditstore.Open(context.Background(), database)
	must(t, err)
	t.Cleanup(func() { b.Close() })
	return rollout.New(b, time.Now, slog.New(slog.DiscardHandler))
}

// The tool's own mode goes before the tenant's, and that before everyone's; nobody is not everyone;
// what nobody set is enforced.
func TestModes(t *testing.T) {
	for name, database := range map[string]func(*testing.T) string{
		"sqlite": func(t *testing.T) string { return sqlite(t) }, "postgres": func(t *testing.T) string {
			database := testenv.Postgres(t)
			demotest.Migrate(t, database)
			return database
		}} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			database := database(t)
			m, other := replica(t, database), replica(t, database)
			is := func(m *rollout.Modes, tenant, tool string, want guard.Mode) {
				t.Helper()
				if got := m.Mode(tenant, tool); got != want {
					t.Errorf("%s/%s: got %s, want %s", tenant, tool, got, want)
				}
			}
			set := func(tenant, tool string, mode guard.Mode) {
				t.Helper()
				must(t, m.Set(ctx, rollout.Setting{Tenant: tenant, Tool: tool, Mode: mode}, "operator"))
			}
			is(m, "acme", "a", guard.Enforce)
			set("acme", "", guard.Observe)
			set("acme", "b", guard.Enforce)
			set(rollout.Everyone, "", guard.EnforceWrites)
			set(rollout.Everyone, "c", guard.Observe)
			must(t, other.Refresh(ctx))
			for _, m := range []*rollout.Modes{m, other} {
				is(m, "acme", "a", guard.Observe)
				is(m, "acme", "", guard.Observe)
				is(m, "acme", "b", guard.Enforce)
				is(m, "globex", "a", guard.EnforceWrites)
				is(m, "globex", "c", guard.Observe)
				is(m, rollout.Nobody, "a", guard.Enforce)
				is(m, rollout.Nobody, "c", guard.Enforce)
			}
			set(rollout.Nobody, "", guard.Observe)
			is(m, rollout.Nobody, "a", guard.Observe)
			set("acme", "", guard.Enforce)
			is(m, "acme", "a", guard.Enforce)
			is(other, "acme", "a", guard.Observe) // has not read yet
			must(t, other.Refresh(ctx))
			is(other, "acme", "a", guard.Enforce)
			if err := m.Set(ctx, rollout.Setting{Tenant: "acme", Mode: "off"}, "operator"); !errors.Is(err,
				rollout.ErrMode) {
				t.Errorf("a mode that is none: got %v, want ErrMode", err)
			}
			if all := m.All(); len(all) != 5 || all[0].Tenant != "" || all[1].Tenant != "*" {
				t.Errorf("all: got %+v", all)
			}
		})
	}
}

// A mode stands with its audit line or not at all.
func TestNoLineNoMode(t *testing.T) {
	ctx := context.Background()
	database := sqlite(t)
	b, err := auditstore.Open(ctx, database)
	must(t, err)
	defer b.Close()
	m := rollout.New(b, time.Now, slog.New(slog.DiscardHandler))
	must(t, m.Set(ctx, rollout.Setting{Tenant: "acme", Mode: guard.EnforceWrites}, "operator"))
	events, err := b.Events(ctx, audit.Filter{})
	must(t, err)
	if len(events) != 1 || events[0].Action != "rollout.set" || events[0].Tenant != "acme" ||
		events[0].Detail != "enforce_writes" || events[0].Actor != "operator" {
		t.Errorf("the line: got %+v", events)
	}
	must(t, b.Write(ctx,
		func(tx *sql.Tx) error { _, err := tx.ExecContext(ctx, "DROP TABLE companion_events"); return err }))
	if err := m.Set(ctx, rollout.Setting{Tenant: "acme", Mode: guard.Observe}, "operator"); err == nil {
		t.Error("without a line: got nil, want an error")
	}
	must(t, m.Refresh(ctx))
	if got := m.Mode("acme", "a"); got != guard.EnforceWrites {
		t.Errorf("without a line: got %s", got)
	}
}

// A change counts at every replica within a second. When the modes cannot be read, those that are
// known hold for ten seconds; then all rules count, and it is said once.
func TestModesThatCannotBeRead(t *testing.T) {
	database := sqlite(t)
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		b, err := auditstore.Open(ctx, database)
		must(t, err)
		defer b.Close()
		var text testenv.Book
		log := slog.New(slog.NewTextHandler(&text, nil))
		writer, reader := rollout.New(b, time.Now, slog.New(slog.DiscardHandler)), rollout.New(b, time.Now, log)
		work, end := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() { reader.Run(work); close(ended) }()
		must(t, writer.Set(ctx, rollout.Setting{Tenant: "acme", Mode: guard.Observe}, "operator"))
		pass := func(d time.Duration) {
			time.Sleep(d) // the bubble's time, not ours
			synctest.Wait()
		}
		is := func(when string, want guard.Mode) {
			t.Helper()
			if got := reader.Mode("acme", "a"); got != want {
				t.Errorf("%s: got %s, want %s", when, got, want)
			}
		}
		pass(time.Second)
		is("a second after", guard.Observe)
		rename := func(from, to string) {
			must(t, b.Write(ctx, func(tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, "ALTER TABLE "+from+" RENAME TO "+to)
				return err
			}))
		}
		rename("rollout_revision", "away")
		pass(9 * time.Second)
		is("nine seconds away", guard.Observe)
		pass(2 * time.Second)
		is("eleven seconds away", guard.Enforce)
		rename("away", "rollout_revision")
		pass(time.Second)
		is("back", guard.Observe)
		end()
		<-ended
		if strings.Count(text.String(), "level=ERROR") != 1 {
			t.Errorf("said: %s", &text)
		}
	})
}
