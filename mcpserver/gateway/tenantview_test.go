package gateway_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

const order = `{"name":"write_it","title":"T","description":"Orders.","inputSchema":{"type":"object",` +
	`"properties":{"region":{"type":"string"},"amount":{"type":"number"},"note":{"type":"string"}},` +
	`"required":["region","amount"]}}`

const tenants = `    tenants:
      acme:
        - {name: read_it, off: true}
        - name: write_it
          rename: order
          describe: "Orders at Acme."
          calls_per_hour: 3
          arguments:
            region: {const: eu}
            amount: {minimum: 1, maximum: 100}
            note: {maxLength: 5, pattern: "^[a-zé]+$"}
            kind: {enum: [small, 1, true]}
      "*":
        - {name: write_it, off: true}
`

// One tenant's tools are what the file makes of them; another's are what the server has.
func TestTenantsTools(t *testing.T) {
	b := newBehind(t)
	b.offering(readIt + "," + order)
	g := openGate(t, crm(b.URL, tenants))
	acme, other := g.token("crm", "acme", "read", "write"), g.token("crm", "globex", "read", "write")
	got := g.post("crm", acme, list)
	want := `{"name":"order","title":"T","description":"Orders at ` +
		`Acme.","inputSchema":{"type":"object","properties":{"amount":{"type":"number"},"note":{"type":"string"}},` +
		`"required":["amount"]}}`
	if !strings.Contains(got.body, "["+want+"]") {
		t.Errorf("acme sees %s, want %s", got.body, want)
	}
	if got := g.post("crm", other, list); !strings.Contains(got.body, "["+readIt+"]") {
		t.Errorf("globex sees %s", got.body)
	}
	for _, row := range []struct{ raw, tool string }{{acme, "read_it"}, {acme, "write_it"}, {other, "write_it"},
		{other, "order"}} {
		before := b.count()
		if got := g.post("crm", row.raw, call(row.tool)); !strings.Contains(got.body, "unknown tool") ||
			b.count() != before {
			t.Errorf("%s: got %d %s", row.tool, got.status, got.body)
		}
	}
	// Its new name needs what its own needs.
	if got := g.post("crm", g.token("crm", "acme", "read"), call("order")); got.status != 403 ||
		!strings.Contains(got.header.Get("WWW-Authenticate"), `scope="read write"`) {
		t.Errorf("a reader who orders: %d %v", got.status, got.header)
	}
}

// A tool that is off, and the old name of one, are not reached in other letters either, where a
// rule with a star would open those: a server may fold them.
func TestTenantsToolsInOtherLetters(t *testing.T) {
	b := newBehind(t)
	starred := strings.Replace(crm(b.URL, tenants), "      - {name: slow, scopes: []}\n",
		"      - {name: slow, scopes: []}\n      - {name: \"*\", scopes: [read]}\n", 1)
	starred = strings.Replace(starred, "      - {name: read_it, scopes: [read]}\n", "", 1)
	g := openGate(t, strings.Replace(starred, "- {name: write_it, scopes: [write], write: true}",
		"- {name: other, scopes: [write], write: true}", 1))
	acme := g.token("crm", "acme", "read", "write")
	if got := g.post("crm", acme, call("free")); got.status != 200 || b.count() != 1 {
		t.Fatalf("what the star opens: %d %s", got.status, got.body)
	}
	for _, tool := range []string{"READ_IT", "Write_it", "Order", "read_it", "write_it"} {
		if got := g.post("crm", acme, call(tool)); !strings.Contains(got.body, "unknown tool") || b.count() != 1 {
			t.Errorf("%s: got %d %s", tool, got.status, got.body)
		}
	}
}

// Arguments that are pinned are put in, those out of bounds are refused by name, and the rest of
// the message stays as it was.
func TestTenantsArguments(t *testing.T) {
	b := newBehind(t)
	b.offering(readIt + "," + order)
	g := openGate(t, crm(b.URL, strings.Replace(tenants, "calls_per_hour: 3", "calls_per_hour: 300", 1)))
	acme := g.token("crm", "acme", "read", "write")
	ask := func(arguments string) answer {
		return g.post("crm", acme,
			`{"jsonrpc":"2.0","id":"\u00e9","method":"tools/call","params":{ "_meta":{"x":1.50}, "name":"order"`+
				arguments+`}}`)
	}
	for sent, want := range map[string]string{
		`,"arguments":{"amount":5}`:                 `"arguments":{"amount":5,"region":"eu"}`,
		`,"arguments":{"region":"us","amount":1e2}`: `"arguments":{"region":"eu","amount":1e2}`,
		``:                  `"arguments":{"region":"eu"}`,
		`,"arguments":null`: `"arguments":{"region":"eu"}`,
		`,"arguments":{"note":"éa","kind":1,"z":{"a":1.0}}`: `"arguments":{"note":"éa","kind":1,"z":{"a":1.0},` +
			`"region":"eu"}`,
	} {
		got := ask(sent)
		if body := b.last(t).body; got.status != 200 || !strings.Contains(body, want) ||
			!strings.Contains(body, `"name":"write_it"`) || !strings.Contains(body, `"_meta":{"x":1.50}`) ||
			!strings.Contains(body, `"id":"\u00e9"`) {
			t.Errorf("%s: got %d, and the server got %s, want %s", sent, got.status, body, want)
		}
	}
	before := b.count()
	for sent, want := range map[string]string{
		`{"amount":0}`: "1 at least", `{"amount":101}`: "100 at most", `{"amount":"5"}`: "a number",
		`{"amount":1e999}`: "a number", `{"amount":null}`: "a number",
		`{"note":"toolong"}`: "5 characters", `{"note":"A"}`: "fit the pattern", `{"note":["a"]}`: "a string",
		`{"kind":"big"}`: "one of", `{"kind":"1"}`: "one of",
	} {
		if got := ask(`,"arguments":` + sent); got.status != 200 || !strings.Contains(got.body, "-32602") ||
			!strings.Contains(got.body, want) {
			t.Errorf("%s: got %d %s, want %s", sent, got.status, got.body, want)
		}
	}
	if b.count() != before {
		t.Error("a call out of its bounds came to the server")
	}
	for _, sent := range []string{`{"amount":5,"REGION":"us"}`, `{"Amount":500}`, `{"region":"eu","Region":"us"}`} {
		if got := ask(`,"arguments":` + sent); !strings.Contains(got.body, "wrong case") || b.count() != before {
			t.Errorf("an argument in another case: %d %s", got.status, got.body)
		}
	}
	// MC-08: an argument spelled twice is nobody's.
	if got := ask(`,"arguments":{"amount":5,"\u0061mount":500}`); got.status != 400 || b.count() != before {
		t.Errorf("an argument twice: %d %s", got.status, got.body)
	}
}

// In the modern era the header names the tool too, and goes on as the server knows it.
func TestRenamedInTheModernEra(t *testing.T) {
	b := newBehind(t)
	b.offering(readIt + "," + order)
	g := openGate(t, crm(b.URL, tenants))
	got := g.post("crm", g.token("crm", "acme", "read", "write"),
		modernly("tools/call", `"name":"order","arguments":{"amount":5}`), modern("tools/call", "order"))
	if at := b.last(t); got.status != 200 || at.header.Get("Mcp-Name") != "write_it" ||
		!strings.Contains(at.body, `"name":"write_it"`) {
		t.Errorf("got %d, and the server got %v %s", got.status, at.header, at.body)
	}
}

// A tenant's budget is for all of its callers.
func TestBudget(t *testing.T) {
	b := newBehind(t)
	b.offering(readIt + "," + order)
	g := openGate(t, crm(b.URL, tenants))
	statuses := []int{}
	for i := range 4 {
		c := g.issuer.Claims(g.url+"/crm", "read", "write")
		c.GrantID = "grt_" + string(rune('a'+i))
		got := g.post("crm", g.issuer.Sign(c), call("order"))
		if statuses = append(statuses, got.status); got.status == http.StatusTooManyRequests &&
			got.header.Get("Retry-After") == "" {
			t.Error("a 429 without Retry-After")
		}
	}
	if want := []int{200, 200, 200, 429}; !slices.Equal(statuses, want) {
		t.Errorf("got %v, want %v", statuses, want)
	}
}

// What one tenant has used up of a budget leaves another's as it is, also where one entry is for
// all of them; so does what was called of another tool, and at another upstream; and it comes back
// with the hour, and not before.
func TestABudgetIsOfItsTenantAndItsTool(t *testing.T) {
	b := newBehind(t)
	b.offering(readIt + "," + order)
	const each = "    tenants: {\"*\": [{name: read_it, calls_per_hour: 2}, {name: write_it, calls_per_hour: 2}]}\n"
	g := openGate(t, crm(b.URL, each)+strings.ReplaceAll(crm(b.URL, each), "crm", "wiki"))
	calls := func(upstream, tenant, tool string, want ...int) {
		t.Helper()
		for i, status := range want {
			c := g.issuer.Claims(g.url+"/"+upstream, "read", "write")
			c.TenantID, c.IssuedAt, c.NotBefore, c.Expires = tenant, g.now().Unix(), 0, g.now().Add(time.Minute).Unix()
			if got := g.post(upstream, g.issuer.Sign(c), call(tool)); got.status != status {
				t.Errorf("%s %s %s, call %d: got %d, want %d", upstream, tenant, tool, i+1, got.status, status)
			}
		}
	}
	calls("crm", "acme", "read_it", 200, 200, 429)
	calls("crm", "globex", "read_it", 200, 200, 429)
	calls("crm", "acme", "write_it", 200, 200, 429)
	calls("wiki", "acme", "read_it", 200, 200, 429)
	g.later(30 * time.Minute)
	calls("crm", "acme", "read_it", 429)
	g.later(91 * time.Minute) // two windows on, wherever they begin
	calls("crm", "acme", "read_it", 200)
}

// atRead does something when the body of a request is first read: the guard has found the tenant's
// rules by then.
type atRead struct {
	io.Reader
	do func()
}

func (r *atRead) Read(p []byte) (int, error) {
	if r.do != nil {
		r.do()
		r.do = nil
	}
	return r.Reader.Read(p)
}

// A request is decided and passed on by the same rules, though others count before it is through:
// under the rules of today, a tool of the name that another had yesterday is not called by the
// other's rule.
func TestAReloadInTheMiddleOfARequest(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL, "    tenants: {acme: [{name: read_it, rename: unnamed}]}\n"))
	r := httptest.NewRequest("POST", g.url+"/crm", &atRead{strings.NewReader(call("unnamed")), func() {
		g.write(crm(b.URL))
		must(t, g.gateway.Reload())
	}})
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+g.token("crm", "acme", "read"))
	w := httptest.NewRecorder()
	g.gateway.Handler().ServeHTTP(w, r)
	if got := b.last(t); w.Code != 200 || !strings.Contains(got.body, `"name":"read_it"`) {
		t.Errorf("got %d %s, and the server got %s", w.Code, w.Body, got.body)
	}
	if got := g.post("crm", g.token("crm", "acme", "read"), call("unnamed")); strings.Contains(got.body, "content") {
		t.Errorf("afterwards: %d %s", got.status, got.body)
	}
}

// A pinned argument that the server wants mirrored in a header is mirrored as it is pinned,
// whatever the client says; others are as they came.
func TestPinnedArgumentsAreMirrored(t *testing.T) {
	b := newBehind(t)
	b.offering(`{"name":"write_it","inputSchema":{"type":"object","properties":{"region":{"type":"string",` +
		`"x-mcp-header":"Region"},"level":{"type":"integer","x-mcp-header":"level"},"note":{"type":"string",` +
		`"x-mcp-header":"Note"},"amount":{"type":"number"}}}}`)
	g := openGate(t,
		crm(b.URL, "    tenants: {acme: [{name: write_it, arguments: {region: {const: \"e\u00fc\"}, level: {const: "+
			"3}, amount: {maximum: 10}}}], globex: [{name: write_it, rename: order}]}\n"))
	for _, sent := range []string{"", "us"} {
		got := g.post("crm", g.token("crm", "acme", "read", "write"),
			modernly("tools/call", `"name":"write_it","arguments":{"note":"n"}`), modern("tools/call", "write_it"),
			func(r *http.Request) {
				r.Header.Set("Mcp-Param-Note", "n")
				if sent != "" {
					r.Header["Mcp-Param-Region"], r.Header["Mcp-Param-Level"] = []string{sent, sent}, []string{"9"}
				}
			})
		h := b.last(t).header
		if got.status != 200 || strings.Join(h["Mcp-Param-Region"], " ") != "=?base64?ZcO8?=" ||
			strings.Join(h["Mcp-Param-Level"], " ") != "3" || h.Get("Mcp-Param-Note") != "n" {
			t.Errorf("got %d, and the server got %v", got.status, h)
		}
	}
	// A tool of another name alone has the arguments that its client mirrored.
	g.post("crm", g.token("crm", "globex", "read", "write"),
		modernly("tools/call", `"name":"order","arguments":{"note":"n"}`), modern("tools/call", "order"),
		func(r *http.Request) {
			r.Header.Set("Mcp-Param-Note", "n")
		})
	if h := b.last(t).header; h.Get("Mcp-Param-Note") != "n" || h.Get("Mcp-Name") != "write_it" {
		t.Errorf("renamed: the server got %v", h)
	}
}
