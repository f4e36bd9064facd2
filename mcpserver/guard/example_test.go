package guard_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

// Somebody's MCP server, of whatever library, gets rules that it knows nothing of.
func ExampleGuard_Enforce() {
	issuer, ended := toyIssuer() // in life: your issuer's URL, and its list of revoked grants (redislist.New)
	defer issuer.Close()

	g, err := guard.New(guard.Config{
		Issuer:   issuer.URL(),
		Resource: "https://mcp.example/mcp",
		Revoked:  ended,
		Baseline: []string{"notes:read"}, // what a client asks for first
	})
	if err != nil {
		log.Fatal(err)
	}
	tables, err := guard.Always(guard.Rules{Tools: []guard.Rule{
		{Name: "read_note", Scopes: []string{"notes:read"}},
		{Name: "delete_note", Scopes: []string{"notes:write"}, Write: true},
	}})
	if err != nil {
		log.Fatal(err)
	}
	handler, err := g.Enforce(notes, guard.Policy{Tables: tables})
	if err != nil {
		log.Fatal(err)
	}

	// http.ListenAndServe(":8080", handler)
	reader := issuer.Sign(issuer.Claims("https://mcp.example/mcp", "notes:read"))
	show(send(handler, "", list))
	show(send(handler, reader, list))
	show(send(handler, reader, calling("read_note")))
	show(send(handler, reader, calling("delete_note")))
	// Output:
	// 401 Bearer resource_metadata="https://mcp.example/.well-known/oauth-protected-resource/mcp",
	//     scope="notes:read"
	// 200 tools: read_note
	// 200 done
	// 403 Bearer error="insufficient_scope",
	//     error_description="this needs a scope that the access token does not have",
	//     resource_metadata="https://mcp.example/.well-known/oauth-protected-resource/mcp",
	//     scope="notes:read notes:write"
}

// A handler behind the guard finds out for whom it acts, and acts for nobody else.
func ExampleCallerOf() {
	issuer, ended := toyIssuer()
	defer issuer.Close()
	g, err := guard.New(guard.Config{Issuer: issuer.URL(), Resource: "https://mcp.example/mcp", Revoked: ended})
	if err != nil {
		log.Fatal(err)
	}

	handler := g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, ok := guard.CallerOf(r.Context())
		if !ok { // then it is not behind the guard
			http.Error(w, "who are you?", http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "the data of %s, for %s by %s, who may %v", caller.TenantID, caller.Subject, caller.ClientID,
			caller.Scopes)
	}))

	w := send(handler, issuer.Sign(issuer.Claims("https://mcp.example/mcp", "notes:read")), list)
	fmt.Println(w.Body)
	// Output: the data of acme, for usr_ann by cli_agent, who may [notes:read]
}

// Protect hands the caller on as an argument, so that a handler of one's own cannot forget to ask.
func ExampleGuard_Protect() {
	issuer, ended := toyIssuer()
	defer issuer.Close()
	g, err := guard.New(guard.Config{Issuer: issuer.URL(), Resource: "https://mcp.example/mcp", Revoked: ended})
	if err != nil {
		log.Fatal(err)
	}

	handler := g.Protect(func(w http.ResponseWriter, r *http.Request, c mcp.Caller) {
		if !c.Has("notes:write") {
			g.Challenge(w, r, append(c.Scopes, "notes:write"))
			return
		}
		io.WriteString(w, "written")
	})

	w := send(handler, issuer.Sign(issuer.Claims("https://mcp.example/mcp", "notes:read")), list)
	fmt.Println(w.Code)
	w = send(handler, issuer.Sign(issuer.Claims("https://mcp.example/mcp", "notes:write")), list)
	fmt.Println(w.Code, w.Body)
	// Output:
	// 403
	// 200 written
}

// What rules say, without a request: a scope that is lacking is challenged, what is hidden or not
// named is not there, and a scope may count for others.
func ExampleRules() {
	table, err := guard.Rules{
		Tools: []guard.Rule{
			{Name: "read_*", Scopes: []string{"notes:read"}},
			{Name: "delete_note", Scopes: []string{"notes:write"}, Write: true},
			{Name: "export_everything", Scopes: []string{"notes:admin"}, Hidden: true},
			{Name: "help"}, // any valid token
		},
		Implies: map[string][]string{"notes:write": {"notes:read"}},
	}.Compile()
	if err != nil {
		log.Fatal(err)
	}

	reader, writer := mcp.Caller{Scopes: []string{"notes:read"}}, mcp.Caller{Scopes: []string{"notes:write"}}
	for _, row := range []struct {
		who  string
		c    mcp.Caller
		tool string
	}{
		{"reader", reader, "read_note"}, {"writer", writer, "read_note"}, {"reader", reader, "delete_note"},
		{"writer", writer, "export_everything"},
		{"writer", writer, "rename_note"}, {"reader", reader, "help"},
	} {
		d := table.Decide(row.c, guard.KindTool, row.tool)
		fmt.Println(row.who, row.tool, "allowed:", d.Allowed, "because:", d.Reason, "hidden:", d.Hidden && !d.Allowed)
	}
	// Output:
	// reader read_note allowed: true because: open hidden: false
	// writer read_note allowed: true because: open hidden: false
	// reader delete_note allowed: false because: scope hidden: false
	// writer export_everything allowed: false because: scope hidden: true
	// writer rename_note allowed: false because: unnamed hidden: true
	// reader help allowed: true because: open hidden: false
}

// byTool is a rollout that enforces what is named, and observes the rest.
type byTool map[string]guard.Mode

func (m byTool) Mode(_, name string) guard.Mode {
	if mode, named := m[name]; named {
		return mode
	}
	return guard.Observe
}

// A server in production is observed first: everything passes, and what would have been decided is
// recorded.
func ExampleRollout() {
	issuer, ended := toyIssuer()
	defer issuer.Close()
	g, err := guard.New(guard.Config{Issuer: issuer.URL(), Resource: "https://mcp.example/mcp", Revoked: ended})
	if err != nil {
		log.Fatal(err)
	}
	tables, err := guard.Always(guard.Rules{Tools: []guard.Rule{
		{Name: "read_note", Scopes: []string{"notes:read"}},
		{Name: "delete_note", Scopes: []string{"notes:write"}, Write: true},
	}})
	if err != nil {
		log.Fatal(err)
	}
	handler, err := g.Enforce(notes, guard.Policy{
		Tables:  tables,
		Rollout: byTool{"delete_note": guard.Enforce},
		Record: func(r guard.Record) {
			fmt.Printf("%s, mode %s: passed %v, denied for %q\n", r.Decision.Name, r.Mode, r.Passed, r.Refused)
		},
	})
	if err != nil {
		log.Fatal(err)
	}

	stranger := issuer.Sign(issuer.Claims("https://mcp.example/mcp", "something:else"))
	send(handler, stranger, calling("read_note"))
	send(handler, stranger, calling("delete_note"))
	// Output:
	// read_note, mode observe: passed true, denied for "insufficient_scope"
	// delete_note, mode enforce: passed false, denied for "insufficient_scope"
}

const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`

func calling(tool string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + tool + `","arguments":{}}}`
}

// notes is somebody's MCP server.
var notes = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	if strings.Contains(string(body), "tools/list") {
		io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read_note"},{"name":"delete_note"}]}}`)
		return
	}
	io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"done"}]}}`)
})

// send posts a message with a token.
func send(h http.Handler, token, message string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "https://mcp.example/mcp", strings.NewReader(message))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// show prints what matters of an answer.
func show(w *httptest.ResponseRecorder) {
	if challenge := w.Header().Get("WWW-Authenticate"); challenge != "" {
		fmt.Println(w.Code, strings.ReplaceAll(challenge, ", ", ",\n    "))
		return
	}
	var a struct {
		Result struct {
			Tools   []struct{ Name string }
			Content []struct{ Text string }
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		fmt.Println(w.Code, err)
		return
	}
	for _, t := range a.Result.Tools {
		fmt.Println(w.Code, "tools:", t.Name)
	}
	for _, c := range a.Result.Content {
		fmt.Println(w.Code, c.Text)
	}
}
