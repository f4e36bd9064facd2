package auditstore_test

import (
	"context"
	"database/sql"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/auditstore"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo/demotest"
	"github.com/gatehouse-mcp/gatehouse/migrations"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eachStore(t *testing.T, test func(t *testing.T, b *auditstore.DB, dialect string)) {
	for dialect, place := range map[string]func(testing.TB) string{
		"sqlite":   func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "companion?#%.db") },
		"postgres": testenv.Postgres,
	} {
		t.Run(dialect, func(t *testing.T) {
			database := place(t)
			demotest.Migrate(t, database)
			b, err := auditstore.Open(context.Background(), database)
			must(t, err)
			t.Cleanup(func() { b.Close() })
			test(t, b, dialect)
		})
	}
}

// A line stands with what was written in its transaction or not at all, and one that has a name
// stands once.
func TestLines(t *testing.T) {
	eachStore(t, func(t *testing.T, b *auditstore.DB, _ string) {
		ctx := context.Background()
		e := audit.Event{Time: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Actor: "system", Action: "signal.volume",
			Target: "read_customer", Tenant: "acme", Outcome: audit.OK, Detail: "much"}
		must(t, b.Record(ctx, e))
		must(t, b.Record(ctx, e))
		for i := range 3 {
			must(t, b.Write(ctx, func(tx *sql.Tx) error {
				written, err := b.LineOnce(ctx, tx, e, "the same")
				if written != (i == 0) {
					t.Errorf("time %d: written is %v", i+1, written)
				}
				return err
			}))
		}
		broken := b.Write(ctx, func(tx *sql.Tx) error {
			must(t, b.Line(ctx, tx, e))
			return context.Canceled
		})
		events, err := b.Events(ctx, audit.Filter{})
		must(t, err)
		if broken == nil || len(events) != 3 {
			t.Errorf("got %v and %d lines, want 3", broken, len(events))
		}
		if diff := cmp.Diff(audit.Record{Event: e}, events[0]); diff != "" {
			t.Errorf("a line (-want +got):\n%s", diff)
		}
		// Once more, when they have their place in the chain.
		n, err := b.Audit().Seal(ctx)
		must(t, err)
		must(t, b.Write(ctx, func(tx *sql.Tx) error {
			written, err := b.LineOnce(ctx, tx, e, "the same")
			if written {
				t.Error("what was written once is written again after it was sealed")
			}
			return err
		}))
		if w, err := b.Audit().Verify(ctx, chain.Walk{}); n != 3 || err != nil || w.Records != 3 || w.Finding != nil ||
			w.Waiting != 0 || w.Anchored {
			t.Errorf("sealed %d: got %+v %v, want three records, by no key", n, w, err)
		}
	})
}

// Each step of the schema can be taken back, and taken again.
func TestTheSchemaCanBeTakenBack(t *testing.T) {
	eachStore(t, func(t *testing.T, b *auditstore.DB, dialect string) {
		files, err := migrations.Companion(dialect)
		must(t, err)
		run := func(suffix string, backwards bool) {
			names, err := fs.Glob(files, "*"+suffix)
			must(t, err)
			if backwards {
				slices.Reverse(names)
			}
			for _, name := range names {
				text, err := fs.ReadFile(files, name)
				must(t, err)
				must(t, b.Write(context.Background(),
					func(tx *sql.Tx) error { _, err := tx.Exec(string(text)); return err }))
			}
		}
		run(".down.sql", true)
		run(".up.sql", false)
		run(".down.sql", true)
	})
}

func TestOpenWithoutADatabase(t *testing.T) {
	_, err := auditstore.Open(context.Background(), "sqlite:"+filepath.Join(t.TempDir(), "none.db"))
	if err == nil || !strings.Contains(err.Error(), "gatehouse migrate") {
		t.Errorf("got %v, want a hint at `gatehouse migrate`", err)
	}
}
