package gateway_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// claims are what a server is told of who calls.
func (a arrived) claims(t testing.TB) (claims map[string]any) {
	t.Helper()
	parts := strings.Split(a.header.Get("Gatehouse-Caller"), ".")
	if len(parts) != 3 {
		t.Fatalf("no word of who calls: %v", a.header)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	must(t, err)
	must(t, json.Unmarshal(payload, &claims))
	return claims
}

// told is the tenant and the grant that a server is told of.
func (a arrived) told(t testing.TB) (tenant, grant any) {
	t.Helper()
	c := a.claims(t)
	return c["tenant_id"], c["grant_id"]
}

// RS-22, RS-25, MC-21: what a server asks back, and the state that a client brings for it, pass as
// they are, and with them who brings it: the server can bind the one to the other. The state opens
// nothing at the gateway.
func TestAStateComesWithWhoBringsIt(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL))
	const asks = `{"jsonrpc":"2.0","id":7,"result":{"resultType":"input_required","requestState":"of ` +
		`acme","inputRequests":{"c":{"method":"elicitation/create","params":{"mode":"url",` +
		`"url":"https://third.example/"}}}}}`
	b.answers(func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, asks)
	})
	const brought = `"name":"write_it","arguments":{},"requestState":"of ` +
		`acme","inputResponses":{"c":{"action":"accept"}}`
	body := modernly("tools/call", brought)
	for _, tenant := range []string{"acme", "globex"} {
		got := g.post("crm", g.token("crm", tenant, "read", "write"), body, modern("tools/call", "write_it"))
		at := b.last(t)
		if whose, grant := at.told(t); got.body != asks || at.body != body || whose != tenant ||
			grant != "grt_"+tenant {
			t.Errorf("%s: got %d %s, and the server got %s of %v %v", tenant, got.status, got.body, at.body,
				whose, grant)
		}
	}
	before := b.count()
	if got := g.post("crm", g.token("crm", "globex", "read"), body,
		modern("tools/call", "write_it")); got.status != 403 || b.count() != before {
		t.Errorf("a reader with a writer's state: got %d %s", got.status, got.body)
	}
}

// RS-32, RS-34: what the server holds against the message, headers of arguments and what the client
// can do, comes to it as it was sent, and its refusal comes back whole.
func TestTheServersOwnChecksHold(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL))
	raw := g.token("crm", "acme", "read")
	refusal := ""
	b.answers(func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, refusal)
	})
	for _, refusal = range []string{
		`{"jsonrpc":"2.0","id":7,"error":{"code":-32020,"message":"Mcp-Param-Region is ` +
			`another","data":{"header":"Mcp-Param-Region"}}}`,
		`{"jsonrpc":"2.0","id":7,"error":{"code":-32021,"message":"it asks ` +
			`back","data":{"requiredCapabilities":{"elicitation":{"form":{}}}}}}`,
	} {
		body := modernly("tools/call", `"name":"read_it","arguments":{"region":"eu"}`)
		got := g.post("crm", raw, body, modern("tools/call", "read_it"),
			func(r *http.Request) { r.Header.Set("Mcp-Param-Region", "us") })
		if at := b.last(t); got.status != 400 || got.body != refusal || at.body != body ||
			at.header.Get("Mcp-Param-Region") != "us" {
			t.Errorf("got %d %s, and the server got %s with %v", got.status, got.body, at.body, at.header)
		}
	}
}

// MC-22: tasks are closed until a rule opens them, for everybody and every id; then the server is
// told whose each question is, and that the id is another's it can see.
func TestHandlesOfOthers(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL))
	ask := func(tenant, id string) answer {
		return g.post("crm", g.token("crm", tenant, "read"), modernly("tasks/get", `"taskId":"`+id+`"`),
			modern("tasks/get", ""))
	}
	want := ask("acme", "of acme")
	for _, tenant := range []string{"acme", "globex"} {
		for _, id := range []string{"of acme", "of nobody"} {
			if got := ask(tenant, id); got.status == 200 || got.status != want.status || got.body != want.body ||
				b.count() != 0 {
				t.Errorf("%s asks for the task %s: got %d %s, want %d %s and nothing behind", tenant, id, got.status,
					got.body, want.status, want.body)
			}
		}
	}
	g.write(crm(b.URL, "    methods: [{name: \"tasks/*\", scopes: [read]}]\n"))
	must(t, g.gateway.Reload())
	for _, tenant := range []string{"acme", "globex"} {
		got := ask(tenant, "of acme")
		if whose, grant := b.last(t).told(t); got.status != 200 || whose != tenant || grant != "grt_"+tenant {
			t.Errorf("opened, %s: got %d %s, and the server was told %v %v", tenant, got.status, got.body, whose, grant)
		}
	}
}

// MC-22: a subscription is the answer to its own request, and comes with a word of who asks. By its
// id another caller neither hears it nor ends it.
func TestSubscriptionsOfOthers(t *testing.T) {
	b := newBehind(t)
	goOn := make(chan struct{})
	b.announcing(goOn)
	g := openGate(t, crm(b.URL))
	acme, globex := g.token("crm", "acme", "read"), g.token("crm", "globex", "read")
	const filter = `"notifications":{"toolsListChanged":true}`
	mine := g.listen(t, "POST", acme, modernly("subscriptions/listen", filter), modern("subscriptions/listen", ""))
	mine.hears(": open")
	if whose, _ := b.last(t).told(t); whose != "acme" {
		t.Errorf("the server is told %v", whose)
	}
	g.post("crm", globex, strings.Replace(modernly("notifications/cancelled", `"requestId":7`), `"id":7,`, "", 1),
		modern("notifications/cancelled", ""))
	if whose, _ := b.last(t).told(t); whose != "globex" {
		t.Errorf("who cancels is %v, the server is told", whose)
	}
	close(goOn)
	mine.hears(`"data":"first"`)
}

// MC-28: a description that the gateway writes for one tenant is shown to no other, in neither form
// of an answer, with others asking at the same time.
func TestDescriptionsOfOneTenant(t *testing.T) {
	b := newBehind(t)
	b.answers(func(w http.ResponseWriter, r *http.Request, _ string) {
		answer := `{"jsonrpc":"2.0","id":1,"result":{"tools":[` + readIt + "," + writeIt + `]}}`
		if r.Header.Get("Traceparent") != "" {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: "+answer+"\n\n")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, answer)
	})
	g := openGate(t, crm(b.URL, `    tenants:
      acme: [{name: read_it, describe: "planted by acme"}, {name: write_it, rename: acmes_own}]
      globex: [{name: read_it, describe: "planted by globex"}]
`), "calls_per_minute: -1\n")
	var all sync.WaitGroup
	for tenant, words := range map[string][]string{"acme": {"planted by acme", "acmes_own"},
		"globex": {"planted by globex", "write_it"}, "initech": {"Reads it.", "write_it"}} {
		raw := g.token("crm", tenant, "read", "write")
		for _, stream := range []bool{false, true} {
			all.Go(func() {
				for range 50 {
					r := httptest.NewRequest("POST", g.url+"/crm", strings.NewReader(list))
					r.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + raw}}
					if stream {
						r.Header.Set("Traceparent", "00-1-1-00")
					}
					w := httptest.NewRecorder()
					g.gateway.Handler().ServeHTTP(w, r)
					for _, word := range []string{"planted by acme", "acmes_own", "planted by globex", "Reads it.",
						"write_it"} {
						if strings.Contains(w.Body.String(), word) != slices.Contains(words, word) {
							t.Errorf("%s sees %s", tenant, w.Body)
							return
						}
					}
				}
			})
		}
	}
	all.Wait()
}

// SC-08: nobody asks a server for its card, and what a server says of how it is protected changes
// nothing: the file says it.
func TestNoCardIsBelieved(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL))
	_, card := g.get("/crm/server-card")
	_, metadata := g.get("/.well-known/oauth-protected-resource/crm")
	b.answers(func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w,
			`{"jsonrpc":"2.0","id":7,"result":{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},`+
				`"authentication":{"required":false},"authorization_servers":["https://mallory.example"],`+
				`"remotes":[{"url":"https://mallory.example/mcp"}],"_meta":{"io.`+
				`modelcontextprotocol/serverInfo":{"name":"mallory","version":"9"}}}}`)
	})
	g.post("crm", g.token("crm", "acme", "read"), modernly("server/discover", ""), modern("server/discover", ""))
	came := b.count()
	if _, again := g.get("/crm/server-card"); again != card || strings.Contains(again, "mallory") {
		t.Errorf("the card is %s, want %s", again, card)
	}
	if _, again := g.get("/.well-known/oauth-protected-resource/crm"); again != metadata ||
		strings.Contains(again, "mallory") {
		t.Errorf("the metadata are %s, want %s", again, metadata)
	}
	got := g.post("crm", "", call("read_it"))
	if challenge := got.header.Get("WWW-Authenticate"); got.status != 401 || !strings.Contains(challenge, g.url) ||
		strings.Contains(challenge, "mallory") {
		t.Errorf("without a token: %d %s", got.status, challenge)
	}
	if b.count() != came || slices.ContainsFunc(b.got, func(a arrived) bool { return a.method == "GET" }) {
		t.Error("the server was asked for its card")
	}
}

// MC-12: however a server names its sessions, nobody guesses one by another: each name that a
// client gets has 256 bits of a key's in it. After its end it is nobody's.
func TestTenThousandSessions(t *testing.T) {
	b := newBehind(t)
	n := 0
	b.answers(func(w http.ResponseWriter, r *http.Request, _ string) {
		w.Header().Set("Content-Type", "application/json")
		if id := r.Header.Get("Mcp-Session-Id"); id != "" {
			w.WriteHeader(http.StatusNotFound) // it has ended
			return
		}
		n++
		w.Header().Set("Mcp-Session-Id", fmt.Sprint(n))
		io.WriteString(w,
			`{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{},`+
				`"serverInfo":{"name":"behind","version":"1"}}}`)
	})
	g := openGate(t, crm(b.URL), "calls_per_minute: -1\n")
	raw := g.token("crm", "acme", "read")
	ask := func(session, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", g.url+"/crm", strings.NewReader(body))
		r.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + raw}}
		if session != "" {
			r.Header.Set("Mcp-Session-Id", session)
		}
		w := httptest.NewRecorder()
		g.gateway.Handler().ServeHTTP(w, r)
		return w
	}
	seen, ascending, ones, before := map[string]bool{}, 0, 0, ""
	const sessions = 10_000
	for i := range sessions {
		name := ask("",
			`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`).Header().Get(
			"Mcp-Session-Id")
		inner, ours, _ := strings.Cut(name, ".")
		bits, err := base64.RawURLEncoding.DecodeString(ours)
		if err != nil || len(bits) != 32 || inner != fmt.Sprint(i+1) || seen[ours] {
			t.Fatalf("session %d is called %q: %v", i, name, err)
		}
		seen[ours] = true
		if ours > before {
			ascending++
		}
		before = ours
		for _, b := range bits {
			for ; b != 0; b &= b - 1 {
				ones++
			}
		}
	}
	if share := float64(ones) / (sessions * 256); share < 0.49 || share > 0.51 || ascending < sessions*45/100 ||
		ascending > sessions*55/100 {
		t.Errorf("of their bits %.3f are set, and %d of %d are above the one before: want half of both", share,
			ascending, sessions)
	}
	if got := ask(fmt.Sprint(sessions, ".", before), list); got.Code != 404 {
		t.Errorf("after its end: %d %s", got.Code, got.Body)
	}
	if got := ask("2."+before, list); got.Code != 404 {
		t.Errorf("a session by another's name: %d %s", got.Code, got.Body)
	}
}
