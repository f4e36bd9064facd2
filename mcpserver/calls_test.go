package mcpserver_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo/demotest"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

const (
	readOne = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_customer",` +
		`"arguments":{"customer_id":"cus_acme_1001"}}}`
	makeTicket = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"create_ticket",` +
		`"arguments":{"customer_id":"cus_acme_1001","subject":"s","body":"b"}}}`
)

// eachDatabase runs a test on a new database of each kind.
func eachDatabase(t *testing.T, test func(t *testing.T, database string)) {
	for name, place := range map[string]func(testing.TB) string{
		"sqlite":   func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "companion.db") },
		"postgres": testenv.Postgres,
	} {
		t.Run(name, func(t *testing.T) {
			database := place(t)
			demotest.Migrate(t, database)
			test(t, database)
		})
	}
}

// behind opens a database behind the server's back.
func behind(t *testing.T, database string) *sql.DB {
	t.Helper()
	driver, dsn := "pgx", database
	if path, ok := strings.CutPrefix(database, "sqlite:"); ok {
		driver, dsn = "sqlite", "file:"+path+"?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, dsn)
	must(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// callRecords are the records of calls, the newest first, when there are so many. Their chain must
// be whole.
func callRecords(t *testing.T, o *operator.Registry, f audit.Filter, enough int) []audit.Record {
	t.Helper()
	f.Limit = 1 << 20
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		found, err := act[[]audit.Record](t, o, "calls.list", f)
		must(t, err)
		if len(found) >= enough {
			w, err := act[chain.Walked](t, o, "calls.verify", chain.Walk{})
			must(t, err)
			if w.Finding != nil {
				t.Fatalf("the chain of calls: %+v", w.Finding)
			}
			return found
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %d records of %+v, want %d: %+v", len(found), f, enough, found)
		}
	}
}

// What an agent did is provable: each call through the MCP server is in the sealed chain, by whom,
// by which client and grant, with the same name for the same arguments.
func TestEachCallThroughTheServerIsProvable(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		w := openWing(t, func(c *mcpserver.Config) { c.Database = database })
		o := w.server.Operator()
		raw, poor := w.token("acme", allScopes...), w.token("acme", "knowledge:read")
		for _, row := range []struct {
			raw, body string
			want      int
		}{{raw, readOne, 200}, {raw, readOne, 200}, {raw, makeTicket, 200}, {poor, readOne, 403},
			{poor, makeTicket, 403}, {raw, strings.ReplaceAll(readOne, "read_customer", "no_such"), 200},
			{raw, strings.ReplaceAll(readOne, "cus_acme_1001", "cus_none"), 200}} {
			if got, body := w.post(row.raw, row.body); got != row.want && !(got == 400 && row.want == 200) {
				t.Fatalf("%s: got %d %s, want %d", row.body, got, body, row.want)
			}
		}
		set(t, o, operator.ModeSpec{Tenant: "acme", Mode: "observe"})
		if got, body := w.post(poor, makeTicket); got != 200 {
			t.Fatalf("observed: got %d %s", got, body)
		}
		all := callRecords(t, o, audit.Filter{}, 10)
		count := map[string]int{}
		names := map[string]bool{}
		ids := map[string]int{}
		for _, r := range all {
			count[r.Action+" "+r.Target+" "+r.Outcome]++
			if r.Actor != "user:usr_ann" || r.Client == "" || r.Grant == "" || r.Tenant != "acme" {
				t.Errorf("by whom: %+v", r)
			}
			if strings.Contains(r.Detail, "cus_acme_1001") || !strings.Contains(r.Detail, "arguments=") {
				t.Errorf("the arguments: %s", r.Detail)
			}
			for _, word := range strings.Fields(r.Detail) {
				if value, ok := strings.CutPrefix(word, "arguments="); ok && r.Target == "read_customer" {
					names[value] = true
				}
				if id, ok := strings.CutPrefix(word, "call="); ok {
					ids[id]++
				}
			}
		}
		want := map[string]int{
			"tool.call read_customer ok": 2, "tool.call read_customer failed": 1, "tool.call read_customer refused": 1,
			"tool.begin create_ticket ok": 2, "tool.call create_ticket ok": 1,
			"tool.call create_ticket refused": 1, "tool.call create_ticket observed": 1, "tool.call no_such refused": 1,
		}
		if fmt.Sprint(count) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", count, want)
		}
		if len(names) != 2 || // of two customers
			len(ids) != 2 {
			t.Errorf("the same arguments have the names %v; the calls that change something the ids %v", names, ids)
		}
		for id, n := range ids {
			if n != 2 {
				t.Errorf("call %s has %d records, want its begin and its end", id, n)
			}
		}
		used, err := act[[]operator.UsageRow](t, o, "usage.list",
			operator.UsageQuery{Client: "nobody's", Since: time.Now().Add(-time.Hour)})
		must(t, err)
		if mine, err := act[[]operator.UsageRow](t, o, "usage.list",
			operator.UsageQuery{Client: all[0].Client, Since: time.Now().Add(-time.Hour)}); err != nil ||
			len(used) != 0 || len(mine) == 0 {
			t.Errorf("usage by client: %d rows of a client that is none, %d of ours, %v", len(used), len(mine), err)
		}
	})
}

// While the store of records is down, a call that changes something is answered 503 and nothing is
// done; one that reads is answered, and counted.
func TestNothingIsChangedThatCannotBeRecorded(t *testing.T) {
	for outage, statements := range map[string]map[string][2]string{
		"refuses": {
			"sqlite": {"CREATE TRIGGER broken BEFORE INSERT ON companion_calls_records BEGIN SELECT RAISE(ABORT, " +
				"'the disk is full'); END", "DROP TRIGGER broken"},
			"postgres": {"CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the " +
				"disk is full'; END $$; CREATE TRIGGER broken BEFORE INSERT ON companion_calls_records FOR EACH ROW " +
				"EXECUTE FUNCTION broken()",
				"DROP TRIGGER broken ON companion_calls_records"},
		},
		"is gone": {
			"sqlite": {"ALTER TABLE companion_calls_head RENAME TO gone",
				"ALTER TABLE gone RENAME TO companion_calls_head"},
			"postgres": {"ALTER TABLE companion_calls_head RENAME TO gone",
				"ALTER TABLE gone RENAME TO companion_calls_head"},
		},
	} {
		t.Run(outage, func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, database string) {
				w := openWing(t, func(c *mcpserver.Config) { c.Database = database })
				o, raw, db := w.server.Operator(), w.token("acme", allScopes...), behind(t, database)
				breaks := statements[map[bool]string{true: "sqlite",
					false: "postgres"}[strings.HasPrefix(database, "sqlite:")]]
				if got, body := w.post(raw, makeTicket); got != 200 {
					t.Fatalf("before: got %d %s", got, body)
				}
				tickets := func() (n int) {
					t.Helper()
					tx, err := db.Begin()
					must(t, err)
					defer tx.Rollback()
					if strings.HasPrefix(database, "postgres") {
						_, err = tx.Exec("SELECT set_config('gatehouse.tenant', 'acme', true)")
						must(t, err)
					}
					must(t, tx.QueryRow("SELECT COUNT(*) FROM tickets WHERE tenant_id = 'acme'").Scan(&n))
					return n
				}
				before := tickets()
				_, err := db.Exec(breaks[0])
				must(t, err)
				for range 3 {
					r, err := http.NewRequest(http.MethodPost, w.resource, strings.NewReader(makeTicket))
					must(t, err)
					r.Header = http.Header{"Authorization": {"Bearer " + raw}, "Content-Type": {"application/json"},
						"Accept": {"application/json, text/event-stream"}}
					response, err := http.DefaultClient.Do(r)
					must(t, err)
					response.Body.Close()
					if response.StatusCode != http.StatusServiceUnavailable ||
						response.Header.Get("Retry-After") == "" {
						t.Errorf("a write: got %d %v, want 503 with Retry-After", response.StatusCode, response.Header)
					}
					if got, body := w.post(raw, readOne); got != 200 {
						t.Errorf("a read: got %d %s, want 200", got, body)
					}
				}
				if n := tickets(); n != before {
					t.Errorf("%d tickets were opened without a record", n-before)
				}
				page := httptest.NewRecorder()
				w.server.Metrics().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
				for _, want := range []string{"gatehouse_call_records_down 1\n", "gatehouse_calls_unrecorded_total 3\n",
					"gatehouse_call_records_lost_total 0\n"} {
					if !strings.Contains(page.Body.String(), want) {
						t.Errorf("the metrics have no %q:\n%s", want, page.Body)
					}
				}
				_, err = db.Exec(breaks[1])
				must(t, err)
				for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
					if got, _ := w.post(raw, makeTicket); got == 200 {
						break
					}
					if time.Now().After(deadline) {
						t.Fatal("it did not come back")
					}
				}
				callRecords(t, o, audit.Filter{Tool: "read_customer", Outcome: audit.OK}, 3) // they waited
				// those that were answered 503
				callRecords(t, o, audit.Filter{Tool: "create_ticket", Outcome: audit.Refused}, 3)
				if n := len(callRecords(t, o, audit.Filter{Action: "tool.gap"}, 1)); n != 1 {
					t.Errorf("the outage has %d records, want 1", n)
				}
			})
		})
	}
}

// Records of calls go after --call-retention, and the rest of the chain is as provable as before.
func TestRecordsOfCallsAreKeptForTheirTime(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		var ahead atomic.Int64
		ctx := context.Background()
		o, shut, err := mcpserver.OpenOperator(ctx, mcpserver.Config{
			Resource: "https://mcp.example/mcp", Issuer: "https://as.example", Database: database,
			CallRetention: 48 * time.Hour,
		}, mcpserver.Deps{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
		must(t, err)
		defer shut()
		w := openWing(t, func(c *mcpserver.Config) { c.Database = database })
		raw := w.token("acme", allScopes...)
		w.post(raw, readOne)
		callRecords(t, w.server.Operator(), audit.Filter{}, 1)
		ahead.Store(int64(47 * time.Hour))
		must(t, o.Prune(ctx))
		callRecords(t, o, audit.Filter{}, 1)
		ahead.Store(int64(49 * time.Hour))
		must(t, o.Prune(ctx))
		if found := callRecords(t, o, audit.Filter{}, 0); len(found) != 0 {
			t.Errorf("got %d records after their time", len(found))
		}
		w.post(raw, readOne)
		if found := callRecords(t, o, audit.Filter{}, 1); found[0].Seq != 2 {
			t.Errorf("got %+v, want record 2", found[0])
		}
	})
}

// A process that is killed with writes and reads under way has changed nothing without a record,
// and the next one says that records of reads may be missing.
func TestAServerThatIsKilledHasChangedNothingUnrecorded(t *testing.T) {
	program := filepath.Join(t.TempDir(), "mcpserver")
	if out, err := exec.Command("go", "build", "-o", program, "./cmd/mcpserver").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	eachDatabase(t, func(t *testing.T, database string) {
		issuer := tokentest.NewIssuer(t)
		l, err := httpd.Listen("127.0.0.1:0")
		must(t, err)
		address := l.Addr().String()
		must(t, l.Close())
		w := &runningServer{t: t, issuer: issuer, resource: "http://" + address + "/mcp"}
		seed(t, w.resource, issuer.URL(), database)
		raw := w.token("acme", allScopes...)
		var wrote atomic.Int64
		for range 3 {
			said := &testenv.Book{}
			c := exec.Command(program, "--resource", w.resource, "--resource-listen", address, "--issuer", issuer.URL(),
				"--database", database, "--insecure-ignore-revocations", "--calls-per-minute", "-1")
			c.Stderr = said
			must(t, c.Start())
			ready := func() bool {
				response, err := http.Get("http://" + address + "/readyz")
				if err != nil {
					return false
				}
				response.Body.Close()
				return response.StatusCode == 200
			}
			for deadline := time.Now().Add(time.Minute); !ready(); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("not ready:\n%s", said)
				}
			}
			var callers sync.WaitGroup
			enough := make(chan struct{}, 1000)
			for i := range 6 {
				callers.Go(func() {
					for { // until the process is gone
						body := makeTicket
						if i%2 == 0 {
							body = readOne
						}
						r, err := http.NewRequest(http.MethodPost, w.resource, strings.NewReader(body))
						if err != nil {
							t.Error(err)
							return
						}
						r.Header = http.Header{"Authorization": {"Bearer " + raw}, "Content-Type": {"application/json"},
							"Accept": {"application/json, text/event-stream"}}
						response, err := http.DefaultClient.Do(r)
						if err != nil {
							return
						}
						response.Body.Close()
						if response.StatusCode != 200 {
							t.Errorf("got %d:\n%s", response.StatusCode, said)
							return
						}
						if i%2 == 1 {
							wrote.Add(1)
						}
						select {
						case enough <- struct{}{}:
						default:
						}
					}
				})
			}
			for range 40 {
				<-enough
			}
			must(t, c.Process.Kill())
			_ = c.Wait() // it was killed
			callers.Wait()
		}
		next := openWing(t, func(c *mcpserver.Config) { c.Database = database })
		o := next.server.Operator()
		begun := len(callRecords(t, o, audit.Filter{Action: "tool.begin"}, 1))
		db, tickets := behind(t, database), 0
		tx, err := db.Begin()
		must(t, err)
		defer tx.Rollback()
		if strings.HasPrefix(database, "postgres") {
			_, err = tx.Exec("SELECT set_config('gatehouse.tenant', 'acme', true)")
			must(t, err)
		}
		must(t, tx.QueryRow("SELECT COUNT(*) FROM tickets WHERE tenant_id = 'acme'").Scan(&tickets))
		if tickets > begun || int64(begun) < wrote.Load() || tickets == 0 {
			t.Errorf("%d calls have a record, %d tickets were opened, %d were answered", begun, tickets, wrote.Load())
		}
		if strings.HasPrefix(database, "sqlite:") {
			// with PostgreSQL it takes until the row of the killed process is old
			if n := len(callRecords(t, o, audit.Filter{Action: "tool.gap"}, 3)); n != 3 {
				t.Errorf("%d possible gaps are recorded, want one of each that was killed", n)
			}
		}
	})
}

// seed fills a database with the demo's data.
func seed(t *testing.T, resource, issuer, database string) {
	t.Helper()
	s, err := mcpserver.New(t.Context(), mcpserver.Config{Resource: resource, Issuer: issuer, Database: database,
		InsecureIgnoreRevocations: true}, mcpserver.Deps{})
	must(t, err)
	must(t, s.SeedDemo(t.Context()))
	must(t, s.Close())
}
