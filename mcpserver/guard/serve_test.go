package guard_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop/dpoptest"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// ours is a server that takes messages as the guard read them, and lists what is open.
type ours struct {
	message *message.Message
	view    mcp.View
}

func (o *ours) ServeMessage(w http.ResponseWriter, _ *http.Request, m *message.Message, v mcp.View) {
	o.message, o.view = m, v
	w.WriteHeader(http.StatusOK)
}

// open is what the last view opens of the rules' tools.
func (o *ours) open() (names []string) {
	for _, name := range []string{"read_it", "write_it", "secret", "free", "unnamed"} {
		if o.view.Open(name) {
			names = append(names, name)
		}
	}
	return names
}

// Without a rule for prompts or resources their methods are not there for anybody, rather than the
// one thing that was named.
func TestKindsWithoutRules(t *testing.T) {
	tables, err := guard.Always(guard.Rules{Tools: rules.Tools})
	must(t, err)
	f := newFort(t, func(p *guard.Policy) { p.Tables = tables })
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"greet"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"file:///open/a"}}`,
	} {
		if w := f.send(f.token("read"), body); !strings.Contains(w.Body.String(), "-32601") {
			t.Errorf("%s: got %d %s", body, w.Code, w.Body)
		}
	}
	if w := f.send(f.token("read"), call("unnamed")); !strings.Contains(w.Body.String(), "-32602") {
		t.Errorf("a tool that is not there: got %d %s", w.Code, w.Body)
	}
}

// A server of ours is decided on as anybody's, is handed the message that was decided on, and needs
// no session.
func TestServerOfOurs(t *testing.T) {
	m := modes{}
	server := &ours{}
	f := newFort(t)
	tables, err := guard.Always(rules)
	must(t, err)
	admitted := true
	f.handler, err = f.guard.Serve(server, guard.Policy{
		Tables: tables, Rollout: m, Record: func(r guard.Record) { f.records = append(f.records, r) },
		Admit: func(w http.ResponseWriter, _ *http.Request, c mcp.Caller) bool {
			if !admitted {
				w.WriteHeader(http.StatusTooManyRequests)
			}
			return admitted
		},
	})
	must(t, err)
	list := `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	f.send(f.token("read"), list, func(r *http.Request) { r.Header.Set("Mcp-Session-Id", "somebody's") })
	if got := server.open(); server.message.Method != "tools/list" || !slices.Equal(got, []string{"read_it", "free"}) {
		t.Errorf("got %v open for %s", got, server.message.Method)
	}
	server.message = nil
	if w := f.send(f.token("other"), call("write_it")); w.Code != 403 || server.message != nil ||
		!slices.Equal(f.last().Decision.Lacking, []string{"read", "write"}) {
		t.Errorf("a call that nothing opens: got %d, recorded %+v", w.Code, f.last())
	}
	m["acme"] = guard.Observe
	if w := f.send(f.token("other"), call("write_it")); w.Code != 200 || server.message == nil ||
		f.last().Outcome() != guard.OutcomeObserved {
		t.Errorf("observed: got %d, recorded %+v", w.Code, f.last())
	}
	if got := server.open(); len(got) != 5 {
		t.Errorf("observed: got %v open, want all", got)
	}
	if w := f.ask(f.token("read"), func(r *http.Request) { r.Method = "GET" }); w.Code != 405 ||
		w.Header().Get("Allow") != "POST" {
		// MC-13
		t.Errorf("GET: got %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
	if w := f.send(f.token("read"), list, func(r *http.Request) { r.Host = "evil.example" }); w.Code != 403 ||
		f.last().Refused != guard.RefusedSource || f.last().Caller.ClientID != "" {
		t.Errorf("another Host: got %d, recorded %+v", w.Code, f.last())
	}
	admitted = false
	k := dpoptest.NewKey(t, "ES256")
	k.Now = f.now
	claims := f.issuer.Claims(resource, "read")
	claims.Confirmation.JKT = k.JKT()
	bound := f.issuer.Sign(claims)
	again := k.Proof("POST", resource, dpoptest.Token(bound))
	shown := func(r *http.Request) {
		r.Header.Set("Authorization", "DPoP "+bound)
		r.Header.Set(dpop.Header, again)
	}
	for _, row := range []struct {
		admitted bool
		status   int
	}{{false, 429}, {false, 429}, {true, 200}, {true, 401}, {false, 429}} {
		// a request over its grant's limit does not use its proof up
		admitted = row.admitted
		if w := f.send("", list, shown); w.Code != row.status || row.status != 200 && f.last().Passed {
			t.Errorf("with a proof, admitted %v: got %d, recorded %+v, want %d", row.admitted, w.Code, f.last(),
				row.status)
		}
	}
	if w := f.send(f.token("read"), list); w.Code != 429 || f.last().Refused != guard.RefusedLimit || f.last().Passed ||
		f.last().Status != 429 {
		t.Errorf("over the limit: got %d, recorded %+v", w.Code, f.last())
	}
}

// Names that strangers choose are no labels: neither a method, nor a tool that no rule names, nor a
// resource's URI, nor a program's name with anything in it.
func TestLabelsAreBounded(t *testing.T) {
	for _, row := range []struct {
		record             guard.Record
		method, name, rule string
	}{
		{guard.Record{Method: "tools/call", Decision: guard.Decision{Kind: guard.KindTool, Name: "read_it",
			Rule: "read_it"}}, "tools/call", "read_it", "read_it"},
		{guard.Record{Method: "tools/call", Decision: guard.Decision{Kind: guard.KindTool, Name: "crm_a_get",
			Rule: "crm_*"}}, "tools/call", "crm_a_get", "crm_*"},
		{guard.Record{Method: "tools/call", Decision: guard.Decision{Kind: guard.KindTool, Name: "crm_ann@acme.example",
			Rule: "crm_*"}}, "tools/call", "crm_*", "crm_*"},
		{guard.Record{Method: "tools/call", Decision: guard.Decision{Kind: guard.KindTool, Name: "guessed"}},
			"tools/call", guard.Other, guard.Other},
		{guard.Record{Method: "resources/read", Decision: guard.Decision{Kind: guard.KindResource, Name: "file:///ann",
			Rule: "file:///*"}}, "resources/read", "file:///*", "file:///*"},
		{guard.Record{Method: "tools/list"}, "tools/list", "", ""},
		{guard.Record{Method: "notifications/anything"}, "notifications", "", ""},
		{guard.Record{Method: "guessed", Decision: guard.Decision{Kind: guard.KindMethod, Name: "guessed"}},
			guard.Other, "", ""},
		{guard.Record{Method: "BREW"}, guard.Other, "", ""},
	} {
		r := &row.record
		if r.MethodLabel() != row.method || r.NameLabel() != row.name || r.RuleLabel() != row.rule {
			t.Errorf("%s %s: got %q %q %q, want %q %q %q", r.Method, r.Decision.Name, r.MethodLabel(), r.NameLabel(),
				r.RuleLabel(), row.method, row.name, row.rule)
		}
	}
	f := newFort(t)
	for agent, want := range map[string]string{"curl/8.5 (linux)": "curl", "node": "node", "<script>": "",
		strings.Repeat("a", 41): "", "": "", "evil\x1b[31m": ""} {
		f.send("", call("read_it"), func(r *http.Request) { r.Header.Set("User-Agent", agent) })
		if f.last().Agent != want {
			t.Errorf("%q: got %q, want %q", agent, f.last().Agent, want)
		}
	}
	f.send(f.token("read"), call("read_it"), func(r *http.Request) { r.Header.Set("User-Agent", "curl") })
	if f.last().Agent != "" {
		t.Errorf("a caller's program is kept: %q", f.last().Agent)
	}
}

// DS-11: each refusal, and each pass that would have been one, is one line of the log that says
// who, what, and by which mode.
func TestRefusalsAreLogged(t *testing.T) {
	m := modes{"acme": guard.Observe, "acme/write_it": guard.Enforce}
	f := newFort(t, func(p *guard.Policy) { p.Rollout = m })
	inner := f.handler
	var text bytes.Buffer
	f.handler = httpd.Handler(inner, httpd.Options{Log: slog.New(slog.NewJSONHandler(&text, nil))})
	for _, row := range []struct{ token, body, tenant, tool, decision, mode string }{
		{f.token("other"), call("read_it"), "acme", "read_it", "observed", "observe"},
		{f.token("other"), call("write_it"), "acme", "write_it", "refused", "enforce"},
		{f.token("other"), call(`a\nlevel=ERROR`), "acme", "a\nlevel=ERROR", "observed", "observe"},
		{"", call("read_it"), "-", "-", "refused", "enforce"},
		{"not.a.token", call("read_it"), "-", "-", "refused", "enforce"},
	} {
		text.Reset()
		r := httptest.NewRequest("POST", resource, strings.NewReader(row.body))
		r.Header.Set("Content-Type", "application/json")
		if row.token != "" {
			r.Header.Set("Authorization", "Bearer "+row.token)
		}
		f.handler.ServeHTTP(httptest.NewRecorder(), r)
		var line struct{ Tenant, Client, Tool, Decision, Mode string }
		if err := json.Unmarshal(text.Bytes(), &line); err != nil || strings.Count(text.String(), "\n") != 1 {
			t.Fatalf("%v: %s", err, &text)
		}
		if line.Tenant != row.tenant || line.Client == "" || line.Tool != row.tool || line.Decision != row.decision ||
			line.Mode != row.mode {
			t.Errorf("%s: got %+v", row.body, line)
		}
		if row.token != "" && strings.Contains(text.String(), row.token) {
			t.Errorf("the token is in the log: %s", &text)
		}
	}
}
