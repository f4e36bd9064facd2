package demo_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo/demotest"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Both dialects sit the same examination.
func TestCRM(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "companion?#%.db")
		demotest.Migrate(t, "sqlite:"+path)
		examine(t, "sqlite:"+path)
	})
	t.Run("postgres", func(t *testing.T) {
		dsn := testenv.Postgres(t)
		demotest.Migrate(t, dsn)
		examine(t, dsn)
	})
}

func examine(t *testing.T, database string) {
	ctx := context.Background()
	d, err := demo.Open(ctx, database, time.Now)
	must(t, err)
	t.Cleanup(func() { d.Close() })
	must(t, d.SeedDemo(ctx))
	must(t, d.SeedDemo(ctx)) // once more changes nothing
	acme, globex, nobody := d.For("acme"), d.For("globex"), d.For("")

	want := demo.Customer{ID: "cus_acme_1002", Name: "Wile E. Coyote", Email: "wile@coyote.example"}
	got, err := acme.Customer(ctx, want.ID)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatalf("a customer of acme: %v %s", err, diff)
	}
	for _, who := range []demo.Tenant{globex, nobody, d.For("ACME"), d.For("acme' OR '1'='1")} { // TN-02, TN-08
		if _, err := who.Customer(ctx, want.ID); !errors.Is(err, demo.ErrNotFound) {
			t.Errorf("another tenant reads: got %v, want ErrNotFound", err)
		}
		if _, err := who.Update(ctx, demo.Customer{ID: want.ID, Name: "stolen"}); !errors.Is(err, demo.ErrNotFound) {
			t.Errorf("another tenant changes: got %v, want ErrNotFound", err)
		}
		if err := who.Open(ctx, demo.Ticket{ID: "tic_x", CustomerID: want.ID, Subject: "s"}); !errors.Is(err,
			demo.ErrNotFound) {
			t.Errorf("another tenant opens a ticket: got %v, want ErrNotFound", err)
		}
		if found, err := who.Search(ctx, "anvil rocket refunds paint", 10); err != nil || contains(found, "acme") {
			t.Errorf("another tenant searches: got %v %v, want nothing of acme's", found, err)
		}
	}
	changed, err := acme.Update(ctx, demo.Customer{ID: want.ID, Email: "new@coyote.example"})
	want.Email = "new@coyote.example"
	if diff := cmp.Diff(want, changed); err != nil || diff != "" {
		t.Errorf("changing the address alone: %v %s", err, diff)
	}
	must(t, acme.Open(ctx, demo.Ticket{ID: "tic_1", CustomerID: want.ID, Subject: "Fuse", Body: "unlit",
		OpenedBy: "usr_ann"}))
	if n, err := acme.Tickets(ctx); n != 1 || err != nil {
		t.Errorf("acme's tickets: got %d %v, want 1", n, err)
	}
	if n, _ := globex.Tickets(ctx); n != 0 {
		t.Errorf("globex's tickets: got %d, want 0", n)
	}
	search(t, acme)
}

func search(t *testing.T, acme demo.Tenant) {
	ctx := context.Background()
	found, err := acme.Search(ctx, "refund for an anvil", 10)
	if err != nil || len(found) == 0 || found[0].ID != "art_acme_2" {
		t.Errorf("searching: got %v %v, want art_acme_2 first", found, err)
	}
	// TN-03: nothing in the text has a meaning but its words.
	for _, text := range []string{"", "   ", `"`, `'`, `*`, `anvil"`, `anvil' | 'x`, `NEAR(anvil, 2)`, `title:anvil`,
		`anvil AND NOT`, `-anvil`, `(anvil`, `anvil:*`, `!anvil`,
		`'; DROP TABLE articles; --`, "an\x00vil", `a & | b`, strings.Repeat("anvil ", 10_000), "ünï çödé 漢字", `\`, `%`,
		`_`, `<->`} {
		if found, err := acme.Search(ctx, text, -1); err != nil || len(found) > 1 {
			t.Errorf("%.30q: got %d results %v, want no error and at most one", text, len(found), err)
		}
	}
}

func contains(articles []demo.Article, tenant string) bool {
	for _, a := range articles {
		if strings.Contains(a.ID, tenant) {
			return true
		}
	}
	return false
}

func TestOpenWithoutSchema(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "x.db")
	if _, err := demo.Open(ctx, "sqlite:"+path, time.Now); err == nil ||
		!strings.Contains(err.Error(), "gatehouse migrate") {
		t.Errorf("no file: got %v, want a hint at `gatehouse migrate`", err)
	}
	dsn := testenv.Postgres(t)
	if _, err := demo.Open(ctx, dsn, time.Now); err == nil || !strings.Contains(err.Error(), "gatehouse migrate") {
		t.Errorf("no schema: got %v, want a hint at `gatehouse migrate`", err)
	}
}

// While all connections are taken, waiting for one ends when the caller does.
func TestWaitingForAConnectionEndsWithTheCaller(t *testing.T) {
	path := "sqlite:" + filepath.Join(t.TempDir(), "companion.db")
	demotest.Migrate(t, path)
	d, err := demo.Open(context.Background(), path, time.Now)
	must(t, err)
	t.Cleanup(func() { d.Close() })
	must(t, d.SeedDemo(context.Background()))
	gone, leave := context.WithCancel(context.Background())
	leave()
	done, err := d.Busy(t.Context())
	must(t, err)
	if _, err := d.For("acme").Customer(gone, "cus_acme_1001"); !errors.Is(err, context.Canceled) {
		t.Errorf("a customer: got %v, want %v", err, context.Canceled)
	}
	if _, err := d.For("acme").Search(gone, "sled", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a search: got %v, want %v", err, context.Canceled)
	}
	done()
	if _, err := d.For("acme").Customer(context.Background(), "cus_acme_1001"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
