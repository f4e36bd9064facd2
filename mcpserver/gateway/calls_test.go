package gateway_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo/demotest"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// records are those of calls through the gateway, when there are so many, by tool and outcome.
// Their chain must be whole.
func (g *gate) records(enough int) map[string]int {
	g.t.Helper()
	ask := func(act, arguments string, into any) {
		g.t.Helper()
		answer, err := g.gateway.Operator().Commands()[act](context.Background(), json.RawMessage(arguments))
		must(g.t, err)
		text, err := json.Marshal(answer)
		must(g.t, err)
		must(g.t, json.Unmarshal(text, into))
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var found []audit.Record
		ask("calls.list", `{"Limit":1000}`, &found)
		if len(found) < enough {
			if time.Now().After(deadline) {
				g.t.Fatalf("got %d records, want %d: %+v", len(found), enough, found)
			}
			continue
		}
		var w chain.Walked
		ask("calls.verify", `{}`, &w)
		if w.Finding != nil {
			g.t.Fatalf("the chain of calls: %+v", w.Finding)
		}
		count := map[string]int{}
		for _, r := range found {
			if r.Actor != "user:usr_acme" || r.Grant != "grt_acme" || r.Tenant != "acme" ||
				!strings.Contains(r.Detail, "arguments=") {
				g.t.Errorf("got %+v", r)
			}
			count[r.Action+" "+r.Target+" "+r.Outcome]++
		}
		return count
	}
}

// Each call through a gateway is in its sealed chain: also those that its bounds, budgets and views
// refuse after the rules have let them pass.
func TestEachCallThroughTheGatewayIsProvable(t *testing.T) {
	for name, database := range map[string]func(testing.TB) string{"sqlite": sqlite,
		"postgres": func(t testing.TB) string {
			database := testenv.Postgres(t)
			demotest.Migrate(t, database)
			return database
		}} {
		t.Run(name, func(t *testing.T) {
			b := newBehind(t)
			g := openGateOn(t, database(t), crm(b.URL, `    tenants:
      acme:
        - {name: slow, off: true}
        - {name: read_it, rename: look, arguments: {a: {maximum: 1}}}
        - {name: write_it, calls_per_hour: 1}
`))
			raw := g.token("crm", "acme", "read", "write")
			for i, row := range []struct {
				raw, body string
				want      int
			}{
				{raw, call("look"), 200}, {raw, strings.ReplaceAll(call("look"), `"a":1`, `"a":2`), 0},
				{raw, call("slow"), 0},
				{raw, call("write_it"), 200}, {raw, call("write_it"), http.StatusTooManyRequests},
				{g.token("crm", "acme", "read"), call("write_it"), http.StatusForbidden},
			} {
				if a := g.post("crm", row.raw, row.body); row.want != 0 && a.status != row.want || row.want == 0 &&
					!strings.Contains(a.body, `"error"`) {
					t.Errorf("call %d: got %d %s, want %d", i, a.status, a.body, row.want)
				}
			}
			got := g.records(8)
			want := map[string]int{
				"tool.call crm/look ok": 1, "tool.call crm/look refused": 1, "tool.call crm/slow refused": 1,
				"tool.begin crm/write_it ok": 2, "tool.call crm/write_it ok": 1,
				"tool.call crm/write_it refused": 2,
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// A call that the tool says has failed is recorded as failed, also in a stream and with status 200.
func TestACallThatFailsBehindTheGatewayIsRecordedAsFailed(t *testing.T) {
	b := newBehind(t)
	g := openGateOn(t, sqlite(t), crm(b.URL))
	raw := g.token("crm", "acme", "read", "write")
	for _, message := range []string{`"result":{"content":[],"isError":true}`,
		`"error":{"code":-32602,"message":"no"}`} {
		for _, stream := range []bool{false, true} {
			b.answers(func(w http.ResponseWriter, _ *http.Request, _ string) {
				text := `{"jsonrpc":"2.0","id":7,` + message + `}`
				w.Header().Set("Content-Type", "application/json")
				if stream {
					w.Header().Set("Content-Type", "text/event-stream")
					text = "data: " + text + "\n\n"
				}
				io.WriteString(w, text)
			})
			if a := g.post("crm", raw, call("read_it")); a.status != 200 || !strings.Contains(a.body, message) {
				t.Errorf("got %d %s", a.status, a.body)
			}
		}
	}
	if got, want := fmt.Sprint(g.records(4)),
		fmt.Sprint(map[string]int{"tool.call crm/read_it failed": 4}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// The same arguments have the same name in records after a restart, and another key makes other
// names.
func TestArgumentsHaveOneNameAfterARestart(t *testing.T) {
	database := sqlite(t)
	names := map[string]int{}
	t.Setenv("GATEWAY_TEST_ARGUMENTS", strings.Repeat("k", 32))
	for i, more := range []string{"", "", "arguments_key: {env: GATEWAY_TEST_ARGUMENTS}\n"} {
		g := openGateOn(t, database, crm(newBehind(t).URL), more)
		if a := g.post("crm", g.token("crm", "acme", "read"), call("read_it")); a.status != 200 {
			t.Fatalf("got %d %s", a.status, a.body)
		}
		g.records(i + 1)
		must(t, g.gateway.Close())
		for _, word := range strings.Fields(g.log.String()) {
			if name, ok := strings.CutPrefix(word, "arguments="); ok {
				names[name]++
			}
		}
	}
	if len(names) != 2 {
		t.Errorf("the arguments have the names %v, want one of two starts and one of the other key's", names)
	}
}

// A write whose record cannot be written does not reach the server behind.
func TestAGatewayPassesNoWriteOnThatCannotBeRecorded(t *testing.T) {
	b := newBehind(t)
	database := sqlite(t)
	g := openGateOn(t, database, crm(b.URL))
	db, err := sql.Open("sqlite", "file:"+strings.TrimPrefix(database, "sqlite:")+"?_pragma=busy_timeout(10000)")
	must(t, err)
	defer db.Close()
	_, err = db.Exec("CREATE TRIGGER broken BEFORE INSERT ON companion_calls_records BEGIN SELECT RAISE(ABORT, 'the " +
		"disk is full'); END")
	must(t, err)
	before := b.count()
	a := g.post("crm", g.token("crm", "acme", "read", "write"), call("write_it"))
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || b.count() != before {
		t.Errorf("a write: got %d %s, and %d requests came to the server behind", a.status, a.body, b.count()-before)
	}
	if a := g.post("crm", g.token("crm", "acme", "read"), call("read_it")); a.status != 200 {
		t.Errorf("a read: got %d %s", a.status, a.body)
	}
	_, err = db.Exec("DROP TRIGGER broken")
	must(t, err)
}
