package calls_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/auditstore"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/calls"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo/demotest"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
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

// store is a database in which calls are recorded.
type store struct {
	t        *testing.T
	database string
	book     *auditstore.DB
	said     *testenv.Book
}

func eachStore(t *testing.T, test func(s *store)) {
	for dialect, place := range map[string]func(testing.TB) string{
		"sqlite":   func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "companion.db") },
		"postgres": testenv.Postgres,
	} {
		t.Run(dialect, func(t *testing.T) {
			s := &store{t: t, database: place(t), said: &testenv.Book{}}
			demotest.Migrate(t, s.database)
			s.book = s.connect()
			test(s)
		})
	}
}

// connect opens the database once more, as another process does.
func (s *store) connect() *auditstore.DB {
	b, err := auditstore.Open(context.Background(), s.database)
	must(s.t, err)
	s.t.Cleanup(func() { b.Close() })
	return b
}

func (s *store) open(b *auditstore.DB) *calls.Log {
	l := calls.New(context.Background(), b, true, time.Now, slog.New(slog.NewTextHandler(s.said, nil)))
	s.t.Cleanup(l.Close)
	return l
}

// exec changes the database behind the log's back.
func (s *store) exec(statement string) {
	s.t.Helper()
	must(s.t, s.book.Write(context.Background(), func(tx *sql.Tx) error { _, err := tx.Exec(statement); return err }))
}

// records are those of the chain, which must be whole, the oldest first.
func (s *store) records() []audit.Record {
	s.t.Helper()
	ctx := context.Background()
	for n := 1; n > 0; {
		var err error
		n, err = s.book.Calls().Seal(ctx)
		must(s.t, err)
	}
	w, err := s.book.Calls().Verify(ctx, chain.Walk{})
	must(s.t, err)
	if w.Finding != nil || w.Waiting != 0 {
		s.t.Fatalf("the chain: %+v %+v", w, w.Finding)
	}
	all, err := s.book.Calls().List(ctx, audit.Filter{Limit: 1 << 20})
	must(s.t, err)
	for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
		all[i], all[j] = all[j], all[i]
	}
	return all
}

// eventually waits for something that happens in the background.
func (s *store) eventually(what string, is func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not within 30 seconds", what)
		}
	}
}

// call is the record of a call by ann.
func (s *store) call(tool string, change ...func(*guard.Record)) *guard.Record {
	r := &guard.Record{
		At: time.Now(), Caller: mcp.Caller{Subject: "usr_ann", TenantID: "acme", ClientID: "cli_1", GrantID: "grt_1"},
		Passed: true, Status: 200,
		Duration: 1500 * time.Microsecond, Arguments: "a-hash",
		Decision: guard.Decision{Kind: guard.KindTool, Name: tool, Rule: tool, Allowed: true},
	}
	for _, f := range change {
		f(r)
	}
	return r
}

func writes(r *guard.Record) { r.Decision.Write, r.CallID = true, "CALL" }

func refused(r *guard.Record) { r.Passed, r.Refused, r.Status = false, "insufficient_scope", 403 }

// Each call is a record of the chain: who, by which client and grant, which tool, what became of
// it, which arguments and how long.
func TestEachCallIsARecordOfTheChain(t *testing.T) {
	eachStore(t, func(s *store) {
		l := s.open(s.book)
		rows := []struct {
			record                         *guard.Record
			actor, outcome, detail, client string
		}{
			{s.call("read_it"), "user:usr_ann", audit.OK, "arguments=a-hash took=1.5ms", "cli_1"},
			{s.call("no_arguments", func(r *guard.Record) { r.Arguments = "" }), "user:usr_ann", audit.OK, "took=1.5ms",
				"cli_1"},
			{s.call("refused", refused), "user:usr_ann", audit.Refused,
				"arguments=a-hash took=1.5ms reason=insufficient_scope", "cli_1"},
			{s.call("observed", func(r *guard.Record) { r.Refused = "insufficient_scope" }), "user:usr_ann",
				audit.Observed, "arguments=a-hash took=1.5ms reason=insufficient_scope", "cli_1"},
			{s.call("failed", func(r *guard.Record) { r.Status = 502 }), "user:usr_ann", audit.Failed,
				"arguments=a-hash took=1.5ms reason=status 502", "cli_1"},
			{s.call("tool", func(r *guard.Record) { r.Failure = "isError" }), "user:usr_ann", audit.Failed,
				"arguments=a-hash took=1.5ms reason=isError", "cli_1"},
			{s.call("code", func(r *guard.Record) { r.Status, r.Failure = 400, "error -32602" }), "user:usr_ann",
				audit.Failed, "arguments=a-hash took=1.5ms reason=error -32602", "cli_1"},
			{s.call("behind", func(r *guard.Record) { r.Behind = "over its bound" }), "user:usr_ann", audit.Refused,
				"arguments=a-hash took=1.5ms reason=over its bound", "cli_1"},
			{s.call("write", writes), "user:usr_ann", audit.OK, "call=CALL arguments=a-hash took=1.5ms", "cli_1"},
			{s.call("machine", func(r *guard.Record) { r.Caller.Subject = "cli_1" }), "client:cli_1", audit.OK,
				"arguments=a-hash took=1.5ms", "cli_1"},
			{s.call("nobody", func(r *guard.Record) { r.Caller, r.Address = mcp.Caller{}, "192.0.2.1" }),
				"address:192.0.2.1", audit.OK, "arguments=a-hash took=1.5ms", ""},
		}
		for _, row := range rows {
			l.Record(row.record, row.record.Decision.Name)
		}
		l.Record(s.call("no tool", func(r *guard.Record) { r.Decision.Kind = guard.KindPrompt }), "no tool")
		l.Close()
		got := s.records()
		if len(got) != len(rows) {
			t := s.t
			t.Fatalf("got %d records, want %d: %+v", len(got), len(rows), got)
		}
		for i, row := range rows {
			r := got[i]
			if r.Actor != row.actor || r.Action != calls.ActionCall || r.Target != row.record.Decision.Name ||
				r.Outcome != row.outcome || r.Detail != row.detail ||
				r.Client != row.client || r.Grant != row.record.Caller.GrantID ||
				r.Tenant != row.record.Caller.TenantID || r.Seq != int64(i+1) {
				s.t.Errorf("%s: got %+v", row.record.Decision.Name, r)
			}
		}
		for filter, want := range map[audit.Filter]int{{User: "usr_ann"}: 9, {Client: "cli_1"}: 10, {Tool: "write"}: 1,
			{Tool: "write", Client: "cli_2"}: 0, {Action: "tool", Outcome: audit.Observed}: 1, {Tenant: "globex"}: 0} {
			found, err := s.book.Calls().List(context.Background(), filter)
			must(s.t, err)
			if len(found) != want {
				s.t.Errorf("%+v: got %d records, want %d", filter, len(found), want)
			}
		}
	})
}

// A call that changes something has its record when Begin returns: whatever happens then, it is
// there.
func TestAWriteHasItsRecordBeforeItGoesOn(t *testing.T) {
	eachStore(t, func(s *store) {
		l := s.open(s.book)
		var callers sync.WaitGroup
		for i := range 40 {
			callers.Go(func() {
				r := s.call(fmt.Sprint("write_", i), writes)
				if err := l.Begin(context.Background(), r, r.Decision.Name); err != nil {
					s.t.Error(err)
					return
				}
				found, err := s.book.Calls().List(context.Background(), audit.Filter{Tool: r.Decision.Name})
				if err != nil || len(found) != 1 || found[0].Action != calls.ActionBegin || found[0].Seq == 0 ||
					found[0].Detail != "call=CALL arguments=a-hash" {
					s.t.Errorf("got %+v %v, want the sealed record of the call", found, err)
				}
			})
		}
		callers.Wait()
		s.records()
	})
}

// While the store is down, calls that change something are refused, records of others wait or are
// counted, and the log and the chain say so afterwards, once.
func TestWhenTheStoreIsDownWritesAreRefusedAndReadsAreCounted(t *testing.T) {
	eachStore(t, func(s *store) {
		ctx := context.Background()
		l := s.open(s.book)
		must(s.t, l.Begin(ctx, s.call("before", writes), "before"))
		s.exec("ALTER TABLE companion_calls_records RENAME TO taken_away")
		l.Record(s.call("read_0"), "read_0")
		s.eventually("the failure is seen", func() bool { return l.State().Down })
		for range 3 {
			began := time.Now()
			if err := l.Begin(ctx, s.call("write", writes), "write"); err == nil {
				s.t.Error("a write passes without a record")
			} else if time.Since(began) > time.Second {
				s.t.Errorf("it waited %s for a store that is known to be down", time.Since(began))
			}
		}
		const reads = 6000
		for range reads {
			l.Record(s.call("read"), "read")
		}
		st := l.State()
		if st.Unrecorded != 3 || st.Lost == 0 || st.Lost > reads-3000 || st.Waiting > 4096 {
			s.t.Errorf("while it is down: %+v", st)
		}
		lost := st.Lost
		s.exec("ALTER TABLE taken_away RENAME TO companion_calls_records")
		s.eventually("it is written again", func() bool { st := l.State(); return !st.Down && st.Waiting == 0 })
		must(s.t, l.Begin(ctx, s.call("after", writes), "after"))
		l.Close()
		got, gaps := s.records(), 0
		for _, r := range got {
			if r.Action == calls.ActionGap {
				gaps++
				if !strings.Contains(r.Detail, fmt.Sprintf("%d records of calls since ", lost)) ||
					r.Actor != "system" || r.Outcome != audit.Failed {
					s.t.Errorf("the gap says %+v", r)
				}
			}
		}
		if gaps != 1 || int64(len(got)) != 1+1+reads-lost+1+1 {
			s.t.Errorf("got %d records with %d gaps, want one gap and all but %d reads", len(got), gaps, lost)
		}
		if n := strings.Count(s.said.String(), "cannot be written"); n != 1 {
			s.t.Errorf("the outage is said %d times:\n%s", n, s.said)
		}
	})
}

// A store that hangs does not hold a write for longer than a few seconds, and the write does not go
// on.
func TestAStoreThatHangsRefusesWrites(t *testing.T) {
	eachStore(t, func(s *store) {
		l := s.open(s.book)
		holding, let := make(chan struct{}), make(chan struct{})
		var holder sync.WaitGroup
		holder.Go(func() {
			must(s.t, s.connect().Write(context.Background(), func(tx *sql.Tx) error {
				_, err := tx.Exec("UPDATE companion_calls_head SET seq = seq WHERE id = 1")
				close(holding)
				<-let
				return err
			}))
		})
		<-holding
		began := time.Now()
		if err := l.Begin(context.Background(), s.call("write", writes), "write"); err == nil ||
			time.Since(began) > 20*time.Second {
			s.t.Errorf("got %v after %s, want an error within some seconds", err, time.Since(began))
		}
		close(let)
		holder.Wait()
		s.eventually("it is written again",
			func() bool { return l.Begin(context.Background(), s.call("again", writes), "again") == nil })
	})
}

// A process that was killed is named in the chain by the next, once, whichever of several finds it;
// one that was stopped in order is not.
func TestAKilledProcessLeavesARecordOfThePossibleGap(t *testing.T) {
	eachStore(t, func(s *store) {
		s.open(s.book).Close()
		s.open(s.book).Close()
		if got := s.records(); len(got) != 0 {
			s.t.Fatalf("stopped in order: %+v", got)
		}
		s.exec("INSERT INTO call_runs (id, began_at, alive_at) VALUES ('killed', 1000, 2000)")
		var next sync.WaitGroup
		for range 4 {
			b := s.connect()
			next.Go(func() { s.open(b) })
		}
		next.Wait()
		got := s.records()
		named := 0
		for _, r := range got {
			if r.Action == calls.ActionGap && strings.Contains(r.Detail, "began at 1970-01-01T00:16:40Z") {
				named++
			}
		}
		if named != 1 {
			s.t.Errorf("the killed process is named %d times: %+v", named, got)
		}
	})
}

// A tenant's records may be of refusals and of what changes something alone; another tenant's are
// not touched by that.
func TestATenantMayKeepRefusalsAndWritesOnly(t *testing.T) {
	eachStore(t, func(s *store) {
		ctx := context.Background()
		l, other := s.open(s.book), s.open(s.connect())
		if err := l.Set(ctx, calls.Setting{Tenant: "acme", Keep: "nothing"}, "operator"); err == nil {
			s.t.Error("a setting that is none is kept")
		}
		must(s.t, l.Set(ctx, calls.Setting{Tenant: "acme", Keep: calls.KeepRefusalsAndWrites}, "operator"))
		globex := func(r *guard.Record) { r.Caller.TenantID = "globex" }
		count := func(l *calls.Log, want string) {
			s.t.Helper()
			before := len(s.records())
			l.Record(s.call("read"), "read")
			l.Record(s.call("refused", refused), "refused")
			l.Record(s.call("observed", func(r *guard.Record) { r.Refused = "insufficient_scope" }), "observed")
			l.Record(s.call("behind", func(r *guard.Record) { r.Behind = "a bound" }), "behind")
			l.Record(s.call("write", writes), "write")
			l.Record(s.call("globex", globex), "globex")
			must(s.t, l.Begin(ctx, s.call("last", writes), "last")) // all before it are written
			var names []string
			for _, r := range s.records()[before:] {
				names = append(names, r.Target)
			}
			if got := strings.Join(names, " "); got != want {
				s.t.Errorf("kept %s, want %s", got, want)
			}
		}
		count(l, "refused observed behind write globex last")
		must(s.t, other.Refresh(ctx))
		count(other, "refused observed behind write globex last")
		must(s.t, l.Set(ctx, calls.Setting{Tenant: "*", Keep: calls.KeepRefusalsAndWrites}, "operator"))
		count(l, "refused observed behind write last")
		must(s.t, l.Set(ctx, calls.Setting{Tenant: "acme", Keep: calls.KeepAll}, "operator"))
		count(l, "read refused observed behind write last")
		lines, err := s.book.Events(ctx, audit.Filter{Action: "calls.set"})
		must(s.t, err)
		if len(lines) != 3 {
			s.t.Errorf("got %d audit lines of the settings, want 3", len(lines))
		}
	})
}
