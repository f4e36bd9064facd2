package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

var object = json.RawMessage(`{"type":"object"}`)

// echo is a tool that says who called it with what.
func echo(name, scope string) mcp.Tool {
	return mcp.Tool{Name: name, Description: "says who called", Scope: scope, InputSchema: object, OutputSchema: object,
		Bind: func(c mcp.Caller) mcp.Handler {
			return func(_ context.Context, arguments json.RawMessage) (mcp.Result, error) {
				return mcp.Result{Text: c.TenantID + " " + string(arguments),
					Structured: json.RawMessage(`{"tenant":"` + c.TenantID + `"}`)}, nil
			}
		}}
}

func failing(name string, fail func() error) mcp.Tool {
	t := echo(name, "read")
	t.Bind = func(mcp.Caller) mcp.Handler {
		return func(context.Context, json.RawMessage) (mcp.Result, error) { return mcp.Result{}, fail() }
	}
	return t
}

func endpoint(t testing.TB) *mcp.Endpoint {
	catalog, err := mcp.NewCatalog(
		echo("read_it", "read"), echo("write_it", "write"), echo("again", "read"),
		failing("refuse", func() error { return mcp.ToolError{Message: "not on Sundays"} }),
		failing("choke", func() error { return mcp.InvalidArguments{Reason: "argument x is missing"} }),
		failing("break", func() error { return errors.New("dial tcp 10.0.0.5: refused") }),
		failing("panic", func() error { panic("secret") }),
	)
	if err != nil {
		t.Fatal(err)
	}
	return &mcp.Endpoint{
		Catalog: catalog, Info: mcp.Info{Name: "test", Version: "1", Instructions: "ask"}, MaxBody: 4096,
		Deny: func(w http.ResponseWriter, _ *http.Request, scopes []string) {
			w.Header().Set("WWW-Authenticate", strings.Join(scopes, " "))
			w.WriteHeader(http.StatusForbidden)
		},
	}
}

var ann = mcp.Caller{Subject: "usr_ann", TenantID: "acme", ClientID: "cli_1", GrantID: "grt_1",
	Scopes: []string{"read"}}

// post sends a body with headers ("Name: value" each); a header without value is removed.
func post(e *mcp.Endpoint, c mcp.Caller, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/mcp", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	seen := map[string]bool{}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		switch {
		case value == "":
			r.Header.Del(name)
		case seen[name]:
			r.Header.Add(name, value)
		default:
			r.Header.Set(name, value)
		}
		seen[name] = true
	}
	w := httptest.NewRecorder()
	e.Serve(w, r, c)
	return w
}

const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.` +
	`modelcontextprotocol/clientCapabilities":{}}`

// modern sends a good modern request, bent by headers.
func modern(e *mcp.Endpoint, c mcp.Caller, method, params string, headers ...string) *httptest.ResponseRecorder {
	if params != "" {
		params += ","
	}
	body := `{"jsonrpc":"2.0","id":7,"method":"` + method + `","params":{` + params + meta + `}}`
	return post(e, c, body, append([]string{"Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: " + method},
		headers...)...)
}

type answer struct {
	ID     json.RawMessage
	Result map[string]json.RawMessage
	Error  *struct {
		Code int
		Data json.RawMessage
	}
}

func read(t testing.TB, w *httptest.ResponseRecorder) answer {
	t.Helper()
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("%d with a body that is no JSON: %q", w.Code, w.Body)
	}
	return a
}

func names(t testing.TB, a answer) []string {
	t.Helper()
	var tools []struct{ Name string }
	if err := json.Unmarshal(a.Result["tools"], &tools); err != nil {
		t.Fatalf("no tools: %v", a.Result)
	}
	var out []string
	for _, tool := range tools {
		out = append(out, tool.Name)
	}
	return out
}

func TestOnlyAllowedToolsAreListedInOneOrder(t *testing.T) {
	e := endpoint(t)
	for _, row := range []struct {
		scopes []string
		want   []string
	}{
		{nil, nil},
		{[]string{"Read", "rea", "read "}, nil}, // exact
		{[]string{"write"}, []string{"write_it"}},
		{[]string{"write", "read"}, []string{"read_it", "write_it", "again", "refuse", "choke", "break", "panic"}},
		{[]string{"read"}, []string{"read_it", "again", "refuse", "choke", "break", "panic"}},
	} {
		c := ann
		c.Scopes = row.scopes
		old := read(t, post(e, c, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
		now := read(t, modern(e, c, "tools/list", ""))
		if got := names(t, old); !slices.Equal(got, row.want) {
			t.Errorf("%q, legacy: got %v, want %v", row.scopes, got, row.want)
		}
		if got := names(t, now); !slices.Equal(got, row.want) {
			t.Errorf("%q, modern: got %v, want %v", row.scopes, got, row.want)
		}
	}
}

// S6, MC-23: the list depends on who asks; no cache between may share it.
func TestS6ListsArePrivate(t *testing.T) {
	w := modern(endpoint(t), ann, "tools/list", "")
	a := read(t, w)
	if got := string(a.Result["cacheScope"]); got != `"private"` || string(a.Result["ttlMs"]) != "0" ||
		string(a.Result["resultType"]) != `"complete"` {
		t.Errorf("got cacheScope %s ttlMs %s resultType %s", got, a.Result["ttlMs"], a.Result["resultType"])
	}
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Vary") != "Authorization" {
		t.Errorf("headers %v, want no-store, varying by Authorization", w.Header())
	}
}

// MC-04, MC-05, RS-18: a call beyond the scopes is challenged before anything runs, naming what is
// needed and what is held.
func TestCallsAreHeldAgainstScopes(t *testing.T) {
	e := endpoint(t)
	for name, w := range map[string]*httptest.ResponseRecorder{
		"legacy": post(e, ann, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write_it"}}`),
		"modern": modern(e, ann, "tools/call", `"name":"write_it"`, "Mcp-Name: write_it"),
	} {
		if w.Code != 403 || w.Header().Get("WWW-Authenticate") != "read write" || w.Body.Len() != 0 {
			t.Errorf("%s: got %d %q %s, want the challenge for read write", name, w.Code,
				w.Header().Get("WWW-Authenticate"), w.Body)
		}
	}
	if !slices.Equal(ann.Scopes, []string{"read"}) {
		t.Error("the caller's scopes were changed")
	}
	for name, w := range map[string]*httptest.ResponseRecorder{
		"legacy": post(e, ann,
			`{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"read_it",`+
				`"arguments":{"tenant_id":"globex"}}}`),
		"modern": modern(e, ann, "tools/call", `"name":"read_it","arguments":{"tenant_id":"globex"}`,
			"Mcp-Name: read_it"),
	} {
		a := read(t, w)
		if w.Code != 200 || string(a.Result["structuredContent"]) != `{"tenant":"acme"}` ||
			string(a.Result["isError"]) != "false" {
			t.Errorf("%s: got %d %s, want acme's answer", name, w.Code, w.Body)
		}
	}
	// MC-06
	for _, name := range []string{"Read_it", "ｒead_it", "read_it ", "read_it\\u0000", "read_it\\n", "x/../read_it", "",
		strings.Repeat("a", 3000)} {
		w := post(e, ann, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+name+`"}}`)
		if a := read(t, w); a.Error == nil || a.Error.Code != -32602 {
			t.Errorf("tool %q: got %d %s, want -32602", name, w.Code, w.Body)
		}
	}
}

func TestWhatAgentsReadOfErrors(t *testing.T) {
	e := endpoint(t)
	for name, want := range map[string]string{
		// MC-29
		"refuse": "not on Sundays", "choke": "invalid arguments: argument x is missing",
		"break": "Something went wrong", "panic": "Something went wrong",
	} {
		w := modern(e, ann, "tools/call", `"name":"`+name+`"`, "Mcp-Name: "+name)
		a := read(t, w)
		if w.Code != 200 || string(a.Result["isError"]) != "true" || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: got %d %s, want %q", name, w.Code, w.Body, want)
		}
		if strings.Contains(w.Body.String(), "10.0.0.5") || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: our own detail is shown: %s", name, w.Body)
		}
	}
}

// MC-08, RS-41: arguments go by their exact names, before the tool sees them.
func TestArgumentsGoByTheirExactNames(t *testing.T) {
	tool := echo("strict", "read")
	tool.InputSchema = json.RawMessage(
		`{"type":"object","properties":{"id":{"type":"string"},"note":{"type":"string"}},"required":["id"],` +
			`"additionalProperties":false}`)
	loose := tool
	loose.Name, loose.InputSchema = "loose", json.RawMessage(`{"type":"object","properties":{"id":{"type":"string"}}}`)
	catalog, err := mcp.NewCatalog(tool, loose)
	if err != nil {
		t.Fatal(err)
	}
	e := &mcp.Endpoint{Catalog: catalog}
	for _, row := range []struct{ tool, arguments, says string }{
		{"strict", `{"id":"1"}`, ""}, {"strict", `{"id":"1","note":"x"}`, ""}, {"strict", `{"\u0069d":"1"}`, ""},
		{"strict", `{}`, "argument id is missing"}, {"strict", `{"id":null}`, "argument id is null"},
		{"strict", `{"id":"1","ID":"2"}`, `no argument \"ID\"`},
		{"strict", `{"id":"1","tenant_id":"x"}`, `no argument \"tenant_id\"`},
		{"loose", `{"id":"1","other":"2"}`, ""}, {"loose", `{"id":"1","Id":"2"}`, `no argument \"Id\"`},
		{"loose", `{"id":"1","\u0131d":"2"}`, ""},
	} {
		w := post(e, ann, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+row.tool+`","arguments":`+
			row.arguments+`}}`)
		if failed := string(read(t, w).Result["isError"]) == "true"; failed != (row.says != "") ||
			strings.Count(w.Body.String(), row.says) == 0 {
			t.Errorf("%s %s: got %s, want %q", row.tool, row.arguments, w.Body, row.says)
		}
	}
}

func TestLegacyEra(t *testing.T) {
	e := endpoint(t)
	for asked, want := range map[string]string{
		"2025-03-26": "2025-03-26", "2025-06-18": "2025-06-18", "2025-11-25": "2025-11-25", "2024-11-05": "2024-11-05",
		"1999-01-01": "2025-11-25", "2099-01-01": "2025-11-25",
	} {
		w := post(e, ann, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"`+asked+
			`","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`)
		a := read(t, w)
		if w.Code != 200 || string(a.Result["protocolVersion"]) != `"`+want+`"` ||
			w.Header().Get("Mcp-Session-Id") != "" {
			t.Errorf("initialize %s: got %d %s, want %s and no session", asked, w.Code, w.Body, want)
		}
	}
	for _, row := range []struct {
		name, body string
		status     int
		code       int
		headers    []string
	}{
		{"ping", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, 200, 0, nil},
		{"a notification", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, 202, 0, nil},
		{"with its version", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, 200, 0,
			[]string{"Mcp-Protocol-Version: 2025-06-18"}},
		{"with a session that was never given", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, 200, 0,
			[]string{"Mcp-Session-Id: x", "Last-Event-Id: 1"}},
		{"an unknown method", `{"jsonrpc":"2.0","id":1,"method":"resources/list"}`, 200, -32601, nil},
		{"a cursor", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x"}}`, 200, -32602, nil},
		// TN-04
		{"another cursor", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":{"offset":-1}}}`, 200,
			-32602, nil},
		{"no tool named", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}`, 200, -32602, nil},
		{"arguments that are no object",
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it","arguments":[]}}`, 200,
			-32602, nil},
		{"initialize without version", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`, 200, -32602, nil},
		{"two versions", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, 400, -32020,
			[]string{"Mcp-Protocol-Version: 2025-06-18", "Mcp-Protocol-Version: 2025-03-26"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			check(t, post(e, ann, row.body, row.headers...), row.status, row.code)
		})
	}
}

func check(t *testing.T, w *httptest.ResponseRecorder, status, code int) {
	t.Helper()
	got := 0
	if w.Body.Len() > 0 {
		if a := read(t, w); a.Error != nil {
			got = a.Error.Code
		}
	}
	if w.Code != status || got != code {
		t.Errorf("got %d %d, want %d %d: %s", w.Code, got, status, code, w.Body)
	}
}

// RS-29 to RS-31, RS-33, RS-35 to RS-38, MC-07, MC-13, MC-20
func TestModernEra(t *testing.T) {
	e := endpoint(t)
	a := read(t, modern(e, ann, "server/discover", ""))
	if v := string(a.Result["supportedVersions"]); !strings.Contains(v, "2026-07-28") ||
		string(a.Result["instructions"]) != `"ask"` || !strings.Contains(string(a.Result["_meta"]), `"name":"test"`) {
		t.Errorf("discover: got %v", a.Result)
	}
	request := func(method, params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + params + `}}`
	}
	version := func(v string) string {
		return `"_meta":{"io.modelcontextprotocol/protocolVersion":"` + v +
			`","io.modelcontextprotocol/clientCapabilities":{}}`
	}
	const header, list = "Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: tools/list"
	for _, row := range []struct {
		name, body string
		headers    []string
		status     int
		code       int
	}{
		{"a notification", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{` + meta + `}}`,
			[]string{header, "Mcp-Method: notifications/cancelled"}, 202, 0},
		{"removed: ping", request("ping", meta), []string{header, "Mcp-Method: ping"}, 404, -32601},
		{"removed: initialize", request("initialize", meta), []string{header, "Mcp-Method: initialize"}, 404, -32601},
		{"unknown method", request("tools/steal", meta), []string{header, "Mcp-Method: tools/steal"}, 404, -32601},
		{"no version header", request("tools/list", meta), []string{list}, 400, -32020},
		{"another version in the header", request("tools/list", meta),
			[]string{"Mcp-Protocol-Version: 2025-11-25", list}, 400, -32020},
		{"another version in the body", request("tools/list", version("2025-11-25")), []string{header, list}, 400,
			-32020},
		{"unknown version", request("tools/list", version("2099-01-01")),
			[]string{"Mcp-Protocol-Version: 2099-01-01", list}, 400, -32022},
		{"no _meta", request("tools/list", ""), []string{header, list}, 400, -32602},
		{"no capabilities", request("tools/list", `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}`),
			[]string{header, list}, 400, -32602},
		{"_meta is no object", request("tools/list", `"_meta":[]`), []string{header, list}, 400, -32602},
		{"no method header", request("tools/list", meta), []string{header}, 400, -32020},
		{"another method in the header", request("tools/call", `"name":"read_it",`+meta),
			[]string{header, list, "Mcp-Name: read_it"}, 400, -32020},
		{"two method headers", request("tools/list", meta), []string{header, list, "Mcp-Method: tools/call"}, 400,
			-32020},
		{"no name header", request("tools/call", `"name":"read_it",`+meta), []string{header, "Mcp-Method: tools/call"},
			400, -32020},
		{"a safe name in the header", request("tools/call", `"name":"write_it",`+meta),
			[]string{header, "Mcp-Method: tools/call", "Mcp-Name: read_it"}, 400, -32020},
		{"name in base64", request("tools/call", `"name":"read_it",`+meta),
			[]string{header, "Mcp-Method: tools/call", "Mcp-Name: =?base64?cmVhZF9pdA==?="}, 200, 0},
		{"broken base64", request("tools/call", `"name":"read_it",`+meta),
			[]string{header, "Mcp-Method: tools/call", "Mcp-Name: =?base64?cmVhZF9pdA==="}, 400, -32020},
		{"unknown tool", request("tools/call", `"name":"nope",`+meta),
			[]string{header, "Mcp-Method: tools/call", "Mcp-Name: nope"}, 400, -32602},
		{"a session id is nothing", request("tools/list", meta), []string{header, list, "Mcp-Session-Id: x"}, 200, 0},
		{"discover by a client that says nothing", request("server/discover", ""), nil, 400, -32020},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := post(e, ann, row.body, row.headers...)
			check(t, w, row.status, row.code)
			if w.Header().Get("Mcp-Session-Id") != "" {
				t.Error("a session id was given")
			}
		})
	}
	unsupported := read(t, post(e, ann, request("tools/list", version("2099-01-01")),
		"Mcp-Protocol-Version: 2099-01-01", list))
	if got := string(unsupported.Error.Data); !strings.Contains(got, `"requested":"2099-01-01"`) ||
		!strings.Contains(got, `"2026-07-28"`) {
		t.Errorf("data of -32022: %s", got)
	}
}

// S5, MC-08, MC-09, MC-19, MC-20
func TestS5BadMessages(t *testing.T) {
	e := endpoint(t)
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	for _, row := range []struct {
		name, body string
		status     int
		code       int
		headers    []string
	}{
		{"a batch", `[{"jsonrpc":"2.0","id":1,"method":"tools/list"},{"jsonrpc":"2.0","id":2,"method":"tools/call",` +
			`"params":{"name":"write_it"}}]`, 400, -32600, nil},
		{"a batch of an older client", `[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]`, 400, -32600,
			[]string{"Mcp-Protocol-Version: 2025-03-26"}},
		{"an empty batch", `[]`, 400, -32600, nil},
		{"nothing", ``, 400, -32700, nil},
		{"half", `{"jsonrpc":"2.0","id":1,`, 400, -32700, nil},
		{"two", `{"jsonrpc":"2.0","id":1,"method":"ping"}{}`, 400, -32700, nil},
		{"not UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pi\xffng\"}", 400, -32700, nil},
		{"method twice", `{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}`, 400, -32600, nil},
		{"method twice, once escaped", `{"jsonrpc":"2.0","id":1,"method":"tools/list","m\u0065thod":"tools/call"}`, 400,
			-32600, nil},
		{"name twice", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it","name":"write_it"}}`,
			400, -32600, nil},
		{"an argument twice",
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it","arguments":{"a":1,"a":2}}}`, 400,
			-32600, nil},
		{"Method", `{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call"}`, 400, -32600, nil},
		{"Name", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"read_it"}}`, 400, -32600, nil},
		{"method with a NUL", `{"jsonrpc":"2.0","id":1,"method":"tools/list","method\u0000":"tools/call"}`, 400,
			-32600, nil},
		{"too deep", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":` + deep + `}`, 400, -32600, nil},
		{"no version", `{"id":1,"method":"tools/list"}`, 400, -32600, nil},
		{"id null", `{"jsonrpc":"2.0","id":null,"method":"tools/list"}`, 400, -32600, nil},
		{"id an object", `{"jsonrpc":"2.0","id":{},"method":"tools/list"}`, 400, -32600, nil},
		{"id a fraction", `{"jsonrpc":"2.0","id":1.5,"method":"tools/list"}`, 400, -32600, nil},
		{"a response", `{"jsonrpc":"2.0","id":1,"result":{}}`, 400, -32600, nil},
		{"params null", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":null}`, 200, 0, nil},
		{"a notification with bad params", `{"jsonrpc":"2.0","method":"notifications/initialized","params":[]}`, 400,
			-32602, nil},
		{"a blank that JSON does not know", "\u00a0" + `{"jsonrpc":"2.0","id":1,"method":"ping"}`, 400, -32700, nil},
		{"params an array", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[]}`, 200, -32602, nil},
		{"too large", `{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("a", 5000) + `"}`, 413, -32600, nil},
		{"text", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, 415, -32600, []string{"Content-Type: text/plain"}},
		{"a form", `a=b`, 415, -32600, []string{"Content-Type: application/x-www-form-urlencoded"}},
		{"no type", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, 415, -32600, []string{"Content-Type: "}},
		{"another charset", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, 415, -32600,
			[]string{"Content-Type: application/json; charset=utf-16"}},
		{"our charset", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, 200, 0,
			[]string{"Content-Type: application/json; charset=UTF-8"}},
		{"gzip", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, 415, -32600, []string{"Content-Encoding: gzip"}},
		{"no event stream", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, 406, -32600,
			[]string{"Accept: application/json"}},
		{"anything", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, 200, 0, []string{"Accept: */*"}},
		{"no Accept", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, 200, 0, []string{"Accept: "}},
	} {
		t.Run(row.name, func(t *testing.T) {
			check(t, post(e, ann, row.body, row.headers...), row.status, row.code)
		})
	}
	for _, method := range []string{"GET", "DELETE", "PUT"} { // MC-13
		w := httptest.NewRecorder()
		e.Serve(w, httptest.NewRequest(method, "/mcp", nil), ann)
		if w.Code != 405 || w.Header().Get("Allow") != "POST" {
			t.Errorf("%s: got %d Allow %q, want 405 with POST", method, w.Code, w.Header().Get("Allow"))
		}
	}
}

// RS-39: anyone who hangs up ends what was being done for them.
func TestHangingUpEndsTheTool(t *testing.T) {
	began, ended := make(chan struct{}), make(chan error, 1)
	slow := echo("slow", "read")
	slow.Bind = func(mcp.Caller) mcp.Handler {
		return func(ctx context.Context, _ json.RawMessage) (mcp.Result, error) {
			close(began)
			<-ctx.Done()
			ended <- ctx.Err()
			return mcp.Result{}, ctx.Err()
		}
	}
	catalog, err := mcp.NewCatalog(slow)
	if err != nil {
		t.Fatal(err)
	}
	e := &mcp.Endpoint{Catalog: catalog}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.Serve(w, r, ann) }))
	defer server.Close()
	ctx, hangUp := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, "POST", server.URL,
		strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow"}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	go func() { <-began; hangUp() }()
	if _, err := http.DefaultClient.Do(r); err == nil {
		t.Error("got an answer after hanging up")
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the tool was told %v, want that it is cancelled", err)
	}
}

// MC-31: a schema is shown as it is: what it refers to is fetched by nobody, and how deep it goes
// costs nothing.
func TestSchemasAreNotFollowed(t *testing.T) {
	var hits atomic.Int64
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer canary.Close()
	tool := echo("refers", "read")
	deep := strings.Repeat(`{"anyOf":[`, 25) + `{}` + strings.Repeat(`]}`, 25)
	tool.InputSchema = json.RawMessage(`{"type":"object","properties":{"a":{"$ref":"` + canary.URL + `/a.json"},"b":` +
		deep + `},"$ref":"` + canary.URL + `"}`)
	catalog, err := mcp.NewCatalog(tool)
	if err != nil {
		t.Fatal(err)
	}
	e := &mcp.Endpoint{Catalog: catalog}
	check(t, post(e, ann, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`), 200, 0)
	check(t, post(e, ann,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"refers","arguments":{"a":1,"b":2}}}`), 200, 0)
	if n := hits.Load(); n != 0 {
		t.Errorf("the schema's reference was followed %d times", n)
	}
	tool.InputSchema = json.RawMessage(`{"type":"object","properties":{"a":` + strings.Repeat(`{"anyOf":[`, 10_000) +
		`{}` + strings.Repeat(`]}`, 10_000) + `}}`)
	if _, err := mcp.NewCatalog(tool); err == nil {
		t.Error("a schema without end: got nil, want an error")
	}
}

// MC-15: every answer goes to its caller.
func TestCallersAtOnceAreKeptApart(t *testing.T) {
	e := endpoint(t)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			c := ann
			c.TenantID = fmt.Sprint("tenant-", i)
			a := read(t, post(e, c, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it"}}`))
			if got := string(a.Result["structuredContent"]); got != `{"tenant":"`+c.TenantID+`"}` {
				t.Errorf("got %s, want %s", got, c.TenantID)
			}
		})
	}
	wg.Wait()
}

func TestCatalogRefusesWhatNobodyCouldTrust(t *testing.T) {
	bend := func(f func(*mcp.Tool)) mcp.Tool {
		tool := echo("a", "s")
		f(&tool)
		return tool
	}
	for name, tools := range map[string][]mcp.Tool{
		"twice":         {echo("a", "s"), echo("a", "t")},
		"no scope":      {echo("a", "")},
		"no name":       {echo("", "s")},
		"a strange one": {echo("a b", "s")},
		"no bind":       {bend(func(t *mcp.Tool) { t.Bind = nil })},
		"no schema":     {bend(func(t *mcp.Tool) { t.InputSchema = nil })},
		"an array":      {bend(func(t *mcp.Tool) { t.InputSchema = json.RawMessage(`{"type":"array"}`) })},
		"too many":      make([]mcp.Tool, 257),
		"broken output": {bend(func(t *mcp.Tool) { t.OutputSchema = json.RawMessage(`{`) })},
	} {
		if _, err := mcp.NewCatalog(tools...); err == nil {
			t.Errorf("%s: got nil, want an error", name)
		}
	}
}

// DS-12. FuzzMessage: what is taken is what encoding/json takes, and nothing brings the endpoint
// down.
func FuzzMessage(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it","arguments":{"a":[1,2.5e-3,null]}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"a\u0000","params":{` + meta + `}}`, `[]`, `{"":{"":{}}}`, "{\"a\":\"\x7f\"}",
		`{"a":01}`, `{"a":-}`,
	} {
		f.Add(seed)
	}
	e := endpoint(f)
	f.Fuzz(func(t *testing.T, body string) {
		w := post(e, ann, body)
		valid := json.Valid([]byte(body))
		if w.Code == 200 && !valid {
			t.Errorf("taken, but encoding/json refuses it: %q", body)
		}
		if valid && strings.Contains(w.Body.String(), "-32700") && len(body) > 0 && strings.TrimSpace(body)[0] == '{' &&
			strings.ToValidUTF8(body, "") == body && !strings.Contains(strings.ToLower(body), `\ud`) {
			t.Errorf("refused as syntax, but encoding/json takes it: %q", body)
		}
		if w.Code >= 500 {
			t.Errorf("got %d", w.Code)
		}
	})
}
