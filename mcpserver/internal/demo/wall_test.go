package demo_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/auditstore"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo/demotest"
	"github.com/gatehouse-mcp/gatehouse/migrations"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// role makes a role of PostgreSQL that is nobody special, and returns its name and the database as
// it sees it.
func role(t *testing.T, dsn string) (name, seen string) {
	t.Helper()
	name = "gatehouse_test_" + strings.ToLower(rand.Text()[:16])
	admin, err := sql.Open("pgx", dsn)
	must(t, err)
	_, err = admin.Exec("CREATE ROLE " + name + " LOGIN PASSWORD 'companion'")
	must(t, err)
	t.Cleanup(func() {
		defer admin.Close()
		for _, statement := range []string{"REASSIGN OWNED BY " + name + " TO CURRENT_USER", "DROP OWNED BY " + name,
			"DROP ROLE " + name} {
			if _, err := admin.Exec(statement); err != nil {
				t.Errorf("%s: %v", statement, err)
			}
		}
	})
	u, err := url.Parse(dsn)
	must(t, err)
	u.User = url.UserPassword(name, "companion")
	return name, u.String()
}

// roles are who the MCP server may be: a role of its own as deploy/roles.sql makes it, and the
// tables' owner.
var roles = map[string]func(t *testing.T) (asRole string, admin *sql.DB){
	"a role of its own": func(t *testing.T) (string, *sql.DB) {
		dsn := testenv.Postgres(t)
		demotest.Migrate(t, dsn)
		name, seen := role(t, dsn)
		text, err := os.ReadFile("../../../deploy/roles.sql")
		must(t, err)
		if strings.Contains(strings.ToUpper(string(text)), "BYPASSRLS") {
			t.Error("deploy/roles.sql lets the role past the wall")
		}
		admin := opened(t, dsn)
		_, err = admin.Exec(strings.NewReplacer("TO companion", "TO "+name, "ROLE companion", "ROLE "+name,
			"'companion'", "'"+name+"'").Replace(string(text)))
		must(t, err)
		return seen, admin
	},
	"the owner": func(t *testing.T) (string, *sql.DB) {
		dsn := testenv.Postgres(t)
		name, seen := role(t, dsn)
		admin := opened(t, dsn)
		u, err := url.Parse(dsn)
		must(t, err)
		_, err = admin.Exec("ALTER DATABASE " + strings.Trim(u.Path, "/") + " OWNER TO " + name)
		must(t, err)
		demotest.Migrate(t, seen)
		return seen, admin
	},
}

func opened(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	must(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// The wall behind the WHERE clause: a statement that forgets the tenant sees and changes the rows
// of the caller's alone, and without a caller there is nothing.
func TestTheWallBehindTheWhereClause(t *testing.T) {
	for name, open := range roles {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			dsn, admin := open(t)
			examine(t, dsn) // all that the tools do, as this role
			d, err := demo.Open(ctx, dsn, time.Now)
			must(t, err)
			t.Cleanup(func() { d.Close() })
			if walled, err := d.Walled(ctx); !walled || err != nil {
				t.Errorf("walled: got %v %v, want true", walled, err)
			}
			acme, globex := d.For("acme"), d.For("globex")
			must(t, globex.Open(ctx, demo.Ticket{ID: "tic_g", CustomerID: "cus_globex_2001", Subject: "s"}))
			for _, statement := range []string{"SELECT id FROM customers", "SELECT id FROM tickets",
				"SELECT id FROM articles", "SELECT c.id FROM customers c CROSS JOIN articles a",
				"SELECT id FROM customers WHERE tenant_id = 'globex'"} {
				got, err := acme.Each(ctx, statement)
				if err != nil || strings.Contains(strings.Join(got, " "), "globex") ||
					strings.Contains(strings.Join(got, " "), "tic_g") {
					t.Errorf("%s, for acme: got %v %v", statement, got, err)
				}
				if got, err := d.For("").Each(ctx, statement); err != nil || len(got) != 0 {
					t.Errorf("%s, for nobody: got %v %v, want nothing", statement, got, err)
				}
			}
			before := snapshot(t, admin)
			for _, statement := range []string{
				"UPDATE customers SET name = 'taken' WHERE tenant_id <> 'acme' RETURNING id",
				"DELETE FROM tickets WHERE id = 'tic_g' RETURNING id",
				"DELETE FROM articles WHERE tenant_id = 'globex' RETURNING id",
			} {
				if got, err := acme.Each(ctx, statement); err != nil || len(got) != 0 {
					t.Errorf("%s, for acme: got %v %v, want nothing changed", statement, got, err)
				}
			}
			for _, statement := range []string{
				"INSERT INTO customers (tenant_id, id, name, email, updated_at) VALUES ('globex', 'x', 'x', 'x', 1) " +
					"RETURNING id", "UPDATE customers SET tenant_id = 'globex' WHERE id = 'cus_acme_1003' RETURNING id",
			} {
				if got, err := acme.Each(ctx, statement); err == nil ||
					!strings.Contains(err.Error(), "row-level security") {
					t.Errorf("%s, for acme: got %v %v, want it refused", statement, got, err)
				}
			}
			if diff := cmp.Diff(before, snapshot(t, admin)); diff != "" {
				t.Errorf("something changed:\n%s", diff)
			}
			// Not set: nothing is there, and nothing can be put there.
			bare := opened(t, dsn)
			var n int
			if err := bare.QueryRow("SELECT COUNT(*) FROM customers").Scan(&n); err != nil || n != 0 {
				t.Errorf("without a tenant: got %d customers %v, want none", n, err)
			}
			if _, err := bare.Exec("INSERT INTO articles (tenant_id, id, title, body) VALUES ('acme', 'x', " +
				"'x', 'x')"); err == nil {
				t.Error("without a tenant an article was put there")
			}
		})
	}
}

// snapshot is all that the three tables hold.
func snapshot(t *testing.T, admin *sql.DB) (rows []string) {
	t.Helper()
	found, err := admin.Query("SELECT tenant_id || ' ' || id || ' ' || name FROM customers UNION ALL SELECT " +
		"tenant_id || ' ' || id FROM tickets UNION ALL SELECT tenant_id || ' ' || id FROM articles ORDER BY 1")
	must(t, err)
	defer found.Close()
	for found.Next() {
		var row string
		must(t, found.Scan(&row))
		rows = append(rows, row)
	}
	must(t, found.Err())
	return rows
}

// TN-07: whatever becomes of one tenant's statement, the next tenant on the same connection is
// another, and afterwards there is none.
func TestAConnectionIsNobodys(t *testing.T) {
	ctx := context.Background()
	dsn, _ := roles["a role of its own"](t)
	d, err := demo.Open(ctx, dsn, time.Now)
	must(t, err)
	t.Cleanup(func() { d.Close() })
	must(t, d.SeedDemo(ctx))
	d.OneConnection()
	const everybody = "SELECT DISTINCT tenant_id FROM customers"
	for name, act := range map[string]func() error{
		"done": func() error { _, err := d.For("acme").Customer(ctx, "cus_acme_1001"); return err },
		"broken off": func() error {
			_, err := d.For("acme").Each(ctx, "SELECT (1 / (updated_at - updated_at))::text FROM customers")
			return expected(err)
		},
		"malformed": func() error { _, err := d.For("acme").Each(ctx, "SELEC 1"); return expected(err) },
		"a row not read": func() error {
			_, err := d.For("acme").Each(ctx, "SELECT NULL::text FROM customers")
			return expected(err)
		},
		"breaking the key": func() error {
			return expected(d.For("acme").Open(ctx, demo.Ticket{ID: "tic_1", CustomerID: "cus_acme_1001"}))
		},
		"cancelled": func() error {
			short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			_, err := d.For("acme").Each(short, "SELECT pg_sleep(10)::text FROM customers")
			return expected(err)
		},
		"over before it began": func() error {
			gone, cancel := context.WithCancel(ctx)
			cancel()
			_, err := d.For("acme").Each(gone, everybody)
			return expected(err)
		},
		"trying to stay": func() error {
			_, err := d.For("acme").Each(ctx, "SELECT set_config('gatehouse.tenant', 'acme', true)")
			return err
		},
	} {
		if name == "breaking the key" {
			must(t, d.For("acme").Open(ctx, demo.Ticket{ID: "tic_1", CustomerID: "cus_acme_1001"}))
		}
		if err := act(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := d.Whose(ctx); err != nil || got != "" {
			t.Errorf("after acme's, which was %s, the connection is %s's %v", name, got, err)
		}
		if got, err := d.For("globex").Each(ctx, everybody); err != nil || strings.Join(got, " ") != "globex" {
			t.Errorf("after acme's, which was %s, globex sees %v %v, want itself", name, got, err)
		}
	}
}

// expected turns an error that must be into none.
func expected(err error) error {
	if err == nil {
		return context.DeadlineExceeded
	}
	return nil
}

// The wall can be taken down and put up again, and the tools work either way: programs of this
// version run before, during and after.
func TestTheWallDownAndUp(t *testing.T) {
	dsn, admin := roles["a role of its own"](t)
	set, err := migrations.Companion("postgres")
	must(t, err)
	for _, step := range []struct {
		file string
		seen bool // by anyone who names no tenant
	}{{"000003_row_level_security.down.sql", true}, {"000003_row_level_security.up.sql", false}} {
		text, err := fs.ReadFile(set, step.file)
		must(t, err)
		_, err = admin.Exec(string(text))
		must(t, err)
		_, err = admin.Exec("DELETE FROM tickets; DELETE FROM customers; DELETE FROM articles")
		must(t, err)
		examine(t, dsn)
		var n int
		must(t, opened(t, dsn).QueryRow("SELECT COUNT(*) FROM customers").Scan(&n))
		if n > 0 != step.seen {
			t.Errorf("after %s somebody without a tenant sees %d customers", step.file, n)
		}
	}
}

// Where the database keeps nobody apart, it says so.
func TestWhereThereIsNoWall(t *testing.T) {
	ctx := context.Background()
	dsn := testenv.Postgres(t)
	demotest.Migrate(t, dsn)
	path := "sqlite:" + t.TempDir() + "/companion.db"
	demotest.Migrate(t, path)
	for _, database := range []string{dsn, path} { // the tests' own role is a superuser
		d, err := demo.Open(ctx, database, time.Now)
		must(t, err)
		if walled, err := d.Walled(ctx); walled || err != nil {
			t.Errorf("%.8s: got %v %v, want no wall", database, walled, err)
		}
		must(t, d.Close())
	}
}

// The server's own role seals its audit lines, and lets the oldest go.
func TestItsRoleSealsTheAudit(t *testing.T) {
	dsn, _ := roles["a role of its own"](t)
	ctx := context.Background()
	b, err := auditstore.Open(ctx, dsn)
	must(t, err)
	defer b.Close()
	must(t, b.Write(ctx, func(tx *sql.Tx) error {
		_, err := b.LineOnce(ctx, tx, audit.Event{Time: time.Unix(1, 0), Actor: "system", Action: "signal.volume"},
			"once")
		return err
	}))
	n, err := b.Audit().Seal(ctx)
	must(t, err)
	w, err := b.Audit().Verify(ctx, chain.Walk{})
	must(t, err)
	pruned, err := b.Audit().Prune(ctx, time.Now())
	if n != 1 || w.Records != 1 || w.Finding != nil || pruned != 1 || err != nil {
		t.Errorf("got %d sealed, %+v, %d gone %v", n, w, pruned, err)
	}
}
