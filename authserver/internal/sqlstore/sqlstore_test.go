package sqlstore_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/sqlstore"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/storetest"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/authserver/schema"
	"github.com/gatehouse-mcp/gatehouse/migrations"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

const table = "schema_migrations_issuer"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// begin migrates a database and returns how to open it.
func begin(t testing.TB, database string) func() *sqlstore.DB {
	t.Helper()
	must(t, schema.Up(t.Context(), database, migrations.Issuer, table))
	must(t, schema.Up(t.Context(), database, migrations.Issuer, table)) // once more changes nothing
	return func() *sqlstore.DB {
		d, err := sqlstore.Open(t.Context(), database)
		must(t, err)
		t.Cleanup(func() { d.Close() })
		return d
	}
}

func sqliteFile(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "a?b#c%.db") }

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() storetest.Store {
		open := begin(t, sqliteFile(t))
		return func() storetest.Store { return open() }
	})
}

func TestPostgres(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() storetest.Store {
		open := begin(t, testenv.Postgres(t))
		return func() storetest.Store { return open() }
	})
}

// FT-13: check and audit are one act. When the audit line cannot be written, the grant does not
// end.
func TestNoLineNoAct(t *testing.T) {
	file := sqliteFile(t)
	s := begin(t, file)()
	ctx := t.Context()
	must(t, s.CreateTenant(ctx, tenant.Tenant{ID: "acme", CreatedAt: time.Now()}))
	raw, err := sql.Open("sqlite", "file:"+strings.NewReplacer("%", "%25", "?", "%3f", "#",
		"%23").Replace(strings.TrimPrefix(file, "sqlite:")))
	must(t, err)
	defer raw.Close()
	must(t, s.CreateClient(ctx, clientOf("cli")))
	_, err = raw.Exec(`INSERT INTO grants (id, tenant_id, client_id, resource, scopes, created_at) VALUES ('g', 'acme',
		'cli', 'r', '[]', 0);
		CREATE TRIGGER no_line BEFORE INSERT ON audit_events WHEN new.action = 'grant.revoke' BEGIN SELECT RAISE(ABORT,
		'no line'); END`)
	must(t, err)
	if s.RevokeGrant(ctx, "g", time.Now(), "r", audit.Event{Action: "grant.revoke"}) == nil {
		t.Error("got nil, want an error")
	}
	if g, err := s.Grant(ctx, "g"); err != nil || g.Revoked() {
		t.Errorf("got %+v %v, want the grant alive", g, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, database := range map[string]string{"no file": "sqlite:" + filepath.Join(t.TempDir(), "none.db"),
		"no such kind": "mysql://x"} {
		if _, err := sqlstore.Open(t.Context(), database); err == nil {
			t.Errorf("%s: got nil, want an error", name)
		}
	}
	if err := schema.Up(t.Context(), "mysql://x", migrations.Issuer, table); err == nil {
		t.Error("migrating what is no database: got nil, want an error")
	}
}

// BenchmarkRotate is the durable part of a refresh, beside a bare transaction of two statements on
// the same database.
func BenchmarkRotate(b *testing.B) {
	for name, database := range map[string]func(testing.TB) string{"sqlite": sqliteFile, "postgres": testenv.Postgres} {
		b.Run(name, func(b *testing.B) {
			s := begin(b, database(b))()
			ctx := b.Context()
			seed(b, s)
			leaf := "rt"
			for b.Loop() {
				next := leaf + "."
				if len(next) > 100 {
					next = "rt" + time.Now().String()
				}
				must(b, s.Rotate(ctx, leaf, time.Now(), issuer.RefreshToken{Hash: next, GrantID: "g", ClientID: "c",
					CreatedAt: time.Now(), ExpiresAt: time.Now(), ChainEnds: time.Now()}, line))
				leaf = next
			}
		})
		b.Run(name+"-floor", func(b *testing.B) {
			dsn := database(b)
			begin(b, dsn)
			driver, url := "pgx", dsn
			if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
				driver = "sqlite"
				url = "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path) +
					"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
			}
			raw, err := sql.Open(driver, url)
			must(b, err)
			defer raw.Close()
			raw.SetMaxOpenConns(1)
			_, err = raw.Exec("CREATE TABLE floor (id BIGINT PRIMARY KEY, used BIGINT)")
			must(b, err)
			_, err = raw.Exec("INSERT INTO floor VALUES (0, NULL)")
			must(b, err)
			for i := 0; b.Loop(); i++ {
				tx, err := raw.Begin()
				must(b, err)
				_, err = tx.Exec("UPDATE floor SET used = 1 WHERE id = $1", i)
				must(b, err)
				_, err = tx.Exec("INSERT INTO floor VALUES ($1, NULL)", i+1)
				must(b, err)
				must(b, tx.Commit())
			}
		})
	}
}

// line is the audit line of a refresh, as long as they are.
var line = audit.Event{
	Time: time.Now(), Actor: "client:cli_kq3vjbe5x4wkgm2tz6nhy7adq", Action: "token.refresh",
	Target: "u3vjbe5x4wkgm2tz6nhy7adqkq", Tenant: "acme", Client: "cli_kq3vjbe5x4wkgm2tz6nhy7adq",
	Grant:  "grt_b5x4wkgm2tz6nhy7adqkq3vje",
	Detail: "refresh_token: customers:read tickets:read for https://mcp.example.com/mcp",
}

func seed(b *testing.B, s *sqlstore.DB) {
	ctx := b.Context()
	must(b, s.CreateTenant(ctx, tenant.Tenant{ID: "acme", CreatedAt: time.Now()}))
	must(b, s.CreateClient(ctx, clientOf("c")))
	must(b, s.PutCode(ctx, grant.Grant{ID: "g", TenantID: "acme", ClientID: "c", CreatedAt: time.Now()},
		issuer.Code{Hash: "code", GrantID: "g", CreatedAt: time.Now(), ExpiresAt: time.Now()},
		audit.Event{Time: time.Now()}))
	must(b, s.Redeem(ctx, "code", time.Now(), &issuer.RefreshToken{Hash: "rt", GrantID: "g", ClientID: "c",
		CreatedAt: time.Now(), ExpiresAt: time.Now(), ChainEnds: time.Now()}, line))
}

// Each step of the schema can be taken back, and taken again; what a key protects is used up before
// the column goes that says so.
func TestEachStepCanBeTakenBack(t *testing.T) {
	for dialect, database := range map[string]string{"sqlite": sqliteFile(t), "postgres": testenv.Postgres(t)} {
		t.Run(dialect, func(t *testing.T) {
			s := begin(t, database)()
			must(t, s.CreateTenant(t.Context(), tenant.Tenant{ID: "acme", CreatedAt: time.Now()}))
			must(t, s.CreateClient(t.Context(), clientOf("c")))
			must(t, s.PutCode(t.Context(), grant.Grant{ID: "g", TenantID: "acme", ClientID: "c", CreatedAt: time.Now()},
				issuer.Code{Hash: "code", JKT: "k", GrantID: "g", CreatedAt: time.Now(), ExpiresAt: time.Now()},
				audit.Event{Time: time.Now()}))
			raw := rawDB(t, dialect, database)
			files, err := migrations.Issuer(dialect)
			must(t, err)
			step := func(name string) {
				text, err := fs.ReadFile(files, name)
				must(t, err)
				if _, err := raw.Exec(string(text)); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			names, err := fs.Glob(files, "*.down.sql")
			must(t, err)
			slices.Reverse(names)
			for _, name := range names {
				step(name)
				if !strings.HasPrefix(name, "000003_") {
					continue
				}
				var unbound int
				must(t, raw.QueryRow("SELECT COUNT(*) FROM codes WHERE used_at IS NULL").Scan(&unbound))
				if unbound != 0 {
					t.Errorf("%d codes are anybody's now that were bound to a key", unbound)
				}
			}
			names, err = fs.Glob(files, "*.up.sql")
			must(t, err)
			for _, name := range names {
				step(name)
			}
		})
	}
}

func rawDB(t testing.TB, dialect, database string) *sql.DB {
	t.Helper()
	driver, url := "pgx", database
	if path, ok := strings.CutPrefix(database, "sqlite:"); ok {
		driver, url = dialect, "file:"+strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
	}
	raw, err := sql.Open(driver, url)
	must(t, err)
	t.Cleanup(func() { raw.Close() })
	return raw
}

// Several acts in one transaction: all of them, or none, and what is read between sees what was
// written. What became of one leaves the connection clean for the next (TN-07).
func TestAtomically(t *testing.T) {
	for dialect, database := range map[string]string{"sqlite": sqliteFile(t), "postgres": testenv.Postgres(t)} {
		t.Run(dialect, func(t *testing.T) {
			s := begin(t, database)()
			ctx := t.Context()
			broken := errors.New("broken")
			acts := func(end error) error {
				return s.Atomically(ctx, func(tx *sqlstore.DB) error {
					must(t, tx.CreateTenant(ctx, tenant.Tenant{ID: "acme", CreatedAt: time.Now()}))
					must(t, tx.PutRole(ctx, user.Role{TenantID: "acme", Name: "reader", Scopes: []string{"a"}}))
					must(t, tx.CreateUser(ctx, user.User{ID: "usr_ann", Email: "ann@acme.example",
						CreatedAt: time.Now()}))
					must(t, tx.PutMember(ctx, "acme", "usr_ann", "reader"))
					must(t, tx.Record(ctx, audit.Event{Time: time.Now(), Action: "x"}))
					if m, err := tx.Memberships(ctx, "usr_ann"); err != nil || len(m) != 1 {
						t.Errorf("inside: got %v %v, want the membership", m, err)
					}
					return end
				})
			}
			if err := acts(broken); !errors.Is(err, broken) {
				t.Errorf("got %v, want the error", err)
			}
			_, err := s.Tenant(ctx, "acme")
			events, _ := s.Events(ctx, audit.Filter{Limit: 10})
			if !errors.Is(err, tenant.ErrNotFound) || len(events) != 0 {
				t.Errorf("something stayed: %v %v", err, events)
			}
			must(t, acts(nil))
			if m, err := s.Memberships(ctx, "usr_ann"); err != nil || len(m) != 1 {
				t.Errorf("afterwards: got %v %v, want the membership", m, err)
			}
		})
	}
}

// What was deleted is nowhere in the file any more, and nothing lies in what a page has not filled:
// SQLite makes its pages of memory in which something else was.
func TestNothingIsLeftOfWhatWasDeleted(t *testing.T) {
	database := sqliteFile(t)
	s := begin(t, database)()
	const marker = "a-name-that-nothing-else-has"
	for i := range 50 {
		uri := fmt.Sprintf("https://h%d.example/mcp", i)
		must(t, s.PutResource(t.Context(), issuer.Resource{URI: uri, Name: marker, Algorithm: "ES256"}, line))
		must(t, s.DeleteResource(t.Context(), uri, line))
	}
	must(t, s.Close())
	content, err := os.ReadFile(strings.TrimPrefix(database, "sqlite:"))
	must(t, err)
	if i := bytes.Index(content, []byte(marker)); i >= 0 {
		t.Errorf("it is at %d of %d bytes", i, len(content))
	}
}
