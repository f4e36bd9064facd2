package mcpserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo/demotest"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

const update = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"update_customer",` +
	`"arguments":{"customer_id":"cus_acme_1001","name":"X"}}}`

// act does an act of the operator's, and reads its answer.
func act[T any](t *testing.T, o *operator.Registry, name string, arguments any) (T, error) {
	t.Helper()
	encoded, err := json.Marshal(arguments)
	must(t, err)
	var out T
	answer, err := o.Commands()[name](context.Background(), encoded)
	if err != nil {
		return out, err
	}
	encoded, err = json.Marshal(answer)
	must(t, err)
	must(t, json.Unmarshal(encoded, &out))
	return out, nil
}

func set(t *testing.T, o *operator.Registry, m operator.ModeSpec) {
	t.Helper()
	_, err := act[any](t, o, "rollout.set", m)
	must(t, err)
}

func report(t *testing.T, o *operator.Registry, a operator.ReportQuery) operator.Report {
	t.Helper()
	r, err := act[operator.Report](t, o, "rollout.report", a)
	must(t, err)
	return r
}

func onPostgres(t *testing.T) func(*mcpserver.Config) {
	database := testenv.Postgres(t)
	demotest.Migrate(t, database)
	return func(c *mcpserver.Config) { c.Database = database }
}

// A tenant is hardened step by step: observed, then with writes enforced, then all; the report
// names who would be refused what, and when it is safe. Nothing of it reaches another tenant.
func TestRollout(t *testing.T) {
	for name, change := range map[string]func(*testing.T) func(*mcpserver.Config){
		"sqlite":   func(*testing.T) func(*mcpserver.Config) { return func(*mcpserver.Config) {} },
		"postgres": onPostgres,
	} {
		t.Run(name, func(t *testing.T) {
			w := openWing(t, change(t))
			o := w.server.Operator()
			acme, globex := w.token("acme", "knowledge:read"), w.token("globex", "knowledge:read")
			status := func(raw, body string, want int) string {
				t.Helper()
				got, answer := w.post(raw, body)
				if got != want {
					t.Errorf("got %d %s, want %d", got, answer, want)
				}
				return answer
			}
			read := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_customer",` +
				`"arguments":{"customer_id":"cus_acme_1001"}}}`
			status(acme, update, 403)
			set(t, o, operator.ModeSpec{Tenant: "acme", Mode: "observe"})
			status(acme, update, 200)
			if answer := status(acme, read, 200); !strings.Contains(answer, "cus_acme_1001") {
				t.Errorf("observed: got %s", answer)
			}
			if n := strings.Count(status(acme, list, 200), `"inputSchema"`); n != 4 {
				t.Errorf("observed: %d tools are listed, want all", n)
			}
			status(globex, update, 403) // TN-08: acme's mode is acme's
			if n := strings.Count(status(globex, list, 200), `"inputSchema"`); n != 1 {
				t.Errorf("another tenant: %d tools are listed, want 1", n)
			}
			status(w.issuer.Sign(w.issuer.Claims("https://other.example/mcp", allScopes...)), read, 401)

			r := report(t, o, operator.ReportQuery{Tenant: "acme"})
			if len(r.Tenants) != 1 || r.Tenants[0].Safe || r.Tenants[0].Enforced || len(r.Tenants[0].Why) != 2 ||
				len(r.Tenants[0].Refused) != 2 {
				t.Fatalf("observed: got %+v", r)
			}
			for _, row := range r.Tenants[0].Refused {
				if row.Tenant != "acme" || row.Client == "" || row.Calls != 1 || row.Reason != "insufficient_scope" ||
					row.Lacking != map[string]string{"update_customer": "customers:write",
						"read_customer": "customers:read"}[row.Name] {
					t.Errorf("would be refused: %+v", row)
				}
			}
			set(t, o, operator.ModeSpec{Tenant: "acme", Mode: "enforce_writes"})
			status(acme, update, 403)
			status(acme, read, 200)
			set(t, o, operator.ModeSpec{Tenant: "acme", Tool: "update_customer", Mode: "observe"})
			status(acme, update, 200)
			set(t, o, operator.ModeSpec{Tenant: "acme", Tool: "update_customer", Mode: "enforce"})
			set(t, o, operator.ModeSpec{Tenant: "acme", Mode: "enforce"})
			status(acme, update, 403)
			status(acme, read, 403)
			if r := report(t, o, operator.ReportQuery{Tenant: "acme"}); !r.Tenants[0].Enforced || !r.Tenants[0].Safe {
				t.Errorf("enforced: got %+v", r.Tenants)
			}
		})
	}
}

// It is safe to enforce when there was traffic, all of it would pass, and it was watched for long
// enough; nothing else is.
func TestWhenItIsSafe(t *testing.T) {
	w := openWing(t)
	o := w.server.Operator()
	says := func(within time.Duration, safe bool, why string) {
		t.Helper()
		r := report(t, o, operator.ReportQuery{Tenant: "acme", Within: within}).Tenants[0]
		if r.Safe != safe || !strings.Contains(strings.Join(r.Why, "; "), why) {
			t.Errorf("got safe %v, %q, want %v and %q", r.Safe, r.Why, safe, why)
		}
	}
	set(t, o, operator.ModeSpec{Tenant: "acme", Mode: "observe"})
	says(time.Nanosecond, false, "nothing is known")
	w.post(w.token("acme", allScopes...), list)
	says(time.Hour, false, "observed only since")
	says(time.Nanosecond, true, "") // since this very second
	read := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_customer",` +
		`"arguments":{"customer_id":"cus_acme_1001"}}}`
	w.post(w.token("acme", "knowledge:read"), read)
	says(time.Nanosecond, false, "1 requests would have been refused, the last at")
	if r := report(t, o, operator.ReportQuery{Tenant: "acme", Within: time.Nanosecond}).Tenants[0]; !r.Writes {
		t.Errorf("only a read would be refused: got %+v, want writes to be safe", r)
	}
	w.post(w.token("acme", "knowledge:read"), update)
	if r := report(t, o, operator.ReportQuery{Tenant: "acme", Within: time.Nanosecond}).Tenants[0]; r.Writes {
		t.Errorf("a write would be refused: got %+v", r)
	}
	says(time.Nanosecond, false, "2 requests would have been refused, the last at")
}

// Requests without a good token pass only where the setting and the mode for nobody both say so, as
// nobody, and are counted and named.
func TestAnonymous(t *testing.T) {
	closed := openWing(t)
	set(t, closed.server.Operator(), operator.ModeSpec{Tenant: "*", Mode: "observe"})
	if status, _ := closed.post("", list); status != 401 {
		t.Errorf("observed for every tenant: nobody got %d, want 401", status)
	}
	var refusal *operator.Error
	if _, err := act[any](t, closed.server.Operator(), "rollout.set",
		operator.ModeSpec{Anonymous: true, Mode: "observe"}); !errors.As(err, &refusal) ||
		!strings.Contains(refusal.Hint, "insecure-allow-anonymous") {
		t.Errorf("a mode for nobody without the setting: got %v", err)
	}
	w := openWing(t, func(c *mcpserver.Config) { c.InsecureAllowAnonymous = true })
	o := w.server.Operator()
	if status, _ := w.post("", list); status != 401 {
		t.Errorf("the setting alone: nobody got %d, want 401", status)
	}
	set(t, o, operator.ModeSpec{Anonymous: true, Mode: "observe"})
	if status, body := w.post("", list); status != 200 || strings.Count(body, `"inputSchema"`) != 4 {
		t.Errorf("observed: nobody got %d %s", status, body)
	}
	expired := w.issuer.Claims(w.resource, allScopes...)
	expired.IssuedAt, expired.Expires = expired.IssuedAt-7200, expired.IssuedAt-3600
	read := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_customer",` +
		`"arguments":{"customer_id":"cus_acme_1001"}}}`
	for what, raw := range map[string]string{"no token": "", "an expired token": w.issuer.Sign(expired),
		"another server's": w.issuer.Sign(w.issuer.Claims("https://other.example/mcp", allScopes...))} {
		if status, body := w.post(raw, read); status != 200 || strings.Contains(body, "Road Runner") ||
			!strings.Contains(body, "no customer") {
			// TN-08
			t.Errorf("%s acts: got %d %s", what, status, body)
		}
	}
	r := report(t, o, operator.ReportQuery{})
	agents := map[string]int64{}
	for _, row := range r.AnonymousUse {
		if row.Outcome == "observed" {
			agents[row.Agent+" "+row.Reason] += row.Calls
		}
	}
	if agents["Go-http-client no_token"] != 2 || agents["Go-http-client invalid_token"] != 2 || !r.Anonymous {
		t.Errorf("got %+v", r.AnonymousUse)
	}
	if text := collect(w.server); !strings.Contains(text, "gatehouse_anonymous_total 4\n") ||
		!strings.Contains(text, "gatehouse_insecure_allow_anonymous 1\n") {
		t.Errorf("the numbers: %s", text)
	}
	set(t, o, operator.ModeSpec{Anonymous: true, Mode: "enforce"})
	if status, _ := w.post("", list); status != 401 {
		t.Errorf("enforced: nobody got %d, want 401", status)
	}
}

func collect(s *mcpserver.Server) string {
	w := httptest.NewRecorder()
	s.Metrics().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// AD-09: what tells of the inside is not on the public listener, by no spelling.
func TestNothingOfTheInsideIsPublic(t *testing.T) {
	w := openWing(t)
	w.post(w.token("acme", allScopes...), list)
	for _, path := range []string{"/metrics", "/metrics/", "/mcp/metrics", "//metrics", "/%6detrics", "/debug/pprof/",
		"/debug/vars", "/health?full", "/.env", "/admin", "/acts/usage.list"} {
		r, err := http.Get(w.url + path)
		must(t, err)
		r.Body.Close()
		if r.StatusCode != 404 {
			t.Errorf("%s: got %d, want 404", path, r.StatusCode)
		}
	}
	if text := collect(w.server); !strings.Contains(text,
		`gatehouse_decisions_total{method="tools/list",outcome="ok",tenant="acme",tool=""} 1`) {
		t.Errorf("on its own handler: %s", text)
	}
}

// The operator reads which tools a caller sees and by which rule, of a token or of scopes; what is
// no good token explains nothing, and none is repeated.
func TestExplain(t *testing.T) {
	w := openWing(t)
	o := w.server.Operator()
	why := func(e operator.Explanation, tool string) operator.ToolExplained {
		for _, x := range e.Tools {
			if x.Name == tool {
				return x
			}
		}
		t.Fatalf("%s is not explained: %+v", tool, e)
		return operator.ToolExplained{}
	}
	set(t, o, operator.ModeSpec{Tenant: "acme", Tool: "create_ticket", Mode: "observe"})
	raw := w.token("acme", "customers:read")
	e, err := act[operator.Explanation](t, o, "tools.explain", operator.ExplainQuery{Token: raw})
	must(t, err)
	_, body := w.post(raw, list)
	for tool, want := range map[string]operator.ToolExplained{
		"read_customer": {Listed: true, Passes: true, Why: "the scopes are there: customers:read"},
		"update_customer": {Why: "lacks customers:write: a call is refused, and asks for it (mode enforce, the " +
			"default)"},
		"create_ticket": {Listed: true, Passes: true,
			Why: "lacks tickets:write, but that does not count yet (mode observe, set for this tool of tenant acme)"},
	} {
		want.Name = tool
		if got := why(e, tool); got != want || strings.Contains(body, `"`+tool+`"`) != want.Listed {
			t.Errorf("got %+v, want %+v, as the server has it: %s", got, want, body)
		}
	}
	if e.Tenant != "acme" || e.Expires.IsZero() {
		t.Errorf("got %+v", e)
	}
	e, err = act[operator.Explanation](t, o, "tools.explain", operator.ExplainQuery{Tenant: "globex", Client: "cli_1",
		Scopes: []string{"tickets:write"}})
	must(t, err)
	if got := why(e, "create_ticket"); !got.Passes || got.Why != "the scopes are there: tickets:write" ||
		why(e, "read_customer").Passes {
		t.Errorf("by scopes: got %+v", e)
	}
	must(t, w.list.Add(context.Background(), "grt_1", time.Now().Add(time.Hour)))
	for what, token := range map[string]string{"an ended grant's": raw, "rubbish": "secret-rubbish",
		"another server's": w.issuer.Sign(w.issuer.Claims("https://other.example/mcp", "customers:read"))} {
		_, err := act[operator.Explanation](t, o, "tools.explain", operator.ExplainQuery{Token: token})
		var refusal *operator.Error
		if !errors.As(err, &refusal) || strings.Contains(err.Error()+refusal.Hint, token) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	if _, err := o.Commands()["tools.explain"](context.Background(),
		[]byte(`{"Token":"secret-rubbish","x":1}`)); err == nil || strings.Contains(err.Error(), "secret-rubbish") {
		t.Errorf("arguments that cannot be read: got %v", err)
	}
}

// Two replicas add up, an act at one counts at the other within a second, and the server is told to
// end without losing what it counted.
func TestReplicas(t *testing.T) {
	database := testenv.Postgres(t)
	demotest.Migrate(t, database)
	shared := func(c *mcpserver.Config) { c.Database = database }
	one, two := openWing(t, shared), openWing(t, shared)
	for _, w := range []*runningServer{one, two, two} {
		w.post(w.token("acme", allScopes...), list)
	}
	must(t, two.server.Close()) // writes what it counted
	rows, err := act[[]operator.UsageRow](t, one.server.Operator(), "usage.list",
		operator.UsageQuery{Tenant: "acme", Since: time.Now().Add(-time.Hour)})
	must(t, err)
	if len(rows) != 1 || rows[0].Calls != 3 || rows[0].Method != "tools/list" || rows[0].Outcome != "ok" {
		t.Errorf("got %+v, want 3 calls", rows)
	}
	three := openWing(t, shared, func(c *mcpserver.Config) { c.CallsPerMinute = -1 })
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { three.server.Run(ctx); close(ended) }()
	set(t, one.server.Operator(), operator.ModeSpec{Tenant: "acme", Mode: "observe"})
	deadline := time.Now().Add(5 * time.Second)
	for raw := three.token("acme", "knowledge:read"); ; {
		status, _ := three.post(raw, update)
		if status == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the mode does not reach the other replica")
		}
	}
	end()
	<-ended
}

// Arguments are neither in the rows nor in the numbers, whatever becomes of the request.
func TestUsageHoldsNoArguments(t *testing.T) {
	w := openWing(t)
	secret := "DE02120300000000202051"
	call := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_customer",` +
		`"arguments":{"customer_id":"` + secret + `"}}}`
	for _, raw := range []string{w.token("acme", allScopes...), w.token("acme", "knowledge:read"), ""} {
		w.post(raw, call)
	}
	// a tool's name that a stranger chose
	w.post(w.token("acme", allScopes...), strings.Replace(call, "read_customer", secret, 1))
	rows, err := act[[]operator.UsageRow](t, w.server.Operator(), "usage.list",
		operator.UsageQuery{Since: time.Now().Add(-time.Hour)})
	must(t, err)
	text, err := json.Marshal(rows)
	must(t, err)
	if len(rows) != 4 || bytes.Contains(text, []byte(secret)) || strings.Contains(collect(w.server), secret) {
		t.Errorf("got %s", text)
	}
}
