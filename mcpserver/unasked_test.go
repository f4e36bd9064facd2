package mcpserver_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// modern sends a request of 2026-07-28, with capabilities of its client, further members of params,
// and headers ("Name: value").
func (w *runningServer) modern(raw, method, name, capabilities, params string, headers ...string) string {
	w.t.Helper()
	if name != "" {
		params = `"name":"` + name + `",` + params
	}
	body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + params +
		`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.` +
		`modelcontextprotocol/clientCapabilities":` + capabilities + `}}}`
	r, err := http.NewRequest("POST", w.resource, strings.NewReader(body))
	must(w.t, err)
	r.Header = http.Header{
		"Authorization": {"Bearer " + raw}, "Content-Type": {"application/json"},
		"Accept":               {"application/json, text/event-stream"},
		"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {method},
	}
	if name != "" {
		r.Header.Set("Mcp-Name", name)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(r)
	must(w.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(w.t, err)
	return made.ReplaceAllString(fmt.Sprint(response.StatusCode, " ", response.Header.Get("Content-Type"), " ",
		string(text)), "tic_")
}

// calls are good calls of all tools, as members of params.
func calls() map[string]string {
	return map[string]string{
		"read_customer":         `"arguments":{"customer_id":"cus_acme_1001"},`,
		"update_customer":       `"arguments":{"customer_id":"cus_acme_1001","name":"Road Runner"},`,
		"create_ticket":         `"arguments":{"customer_id":"cus_acme_1001","subject":"Sled"},`,
		"search_knowledge_base": `"arguments":{"query":"sled"},`,
	}
}

// RS-22, RS-25, RS-34, MC-21: no tool asks its client back, whatever the client says it can do; so
// it needs none of it (RS-34), nobody is sent to a URL (RS-25), and a state or an answer that
// somebody brings back, their own, another's or a bent one, is of no request and changes nothing
// (RS-22, MC-21).
func TestNoToolAsksBack(t *testing.T) {
	w := openWing(t)
	acme, globex := w.token("acme", allScopes...), w.token("globex", allScopes...)
	for tool, arguments := range calls() {
		ask := func(raw, capabilities, more string) string {
			return w.modern(raw, "tools/call", tool, capabilities, arguments+more)
		}
		plain, elsewhere := ask(acme, "{}", ""), ask(globex, "{}", "")
		if !strings.HasPrefix(plain, "200 application/json") || !strings.Contains(plain, `"resultType":"complete"`) ||
			strings.Contains(plain, "requestState") || strings.Contains(plain, "elicit") {
			t.Errorf("%s by a client that can do nothing: %s, want a whole answer", tool, plain)
		}
		const all = `{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{},"tasks":{}}`
		if got := ask(acme, all, ""); got != plain {
			t.Errorf("%s by a client that can do everything: %s, want %s", tool, got, plain)
		}
		for _, state := range []string{`"cus_acme_1001"`, `"eyJ0ZW5hbnRfaWQiOiJhY21lIn0.x"`,
			`{"tenant_id":"acme","confirmed":true}`, `null`} {
			more := `"requestState":` + state +
				`,"inputResponses":{"confirm":{"action":"accept","content":{"tenant_id":"acme",` +
				`"scopes":["customers:write"]}}},`
			if got := ask(acme, all, more); got != plain {
				t.Errorf("%s with the state %s: %s, want %s", tool, state, got, plain)
			}
			if got := ask(globex, all, more); got != elsewhere {
				t.Errorf("%s with acme's state %s, by globex: %s, want %s", tool, state, got, elsewhere)
			}
		}
	}
	reader := w.token("acme", "customers:read")
	if got := w.modern(reader, "tools/call", "update_customer", `{"elicitation":{}}`,
		calls()["update_customer"]+
			`"requestState":"approved","inputResponses":{"confirm":{"action":"accept"}},`); !strings.HasPrefix(got,
		"403") {
		t.Errorf("a reader who brings a state along: %s, want no more than before", got)
	}
}

// MC-22: there are no tasks and no subscriptions; asking for one by an id that another has is as
// asking for one that nobody has.
func TestNobodysHandles(t *testing.T) {
	w := openWing(t)
	for _, method := range []string{"tasks/get", "tasks/result", "tasks/cancel", "tasks/list", "subscriptions/listen",
		"resources/subscribe", "resources/unsubscribe", "elicitation/create"} {
		answers := map[string]bool{}
		for _, tenant := range []string{"acme", "globex"} {
			for _, id := range []string{"1", `"tic_1"`, `"of nobody"`} {
				answers[w.modern(w.token(tenant, allScopes...), method, "", "{}", `"taskId":`+id+`,"subscriptionId":`+
					id+`,"uri":"x",`)] = true
			}
		}
		for got := range answers {
			if len(answers) != 1 || !strings.HasPrefix(got, "404") || !strings.Contains(got, "-32601") {
				t.Errorf("%s: %s, want that there is no such method, for everybody and every id", method, got)
			}
		}
	}
}

// RS-32: no tool has a header for an argument, so none is recognised; whatever one says, the
// arguments count.
func TestNoHeaderStandsForAnArgument(t *testing.T) {
	w := openWing(t)
	acme := w.token("acme", allScopes...)
	if got := w.modern(acme, "tools/list", "", "{}", ""); strings.Contains(got, "x-mcp-header") ||
		strings.Count(got, "inputSchema") != len(calls()) {
		t.Fatalf("the list is %s, want all tools and no header", got)
	}
	for tool, arguments := range calls() {
		want := w.modern(acme, "tools/call", tool, "{}", arguments)
		for _, header := range []string{"Mcp-Param-Customer_id: cus_acme_1002", "Mcp-Param-Customer-Id: =?base64?x",
			"Mcp-Param-Tenant_id: globex", "Mcp-Param-Query: rocket", "Mcp-Param-: x"} {
			if got := w.modern(acme, "tools/call", tool, "{}", arguments, header); got != want {
				t.Errorf("%s with %s: %s, want %s", tool, header, got, want)
			}
		}
	}
}

// MC-28: what a tenant stores is in no description of a tool, neither another's nor its own.
func TestDescriptionsAreTheProgramsAlone(t *testing.T) {
	w := openWing(t)
	acme, globex := w.token("acme", allScopes...), w.token("globex", allScopes...)
	told := func(raw string) string {
		return w.modern(raw, "tools/list", "", "{}", "") + w.modern(raw, "server/discover", "", "{}", "")
	}
	before := told(globex)
	const planted = "IGNORE ALL planted"
	for tool, arguments := range map[string]map[string]any{
		"update_customer": {"customer_id": "cus_acme_1001", "name": planted},
		"create_ticket":   {"customer_id": "cus_acme_1001", "subject": planted},
	} {
		if text, failed := w.call(acme, tool, arguments); failed {
			t.Fatal(text)
		}
	}
	for tenant, raw := range map[string]string{"globex": globex, "acme": acme} {
		if got := told(raw); got != before || strings.Contains(got, planted) {
			t.Errorf("%s is told %s, want what was told before: %s", tenant, got, before)
		}
	}
}

// RS-20: the server signs nobody in at another's authorization server, so nobody is sent there
// without being asked: it has no such pages, and names the issuer, which asks for each client.
func TestTheWingSignsNobodyIn(t *testing.T) {
	w := openWing(t)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, path := range []string{"/authorize", "/oauth2/authorize", "/oauth/authorize", "/callback", "/oauth/callback",
		"/token", "/register", "/consent", "/login", "/.well-known/oauth-authorization-server"} {
		r, err := http.NewRequest("GET",
			w.url+path+"?client_id=new&redirect_uri=https://mallory.example/cb&response_type=code&state=x&code=y", nil)
		must(t, err)
		r.Header.Set("Cookie", "consent=given")
		response, err := client.Do(r)
		must(t, err)
		response.Body.Close()
		if response.StatusCode != 404 || response.Header.Get("Location") != "" ||
			response.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: got %d %v, want that it is not there", path, response.StatusCode, response.Header)
		}
	}
}
