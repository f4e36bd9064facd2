package gateway_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/gateway"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo/demotest"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

func sqlite(t testing.TB) string {
	database := "sqlite:" + filepath.Join(t.TempDir(), "gateway.db")
	demotest.Migrate(t, database)
	return database
}

func setMode(t *testing.T, d *operator.Registry, m operator.ModeSpec) {
	t.Helper()
	must(t, d.SetMode(context.Background(), m))
}

// wants sends a call and demands its status.
func (g *gate) wants(status int, upstream, raw, body string, change ...func(*http.Request)) answer {
	g.t.Helper()
	a := g.post(upstream, raw, body, change...)
	if a.status != status {
		g.t.Errorf("%s at %s: got %d %s, want %d", body, upstream, a.status, a.body, status)
	}
	return a
}

// A server behind is hardened step by step, for one tenant and one server at a time: observed, with
// writes enforced, enforced; the report names who would be refused what. A tool that the tenant
// does not have, it does not have in any mode.
func TestRollout(t *testing.T) {
	for name, database := range map[string]func(*testing.T) string{
		"sqlite": func(t *testing.T) string { return sqlite(t) }, "postgres": func(t *testing.T) string {
			database := testenv.Postgres(t)
			demotest.Migrate(t, database)
			return database
		}} {
		t.Run(name, func(t *testing.T) {
			b := newBehind(t)
			off := "    tenants: {acme: [{name: slow, off: true}, {name: read_it, rename: look}]}\n"
			two := crm(b.URL, off) + strings.NewReplacer("name: crm", "name: other", "$URL/crm",
				"$URL/other").Replace(crm(b.URL))
			g := openGateOn(t, database(t), two)
			d := g.gateway.Operator()
			acme, globex, other := g.token("crm", "acme", "read"), g.token("crm", "globex", "read"),
				g.token("other", "acme", "read")

			g.wants(403, "crm", acme, call("write_it"))
			setMode(t, d, operator.ModeSpec{Tenant: "acme", Tool: "crm", Mode: "observe"})
			g.wants(200, "crm", acme, call("write_it"))
			g.wants(403, "other", other, call("write_it"))
			g.wants(403, "crm", globex, call("write_it")) // TN-08
			if got := listed(t, g.wants(200, "crm", acme, list).body); got != "look write_it unnamed" {
				t.Errorf("observed, the list has %s", got)
			}
			if got := listed(t, g.wants(200, "crm", globex, list).body); got != "read_it" {
				t.Errorf("another tenant's list has %s", got)
			}
			if a := g.wants(200, "crm", acme, call("slow")); !strings.Contains(a.body, "unknown tool") {
				t.Errorf("a tool that is off: %s", a.body)
			}
			g.wants(200, "crm", acme, call("look"))

			r, err := d.Report(context.Background(), operator.ReportQuery{Tenant: "acme"})
			must(t, err)
			if len(r.Tenants) != 1 || r.Tenants[0].Safe || r.Tenants[0].Writes || len(r.Tenants[0].Refused) != 1 ||
				r.Tenants[0].Refused[0].Name != "crm/write_it" || r.Tenants[0].Refused[0].Lacking != "write" {
				t.Errorf("the report: %+v", r.Tenants)
			}
			setMode(t, d, operator.ModeSpec{Tenant: "acme", Tool: "crm", Mode: "enforce_writes"})
			g.wants(403, "crm", acme, call("write_it"))
			setMode(t, d, operator.ModeSpec{Tenant: "acme", Tool: "crm/write_it", Mode: "observe"})
			g.wants(200, "crm", acme, call("write_it"))
			setMode(t, d, operator.ModeSpec{Tenant: "acme", Tool: "crm/write_it", Mode: "enforce"})
			g.wants(403, "crm", acme, call("write_it"))

			for _, wrong := range []operator.ModeSpec{
				{Tenant: "acme", Tool: "crm/nothing", Mode: "observe"},
				{Tenant: "acme", Tool: "write_it", Mode: "observe"}, {Anonymous: true, Mode: "observe"},
				{Tenant: "acme", Mode: "lenient"},
			} {
				var refused *operator.Error
				if err := d.SetMode(context.Background(), wrong); !errors.As(err, &refused) {
					t.Errorf("%+v: got %v, want a refusal", wrong, err)
				}
			}
			rows, err := d.Usage(context.Background(), operator.UsageQuery{Since: time.Now().Add(-time.Hour)})
			must(t, err)
			for _, want := range []string{"acme tools/call crm/write_it observed 2",
				"acme tools/call other/write_it refused 1", "globex tools/list crm ok 1",
				"acme tools/call crm/look ok 1"} {
				if !slices.ContainsFunc(rows, func(u operator.UsageRow) bool {
					n := string(rune('0' + u.Calls))
					return strings.Join([]string{u.Tenant, u.Method, u.Name, u.Outcome, n}, " ") == want
				}) {
					t.Errorf("usage has no %q: %+v", want, rows)
				}
			}
			w := httptest.NewRecorder()
			g.gateway.Metrics().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
			want := `gatehouse_decisions_total{method="tools/call",outcome="observed",tenant="acme",` +
				`tool="crm/write_it"} 2`
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("metrics have no %s: %s", want, w.Body)
			}
		})
	}
}

// Who shows no good token passes as nobody, where the operator says so: nobody is vouched for, and
// no process is started for them.
func TestNobody(t *testing.T) {
	b := newBehind(t)
	command := "  - name: program\n    resource: $URL/program\n    command: [cat]\n    tools: [{name: \"*\"}]\n"
	g := openGateOn(t, sqlite(t), crm(b.URL)+command, "insecure_allow_anonymous: true\n")
	d := g.gateway.Operator()
	g.wants(401, "crm", "", call("read_it"))
	setMode(t, d, operator.ModeSpec{Tenant: operator.Everyone, Mode: "observe"})
	g.wants(401, "crm", "", call("read_it"))
	setMode(t, d, operator.ModeSpec{Anonymous: true, Mode: "observe"})
	expired := g.issuer.Claims(g.url+"/crm", "read", "write")
	expired.Expires = time.Now().Add(-time.Hour).Unix()
	for name, raw := range map[string]string{"no token": "", "an expired token": g.issuer.Sign(expired),
		"another server's": g.token("program", "acme", "read")} {
		g.wants(200, "crm", raw, call("read_it"))
		if h := b.last(t).header; h.Get("Gatehouse-Caller") != "" || h.Get("Authorization") != "" {
			t.Errorf("%s: the server got %v", name, h)
		}
		g.wants(401, "program", raw, call("read_it"), func(r *http.Request) {
			if name == "another server's" {
				r.Header.Set("Authorization", "Bearer "+g.token("crm", "acme", "read"))
			}
		})
	}
	// All of them would have the same events: none takes up a stream where it was.
	b.answers(func(w http.ResponseWriter, r *http.Request, _ string) {
		w.Header().Set("Mcp-Session-Id", "inner-session")
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "id: 1\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n")
	})
	opened := g.post("crm", "",
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},`+
			`"clientInfo":{"name":"x","version":"1"}}}`)
	_, event, _ := strings.Cut(opened.body, "id: ")
	event, _, _ = strings.Cut(event, "\n")
	got := g.send("GET", "crm", "", "", func(r *http.Request) {
		r.Header.Set("Mcp-Session-Id", opened.header.Get("Mcp-Session-Id"))
		r.Header.Set("Last-Event-Id", event)
	})
	if at := b.last(t); got.status != 200 || !strings.HasPrefix(event, "1.") || at.method != "GET" ||
		at.header.Get("Last-Event-Id") != "" {
		t.Errorf("nobody takes up %q: %d, and the server got %v", event, got.status, at.header)
	}
	setMode(t, d, operator.ModeSpec{Anonymous: true, Mode: "enforce"})
	g.wants(401, "crm", "", call("read_it"))
}

// An operator learns why a caller sees a tool of a server behind, or does not; the command reads
// the same file and database as the gateway that runs.
func TestExplain(t *testing.T) {
	b := newBehind(t)
	database := sqlite(t)
	g := openGateOn(t, database,
		crm(b.URL, "    tenants: {acme: [{name: slow, off: true}, {name: read_it, rename: look}]}\n"),
		"insecure_ignore_revocations: true\n")
	door, shut, err := gateway.OpenOperator(context.Background(), g.file, gateway.Deps{Database: database})
	must(t, err)
	defer shut()
	setMode(t, door, operator.ModeSpec{Tenant: "globex", Tool: "crm/write_it", Mode: "observe"})
	why := func(a operator.ExplainQuery) map[string]operator.ToolExplained {
		t.Helper()
		e, err := door.Explain(context.Background(), a)
		must(t, err)
		all := map[string]operator.ToolExplained{}
		for _, x := range e.Tools {
			all[x.Name] = x
		}
		return all
	}
	acme := why(operator.ExplainQuery{Token: g.token("crm", "acme", "read")})
	if x := acme["crm/look"]; !x.Passes || !strings.Contains(x.Why, "the scopes are there") {
		t.Errorf("a renamed tool: %+v", acme)
	}
	if _, ok := acme["crm/read_it"]; ok {
		t.Errorf("a renamed tool under its old name: %+v", acme)
	}
	if x := acme["crm/slow"]; x.Passes || x.Listed || !strings.Contains(x.Why, "off for this tenant") {
		t.Errorf("a tool that is off: %+v", x)
	}
	if x := acme["crm/write_it"]; x.Passes || !strings.Contains(x.Why, "lacks write: a call is refused") {
		t.Errorf("a tool beyond the scopes: %+v", x)
	}
	globex := why(operator.ExplainQuery{Tenant: "globex", Client: "cli_x", Scopes: []string{"read"}})
	if x := globex["crm/write_it"]; !x.Passes ||
		!strings.Contains(x.Why, "does not count yet (mode observe, set for this tool of tenant globex)") {
		t.Errorf("an observed tool: %+v", x)
	}
	var refused *operator.Error
	if _, err := door.Explain(context.Background(), operator.ExplainQuery{Token: "nonsense"}); !errors.As(err,
		&refused) || strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a token that is none: %v", err)
	}
}

// While the database does not answer, the modes hold for a moment and then all rules count; calls
// go on.
func TestDatabaseGone(t *testing.T) {
	b := newBehind(t)
	g := openGateOn(t, sqlite(t), crm(b.URL))
	setMode(t, g.gateway.Operator(), operator.ModeSpec{Tenant: "acme", Mode: "observe"})
	raw := g.token("crm", "acme", "read")
	g.wants(200, "crm", raw, call("write_it"))
	g.later(11 * time.Second) // nothing reads the modes anew here
	g.wants(403, "crm", raw, call("write_it"))
	g.wants(200, "crm", raw, call("read_it"))
}

// A mode goes by the name that clients use. Under the server's own name, that of a renamed tool was
// taken and counted for nothing; under its clients' name it was refused.
func TestAModeOfARenamedTool(t *testing.T) {
	b := newBehind(t)
	g := openGateOn(t, sqlite(t),
		crm(b.URL, "    tenants: {acme: [{name: write_it, rename: schreiben}, {name: slow, off: true}]}\n"))
	d := g.gateway.Operator()
	raw := g.token("crm", "acme", "read")
	setMode(t, d, operator.ModeSpec{Tenant: "acme", Mode: "observe"})
	g.wants(200, "crm", raw, call("schreiben"))
	var refused *operator.Error
	err := d.SetMode(context.Background(), operator.ModeSpec{Tenant: "acme", Tool: "crm/write_it", Mode: "enforce"})
	if !errors.As(err, &refused) || !strings.Contains(refused.Hint, "crm/schreiben") {
		t.Errorf("the server's own name: %v, want the clients' as a hint", err)
	}
	setMode(t, d, operator.ModeSpec{Tenant: "acme", Tool: "crm/schreiben", Mode: "enforce"})
	g.wants(403, "crm", raw, call("schreiben"))
	// Others know it by its own name, and by no other.
	setMode(t, d, operator.ModeSpec{Tenant: "globex", Tool: "crm/write_it", Mode: "observe"})
	g.wants(200, "crm", g.token("crm", "globex", "read"), call("write_it"))
	for _, wrong := range []string{"crm/schreiben", "crm/", "crm/*", "crm/write_*", "*"} {
		for _, tenant := range []string{"globex", operator.Everyone} {
			if err := d.SetMode(context.Background(),
				operator.ModeSpec{Tenant: tenant, Tool: wrong, Mode: "enforce"}); !errors.As(err, &refused) {
				t.Errorf("%s for %s: %v, want a refusal", wrong, tenant, err)
			}
		}
	}
}

// A tool that a rule with a star alone opens is in the report when somebody has set a mode for it,
// and what the rule says is in what explain says. The report said that all is enforced.
func TestToolsThatAStarOpens(t *testing.T) {
	b := newBehind(t)
	stars := strings.Replace(crm(b.URL), "    resources:",
		"      - {name: \"foo_*\", scopes: [write]}\n      - {name: \"foo_a*\", scopes: [read]}\n    resources:", 1)
	g := openGateOn(t, sqlite(t), stars)
	d := g.gateway.Operator()
	enforced := func(tenant string) bool {
		t.Helper()
		r, err := d.Report(context.Background(), operator.ReportQuery{Tenant: tenant})
		must(t, err)
		return r.Tenants[0].Enforced
	}
	setMode(t, d, operator.ModeSpec{Tenant: "acme", Mode: "enforce"})
	if !enforced("acme") || !enforced("globex") {
		t.Error("before: not all is enforced")
	}
	setMode(t, d, operator.ModeSpec{Tenant: "acme", Tool: "crm/foo_bar", Mode: "observe"})
	g.wants(200, "crm", g.token("crm", "acme", "read"), call("foo_bar"))
	if enforced("acme") || !enforced("globex") {
		t.Error("a tool of acme's is observed, and the report says otherwise, or says it of globex")
	}
	setMode(t, d, operator.ModeSpec{Tenant: "acme", Tool: "crm/foo_bar", Mode: "enforce"})
	setMode(t, d, operator.ModeSpec{Tenant: operator.Everyone, Tool: "crm/foo_baz", Mode: "observe"})
	if !enforced("acme") || enforced("globex") { // acme has a mode of its own for everything
		t.Error("a tool of everybody's is observed, and the report says otherwise")
	}
	e, err := d.Explain(context.Background(), operator.ExplainQuery{Tenant: "globex", Client: "cli_x",
		Scopes: []string{"read"}})
	must(t, err)
	if i := slices.IndexFunc(e.Tools, func(x operator.ToolExplained) bool { return x.Name == "crm/foo_*" }); i < 0 ||
		e.Tools[i].Passes || !strings.Contains(e.Tools[i].Why, "lacks write") {
		t.Errorf("explain says %+v, want a row for foo_*", e.Tools)
	}
	if slices.ContainsFunc(e.Tools, func(x operator.ToolExplained) bool { return x.Name == "crm/foo_a*" }) {
		t.Errorf("explain says %+v, and no tool comes to the rule for foo_a*", e.Tools)
	}
}
