package gateway_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/gateway"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// What the rules open passes byte for byte, and nothing else passes (MC-01, MC-04, MC-05).
func TestRulesStandInFrontOfTheServer(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL))
	if got := g.post("crm", "", list); got.status != 401 ||
		!strings.Contains(got.header.Get("WWW-Authenticate"), "/.well-known/oauth-protected-resource/crm") {
		t.Errorf("without a token: %d %v", got.status, got.header)
	}
	for _, tenant := range []string{"acme", "globex"} {
		if got := g.post("crm", g.token("crm", tenant, "read"), list); got.status != 200 ||
			listed(t, got.body) != "read_it" {
			t.Errorf("a reader of %s sees %d %s", tenant, got.status, got.body)
		}
	}
	odd := `{"jsonrpc":"2.0", "id" : "é\u00e9", ` +
		`"method":"tools/call","params":{"name":"read_it","arguments":{"z":1.0e2,"a":"\u2028"}}}`
	if got := g.post("crm", g.token("crm", "acme", "write"), odd); got.status != 200 || b.last(t).body != odd {
		t.Errorf("got %d, and the server got %s", got.status, b.last(t).body)
	}
	before := b.count()
	if got := g.post("crm", g.token("crm", "acme", "read"), call("write_it")); got.status != 403 ||
		!strings.Contains(got.header.Get("WWW-Authenticate"), `scope="read write"`) {
		t.Errorf("a reader who writes: %d %v", got.status, got.header)
	}
	if got := g.post("crm", g.token("crm", "acme", "write"), call("unnamed")); got.status != 200 ||
		!strings.Contains(got.body, "-32602") {
		t.Errorf("what no rule names: %d %s", got.status, got.body)
	}
	if b.count() != before {
		t.Error("what was refused came to the server")
	}
}

// Nothing of the caller's own goes on to the server, and nothing of the server's own comes back
// (MC-24, RS-15, S-06).
func TestNothingOfTheCallersGoesOn(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL))
	raw := g.token("crm", "acme", "read")
	b.answers(func(w http.ResponseWriter, _ *http.Request, _ string) {
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Set-Cookie", "inner=1")
		h.Set("Server", "inner/1.0")
		h.Set("Location", "http://10.0.0.1/")
		h.Set("X-Backend", "10.0.0.1")
		h.Set("Access-Control-Allow-Origin", "*")
		io.WriteString(w, `{"jsonrpc":"2.0","id":7,"result":{"content":[]}}`)
	})
	got := g.post("crm", raw, call("read_it"), func(r *http.Request) {
		for _, name := range []string{
			"Cookie", "DPoP", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "X-Api-Key",
			"Proxy-Authorization", "Gatehouse-Caller", "X-Http-Method-Override", "Via",
			"Mcp-Secret", "Cf-Connecting-Ip", "X-Request-Id",
		} {
			r.Header.Set(name, "of the caller "+raw)
		}
		r.Header.Del("DPoP")
		r.Header.Set("Connection", "X-Custom")
		r.Header.Set("Mcp-Param-Region", "eu") // in the older era nothing holds it against the message
		r.Header.Set("Mcp-Name", "write_it")
	})
	if got.status != 200 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	at := b.last(t)
	var names []string
	for name, values := range at.header {
		names = append(names, name)
		if strings.Contains(strings.Join(values, " "), raw) {
			t.Errorf("the caller's token is in %s", name)
		}
	}
	slices.Sort(names)
	want := []string{"Accept", "Accept-Encoding", "Content-Length", "Content-Type", "Gatehouse-Caller", "User-Agent",
		"X-Request-Id"}
	if !slices.Equal(names, want) {
		t.Errorf("the server gets the headers %v, want %v", names, want)
	}
	if at.host != strings.TrimPrefix(b.URL, "http://") ||
		at.header.Get("X-Request-Id") != got.header.Get("X-Request-Id") {
		t.Errorf("Host %s, request id %s", at.host, at.header.Get("X-Request-Id"))
	}
	for _, name := range []string{"Set-Cookie", "Server", "Location", "X-Backend", "Access-Control-Allow-Origin"} {
		if v := got.header.Get(name); v != "" {
			t.Errorf("the client gets the server's %s: %s", name, v)
		}
	}
}

// The server can know who calls, by a word that is good for it alone.
func TestTheServerIsToldWhoCalls(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL))
	g.post("crm", g.token("crm", "acme", "read"), call("read_it"))
	_, document := g.get(gateway.KeysPath)
	set, err := token.ParseKeySet([]byte(document))
	must(t, err)
	signed, err := jose.ParseSignedCompact(b.last(t).header.Get("Gatehouse-Caller"),
		[]jose.SignatureAlgorithm{jose.EdDSA})
	must(t, err)
	key, err := set.Key(context.Background(), signed.Signatures[0].Header.KeyID)
	must(t, err)
	payload, err := signed.Verify(key.Key)
	must(t, err)
	var c map[string]any
	must(t, json.Unmarshal(payload, &c))
	for name, want := range map[string]any{
		"iss": g.url + "/crm", "aud": b.URL, "sub": "usr_acme", "tenant_id": "acme", "client_id": "cli_agent",
		"grant_id": "grt_acme",
	} {
		if c[name] != want {
			t.Errorf("%s is %v, want %v", name, c[name], want)
		}
	}
	if id, _ := c["jti"].(string); len(id) < 26 || !strings.Contains(g.log.String(), "assertion="+id) {
		t.Errorf("the log does not have the id of the assertion, %v:\n%s", c["jti"], g.log)
	}
	if c["exp"].(float64)-c["iat"].(float64) != 60 {
		t.Errorf("it is good from %v to %v", c["iat"], c["exp"])
	}
	// What the gateway says to a server opens nothing at the gateway.
	if got := g.post("crm", b.last(t).header.Get("Gatehouse-Caller"), list); got.status != 401 {
		t.Errorf("an assertion as a token: %d", got.status)
	}
}

// With a credential of its own the server gets that, and no assertion.
func TestCredential(t *testing.T) {
	b := newBehind(t)
	t.Setenv("GATEWAY_TEST_KEY", "s3cret")
	g := openGate(t,
		crm(b.URL, "    credential: {header: Authorization, prefix: 'Bearer ', secret: {env: GATEWAY_TEST_KEY}}\n"))
	g.post("crm", g.token("crm", "acme", "read"), call("read_it"))
	if h := b.last(t).header; h.Get("Authorization") != "Bearer s3cret" || h.Get("Gatehouse-Caller") != "" {
		t.Errorf("the server gets %v", h)
	}
}

// MC-25: a redirect is neither followed nor passed on; an answer that is none, or names what is
// inside, becomes a plain 502.
func TestAnswersThatAreNone(t *testing.T) {
	other := newBehind(t)
	b := newBehind(t)
	g := openGate(t, crm(b.URL, "    limits: {failures: 1000, answer: 1000}\n"))
	raw := g.token("crm", "acme", "read")
	const inner = "http://10.0.0.1:8080/secret"
	for name, row := range map[string]struct {
		status int
		kind   string
		body   string
		want   int
	}{
		"302": {302, "", "", 502}, "307": {307, "", "", 502},
		"308 with a body":     {308, "application/json", `{"jsonrpc":"2.0","id":7,"result":{}}`, 502},
		"401":                 {401, "application/json", `{"error":"invalid_token"}`, 502},
		"403":                 {403, "text/plain", inner, 502},
		"500":                 {500, "text/plain", inner, 502},
		"500 in JSON":         {500, "application/json", `{"error":"` + inner + `"}`, 502},
		"503":                 {503, "text/html", inner, 502},
		"html":                {200, "text/html", "<a href=" + inner + ">", 502},
		"no JSON":             {200, "application/json", "{" + inner, 502},
		"a batch":             {200, "application/json", "[{}]", 502},
		"nothing":             {200, "application/json", "", 502},
		"too long":            {200, "application/json", `{"a":"` + strings.Repeat("x", 2000) + `"}`, 502},
		"a stream with a 500": {500, "text/event-stream", "data: " + inner + "\n\n", 502},
		"no message":          {200, "application/json", `{"error":"` + inner + `"}`, 502},
		"400 in other JSON":   {400, "application/json", `{"error":"` + inner + `"}`, 400},
		"400 in text":         {400, "text/plain", inner, 400}, "404 in text": {404, "text/plain", inner, 404},
		"a message with 400": {400, "application/json",
			`{"jsonrpc":"2.0","id":7,"error":{"code":-32022,"message":"no"}}`, 400},
	} {
		t.Run(name, func(t *testing.T) {
			b.answers(func(w http.ResponseWriter, _ *http.Request, _ string) {
				if row.kind != "" {
					w.Header().Set("Content-Type", row.kind)
				}
				w.Header().Set("Location", other.URL)
				w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+inner+`"`)
				w.WriteHeader(row.status)
				io.WriteString(w, row.body)
			})
			got := g.post("crm", raw, call("read_it"))
			if got.status != row.want || strings.Contains(got.body, "10.0.0.1") || got.header.Get("Location") != "" ||
				got.header.Get("WWW-Authenticate") != "" {
				t.Errorf("got %d %s %v, want %d", got.status, got.body, got.header, row.want)
			}
		})
	}
	if other.count() != 0 {
		t.Error("a redirect was followed")
	}
}

// Each upstream describes itself, and a token for one opens nothing at the other (RS-01, RS-03,
// RS-04, RS-14).
func TestSeveralUpstreams(t *testing.T) {
	one, two := newBehind(t), newBehind(t)
	g := openGate(t, crm(one.URL)+strings.ReplaceAll(crm(two.URL), "crm", "wiki"))
	for _, name := range []string{"crm", "wiki"} {
		status, body := g.get("/.well-known/oauth-protected-resource/" + name)
		if status != 200 || !strings.Contains(body, `"resource":"`+g.url+"/"+name+`"`) ||
			!strings.Contains(body, g.issuer.URL()) || !strings.Contains(body, `"scopes_supported":["read"]`) {
			t.Errorf("%s describes itself as %d %s", name, status, body)
		}
	}
	if status, body := g.get("/.well-known/oauth-protected-resource"); status != 404 {
		t.Errorf("at the root of the host: %d %s", status, body)
	}
	if _, body := g.get("/.well-known/ai-catalog.json"); !strings.Contains(body, "/crm/server-card") ||
		!strings.Contains(body, "/wiki/server-card") {
		t.Errorf("the catalog: %s", body)
	}
	if got := g.post("wiki", g.token("crm", "acme", "read"), list); got.status != 401 || two.count() != 0 {
		t.Errorf("another upstream's token: %d", got.status)
	}
	if got := g.post("wiki", g.token("wiki", "acme", "read"), list); got.status != 200 || two.count() != 1 ||
		one.count() != 0 {
		t.Errorf("its own: %d", got.status)
	}
}

// Rules change while the gateway runs; a file that is wrong changes nothing.
func TestReload(t *testing.T) {
	b := newBehind(t)
	upstream := crm(b.URL)
	g := openGate(t, upstream)
	raw := g.token("crm", "acme", "read")
	sees := func(want string) {
		t.Helper()
		if got := g.post("crm", raw, list); listed(t, got.body) != want {
			t.Errorf("sees %s, want %s", got.body, want)
		}
	}
	sees("read_it")
	g.write(strings.Replace(upstream, "name: write_it, scopes: [write]", "name: write_it, scopes: [read]", 1))
	must(t, g.gateway.Reload())
	sees("read_it write_it")
	for name, bad := range map[string]string{
		"a scope nobody has": strings.Replace(upstream, "scopes: [read]}", "scopes: [raed]}", 1),
		"another url":        strings.Replace(upstream, b.URL, b.URL+"/other", 1),
		"another upstream":   upstream + strings.ReplaceAll(upstream, "crm", "wiki"), "no YAML": "  - [", "nothing": "",
		"an unknown word": strings.Replace(upstream, "implies:", "implys:", 1),
	} {
		g.write(bad)
		if err := g.gateway.Reload(); err == nil {
			t.Errorf("%s is taken", name)
		}
		sees("read_it write_it")
	}
	// What runs beside sees the file by itself, and when it is told to.
	ctx, cancel := context.WithCancel(context.Background())
	again, done := make(chan os.Signal), make(chan struct{})
	go func() { g.gateway.Run(ctx, again); close(done) }()
	g.write(upstream)
	again <- os.Interrupt
	again <- os.Interrupt // taken only when the first was acted on
	sees("read_it")
	cancel()
	<-done
}

// Scopes that change while it runs are those of the documents and of challenges, too.
func TestReloadOfScopes(t *testing.T) {
	b := newBehind(t)
	upstream := crm(b.URL)
	g := openGate(t, upstream)
	asked := func() string {
		_, metadata := g.get("/.well-known/oauth-protected-resource/crm")
		_, older := g.get("/.well-known/mcp-server-card.json")
		return metadata + older + g.post("crm", "", list).header.Get("WWW-Authenticate")
	}
	if got := asked(); strings.Count(got, "see") != 0 || !strings.Contains(got, `scope="read"`) {
		t.Errorf("before: %s", got)
	}
	g.write(strings.Replace(upstream, "scopes: [{name: read, description: Read, baseline: true}",
		"scopes: [{name: read, description: Read}, {name: see, description: See, baseline: true}", 1))
	must(t, g.gateway.Reload())
	if got := asked(); !strings.Contains(got, `"scopes_supported":["see"]`) ||
		!strings.Contains(got, `{"name":"see","description":"See"}`) || !strings.Contains(got, `scope="see"`) {
		t.Errorf("afterwards: %s", got)
	}
}

// SC-06: documents that need no token are bounded for each address, and those with a token go on.
func TestDocumentsAreBounded(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL), "documents_per_minute: 5\n")
	statuses := map[int]int{}
	for range 3 {
		for _, path := range []string{"/.well-known/oauth-protected-resource/crm", "/crm/server-card",
			gateway.KeysPath} {
			status, _ := g.get(path)
			statuses[status]++
		}
	}
	if statuses[200] != 5 || statuses[429] != 4 {
		t.Errorf("got %v", statuses)
	}
	if got := g.post("crm", g.token("crm", "acme", "read"), call("read_it")); got.status != 200 {
		t.Errorf("a call: %d", got.status)
	}
}
