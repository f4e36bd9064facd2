package usage_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/auditstore"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo/demotest"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/usage"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, database string) *auditstore.DB {
	t.Helper()
	b, err := auditstore.Open(context.Background(), database)
	must(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

func sqlite(t testing.TB) string {
	database := "sqlite:" + filepath.Join(t.TempDir(), "companion.db")
	demotest.Migrate(t, database)
	return database
}

// eachStore runs a test on both dialects.
func eachStore(t *testing.T, test func(t *testing.T, database string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, sqlite(t)) })
	t.Run("postgres", func(t *testing.T) {
		database := testenv.Postgres(t)
		demotest.Migrate(t, database)
		test(t, database)
	})
}

var noon = time.Date(2026, 3, 5, 12, 10, 0, 0, time.UTC)

func counter(b *auditstore.DB) *usage.Counter {
	return usage.NewCounter(b, func() time.Time { return noon }, slog.New(slog.DiscardHandler))
}

// called is a call of a tool that passed.
func called(tenant, tool string, at time.Time) *guard.Record {
	return &guard.Record{
		At: at, Caller: mcp.Caller{TenantID: tenant, ClientID: "cli_1"}, Method: "tools/call", Passed: true,
		Status: 200, Duration: 3 * time.Millisecond,
		Decision: guard.Decision{Kind: guard.KindTool, Name: tool, Rule: tool, Allowed: true},
		Message:  []byte(`{"arguments":{"iban":"DE02"}}`),
	}
}

func lacking(r *guard.Record, passed bool, scopes ...string) *guard.Record {
	r.Decision.Allowed, r.Decision.Lacking, r.Refused, r.Passed = false, scopes, "insufficient_scope", passed
	return r
}

func TestSumsByTheHour(t *testing.T) {
	eachStore(t, func(t *testing.T, database string) {
		ctx := context.Background()
		b := open(t, database)
		c := counter(b)
		slow := called("acme", "read_customer", noon.Add(time.Minute))
		slow.Duration = 9 * time.Millisecond
		for _, r := range []*guard.Record{
			called("acme", "read_customer", noon), slow, called("acme", "read_customer", noon.Add(-time.Hour)),
			called("globex", "read_customer", noon),
			lacking(called("acme", "update_customer", noon), true, "customers:read", "customers:write"),
			lacking(called("acme", "update_customer", noon), false, "customers:write"),
			{At: noon, Agent: "curl", Method: "POST", Refused: guard.RefusedNoToken, Status: 401},
		} {
			count(c, r)
		}
		must(t, c.Flush(ctx))
		must(t, c.Flush(ctx)) // nothing twice
		got, err := usage.List(ctx, b, usage.Filter{Tenant: "acme", Since: noon, Limit: 10})
		must(t, err)
		row := func(name, outcome, reason, lacking string, calls, micros, slowest int64, last time.Time) usage.Row {
			return usage.Row{
				Key: usage.Key{Tenant: "acme", Client: "cli_1", Method: "tools/call", Name: name, Outcome: outcome,
					Reason: reason, Lacking: lacking},
				Sum: usage.Sum{Calls: calls, Micros: micros, Slowest: slowest, Last: last.Unix()},
			}
		}
		want := []usage.Row{
			row("read_customer", "ok", "", "", 2, 12000, 9000, noon.Add(time.Minute)),
			row("update_customer", "observed", "insufficient_scope", "customers:read customers:write", 1, 3000,
				3000, noon),
			row("update_customer", "refused", "insufficient_scope", "customers:write", 1, 3000, 3000, noon),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("this hour's (-want +got):\n%s", diff)
		}
		got, err = usage.List(ctx, b, usage.Filter{Since: noon.Add(-time.Hour), Outcome: "ok", Limit: 10})
		must(t, err)
		if len(got) != 2 || got[0].Calls != 3 {
			t.Errorf("two hours' of all tenants: got %+v", got)
		}
		got, err = usage.List(ctx, b, usage.Filter{Since: noon, Nobody: true, Limit: 10})
		must(t, err)
		if len(got) != 1 || got[0].Agent != "curl" || got[0].Reason != guard.RefusedNoToken {
			t.Errorf("nobody's: got %+v", got)
		}
		traffic, err := usage.TrafficSince(ctx, b, noon)
		must(t, err)
		if diff := cmp.Diff(map[string]usage.Traffic{"acme": {Passed: 3, Observed: 1}, "globex": {Passed: 1}},
			traffic); diff != "" {
			t.Errorf("traffic (-want +got):\n%s", diff)
		}
	})
}

// Two replicas whose requests come in parallel, and who write meanwhile, add up to every request.
func TestReplicasAddUp(t *testing.T) {
	eachStore(t, func(t *testing.T, database string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		const writers, each = 8, 200
		var replicas sync.WaitGroup
		for range 2 {
			c := counter(open(t, database))
			replicas.Go(func() {
				var requests sync.WaitGroup
				for i := range writers {
					requests.Go(func() {
						for j := range each {
							count(c, called(fmt.Sprint("tenant-", (i+j)%20), fmt.Sprint("tool", j%7), noon))
							if j%50 == 0 {
								_ = c.Flush(ctx) // what cannot be written now waits
							}
						}
					})
				}
				requests.Wait()
				for c.Flush(ctx) != nil && ctx.Err() == nil {
				}
			})
		}
		replicas.Wait()
		rows, err := usage.List(ctx, open(t, database), usage.Filter{Since: noon, Limit: 1000})
		must(t, err)
		total := int64(0)
		for _, r := range rows {
			total += r.Calls
		}
		if total != 2*writers*each || len(rows) != 140 {
			t.Errorf("got %d calls in %d rows, want %d in 140", total, len(rows), 2*writers*each)
		}
	})
}

// Under a rule with a star each name is a key of its own. One tenant that makes up names took the
// room of all: others were counted without their tenant, and the detector saw none of them.
func TestOneTenantDoesNotTakeTheRoomOfAll(t *testing.T) {
	eachStore(t, func(t *testing.T, database string) {
		ctx, b := context.Background(), open(t, database)
		var log bytes.Buffer
		c := usage.NewCounter(b, func() time.Time { return noon }, slog.New(slog.NewTextHandler(&log, nil)))
		const made = 12_000
		for i := range made {
			count(c, called("mallory", fmt.Sprint("crm/foo_", i), noon))
		}
		for i := range 150 {
			count(c, called("acme", fmt.Sprint("crm/read_", i%3), noon))
		}
		must(t, c.Flush(ctx))
		traffic, err := usage.TrafficSince(ctx, b, noon)
		must(t, err)
		if diff := cmp.Diff(map[string]usage.Traffic{"mallory": {Passed: made}, "acme": {Passed: 150}},
			traffic); diff != "" {
			t.Errorf("traffic (-want +got):\n%s", diff)
		}
		rows, err := usage.List(ctx, b, usage.Filter{Tenant: "mallory", Since: noon, Limit: made})
		must(t, err)
		if len(rows) != 1001 || rows[0].Name != usage.Other || rows[0].Calls != made-1000 {
			t.Errorf("%d rows of mallory's, the first %+v; want her share and one for the rest", len(rows), rows[0])
		}
		if n := strings.Count(log.String(), "a tenant's usage is counted under the name"); n != 1 ||
			!strings.Contains(log.String(), "tenant=mallory") || c.Overflow().Requests != made-1000 {
			t.Errorf("said %d times, %+v: %s", n, c.Overflow(), log.String())
		}
		found, err := usage.Detect(ctx, b, noon)
		must(t, err)
		acmes, others := 0, 0
		for _, e := range found {
			if e.Tenant == "acme" {
				acmes++
			} else if others++; e.Target == usage.Other {
				t.Errorf("a signal for what has no name: %+v", e)
			}
		}
		if acmes != 3 || others != 20 {
			t.Errorf("%d signals of acme's and %d of mallory's, want 3 and 20 at once", acmes, others)
		}
	})
}

// What strangers and many tenants can make more of is bounded, and what has no room is counted
// under a name that is nobody's, and said.
func TestCountingIsBounded(t *testing.T) {
	ctx := context.Background()
	b := open(t, sqlite(t))
	var log bytes.Buffer
	c := usage.NewCounter(b, func() time.Time { return noon }, slog.New(slog.NewTextHandler(&log, nil)))
	const many = 12_000
	for i := range many {
		count(c, called(fmt.Sprint("tenant-", i), "read_customer", noon))
	}
	for i := range 100 {
		count(c, &guard.Record{At: noon.Add(time.Hour), Agent: fmt.Sprint("scanner", i), Method: "POST",
			Refused: guard.RefusedNoToken, Status: 401})
	}
	must(t, c.Flush(ctx))
	rows, err := usage.List(ctx, b, usage.Filter{Since: noon, Limit: many})
	must(t, err)
	total, other, agents := int64(0), int64(0), 0
	for _, r := range rows {
		total += r.Calls
		if r.Tenant == usage.Other {
			other += r.Calls
		}
		if r.Agent != "" {
			agents++
		}
	}
	if total != many+100 || other != 2000 || c.Overflow().Requests != 2000 || agents != 51 ||
		c.Overflow().Agents != 50 {
		t.Errorf("got %d calls, %d of others, %d agents, overflow %+v", total, other, agents, c.Overflow())
	}
	if strings.Count(log.String(), "level=WARN") != 1 {
		t.Errorf("said: %s", &log)
	}
}

// While the database does not answer nothing is lost, and nothing counted twice after.
func TestStoreAway(t *testing.T) {
	eachStore(t, func(t *testing.T, database string) {
		ctx := context.Background()
		b := open(t, database)
		c := counter(b)
		rename := func(from, to string) {
			must(t, b.Write(ctx, func(tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, "ALTER TABLE "+from+" RENAME TO "+to)
				return err
			}))
		}
		count(c, called("acme", "read_customer", noon))
		rename("usage_hours", "away")
		if err := c.Flush(ctx); err == nil {
			t.Error("got nil, want an error")
		}
		count(c, called("acme", "read_customer", noon))
		rename("away", "usage_hours")
		must(t, c.Flush(ctx))
		rows, err := usage.List(ctx, b, usage.Filter{Since: noon, Limit: 10})
		must(t, err)
		if len(rows) != 1 || rows[0].Calls != 2 || c.Overflow().Failed != 1 {
			t.Errorf("got %+v, %+v", rows, c.Overflow())
		}
	})
}

// A flush that stops in the middle neither loses nor doubles what it wrote before.
func TestHalfAFlush(t *testing.T) {
	ctx := context.Background()
	b := open(t, sqlite(t))
	c := counter(b)
	do := func(statement string) {
		must(t, b.Write(ctx, func(tx *sql.Tx) error { _, err := tx.ExecContext(ctx, statement); return err }))
	}
	const many = 1200
	for i := range many {
		count(c, called(fmt.Sprintf("tenant-%04d", i), "read_customer", noon))
	}
	do(`CREATE TRIGGER full BEFORE INSERT ON usage_hours WHEN new.tenant_id = 'tenant-1100' BEGIN SELECT ` +
		`RAISE(ABORT, 'no'); END`)
	if err := c.Flush(ctx); err == nil || c.Overflow().Pending == 0 || c.Overflow().Pending == many {
		t.Fatalf("got %v with %d waiting, want an error in the middle", err, c.Overflow().Pending)
	}
	do(`DROP TRIGGER full`)
	must(t, c.Flush(ctx))
	traffic, err := usage.TrafficSince(ctx, b, noon)
	must(t, err)
	for tenant, n := range traffic {
		if n.Passed != 1 {
			t.Errorf("%s: got %d, want 1", tenant, n.Passed)
		}
	}
	if len(traffic) != many {
		t.Errorf("got %d tenants, want %d", len(traffic), many)
	}
}

// A process that is killed loses what it counted since FlushEvery; one that is told to end loses
// nothing.
func TestWhatAnEndLoses(t *testing.T) {
	database := sqlite(t)
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		b, err := auditstore.Open(ctx, database)
		must(t, err)
		defer b.Close()
		counted := func() int64 {
			rows, err := usage.List(ctx, b, usage.Filter{Limit: 10})
			must(t, err)
			if len(rows) == 0 {
				return 0
			}
			return rows[0].Calls
		}
		c := usage.NewCounter(b, time.Now, slog.New(slog.DiscardHandler))
		work, end := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() { c.Run(work); close(ended) }()
		now := time.Now()
		count(c, called("acme", "read_customer", now))
		time.Sleep(usage.FlushEvery + time.Second) // the bubble's time, not ours
		synctest.Wait()
		if got := counted(); got != 1 {
			t.Errorf("after FlushEvery: got %d, want 1", got)
		}
		count(c, called("acme", "read_customer", now))
		if got := counted(); got != 1 {
			t.Errorf("killed now: got %d, want the 1 from before", got)
		}
		end()
		<-ended
		if got := counted(); got != 2 {
			t.Errorf("ended: got %d, want 2", got)
		}
	})
}

// BenchmarkRecord is what counting adds to a request.
func BenchmarkRecord(b *testing.B) {
	c := counter(open(b, sqlite(b)))
	r := called("acme", "read_customer", noon)
	b.ReportAllocs()
	for b.Loop() {
		count(c, r)
	}
}

// count counts a decision under the name that it has by itself, as where there is one server.
func count(c *usage.Counter, r *guard.Record) { c.Record(r, r.NameLabel()) }
