package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/gateway"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

// behind is somebody's MCP server that trusts anyone who reaches it. It keeps what it got.
type behind struct {
	*httptest.Server
	mu     sync.Mutex
	got    []arrived
	answer func(w http.ResponseWriter, r *http.Request, body string) // nil: the tools
}

type arrived struct {
	method string
	header http.Header
	host   string
	body   string
}

const tools = `{"name":"read_it","description":"Reads ` +
	`it.","inputSchema":{"type":"object"}},{"name":"write_it","description":"Writes ` +
	`it.","inputSchema":{"type":"object"}},{"name":"unnamed","inputSchema":{"type":"object"}}`

func newBehind(t testing.TB) *behind {
	b := &behind{}
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Server.Close)
	return b
}

func (b *behind) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	b.got = append(b.got, arrived{r.Method, r.Header.Clone(), r.Host, string(body)})
	answer := b.answer
	b.mu.Unlock()
	if answer != nil {
		answer(w, r, string(body))
		return
	}
	var m struct {
		ID     json.RawMessage
		Method string
	}
	_ = json.Unmarshal(body, &m) // a GET has none
	w.Header().Set("Content-Type", "application/json")
	switch m.Method {
	case "tools/list":
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"tools":[%s]}}`, m.ID, tools)
	case "initialize":
		w.Header().Set("Mcp-Session-Id", "inner-session")
		fmt.Fprintf(w,
			`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},`+
				`"serverInfo":{"name":"behind","version":"1"}}}`, m.ID)
	case "notifications/initialized":
		w.WriteHeader(http.StatusAccepted)
	case "server/discover":
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}`, m.ID)
	default:
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}`, m.ID)
	}
}

func (b *behind) answers(f func(w http.ResponseWriter, r *http.Request, body string)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = f
}

// last is what came last.
func (b *behind) last(t testing.TB) arrived {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.got) == 0 {
		t.Fatal("nothing came to the server behind")
	}
	return b.got[len(b.got)-1]
}

func (b *behind) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.got)
}

// gate is a running gateway with a toy issuer.
type gate struct {
	t       testing.TB
	issuer  *tokentest.Issuer
	list    *revocation.Memory
	gateway *gateway.Gateway
	file    string
	log     *testenv.Book
	url     string // of the listener

	mu    sync.Mutex
	ahead time.Duration
}

// crm is an upstream in a configuration file: one that lies at the URL.
func crm(url string, more ...string) string {
	return "  - name: crm\n    resource: $URL/crm\n    url: " + url + "\n" +
		`    scopes: [{name: read, description: Read, baseline: true}, {name: write, description: Write}]
    implies: {write: [read]}
    tools:
      - {name: read_it, scopes: [read]}
      - {name: write_it, scopes: [write], write: true}
      - {name: slow, scopes: []}
    resources: [{name: "file:///open/*", scopes: [read]}]
` + strings.Join(more, "")
}

// openGate starts a gateway in front of upstreams as they stand in a file; $URL is the gateway's
// own. It has no database.
func openGate(t testing.TB, upstreams string, more ...string) *gate {
	t.Helper()
	return openGateOn(t, "", upstreams, more...)
}

// openGateOn is openGate with a database.
func openGateOn(t testing.TB, database, upstreams string, more ...string) *gate {
	t.Helper()
	g := &gate{t: t, issuer: tokentest.NewIssuer(t), list: revocation.NewMemory(nil), log: &testenv.Book{}}
	must(t, g.list.Restore(context.Background(), nil, time.Hour))
	var handler http.Handler
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	g.url = ts.URL
	g.file = filepath.Join(t.TempDir(), "gateway.yaml")
	g.write(upstreams, more...)
	options := &slog.HandlerOptions{}
	if _, ok := t.(*testing.B); ok {
		options.Level = slog.LevelWarn // a log in memory grows, and that would be measured
	}
	var err error
	g.gateway, err = gateway.New(context.Background(), g.file, gateway.Deps{
		Revoked: g.list, Log: slog.New(slog.NewTextHandler(g.log, options)), Getenv: os.Getenv, Now: g.now,
		Database: database,
	})
	must(t, err)
	handler = g.gateway.Handler()
	t.Cleanup(func() {
		ts.CloseClientConnections()
		ts.Close()
		if err := g.gateway.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func (g *gate) now() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Now().Add(g.ahead)
}

func (g *gate) later(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ahead += d
}

// write writes the configuration file.
func (g *gate) write(upstreams string, more ...string) {
	g.t.Helper()
	text := "issuer: " + g.issuer.URL() + "\n" + strings.Join(more, "") + "upstreams:\n" + strings.ReplaceAll(upstreams,
		"$URL", g.url)
	must(g.t, os.WriteFile(g.file, []byte(text), 0o600))
}

// token is a good token of somebody of a tenant for an upstream.
func (g *gate) token(upstream, tenant string, scopes ...string) string {
	c := g.issuer.Claims(g.url+"/"+upstream, scopes...)
	c.TenantID, c.GrantID, c.Subject = tenant, "grt_"+tenant, "usr_"+tenant
	return g.issuer.Sign(c)
}

// answer is what a client gets.
type answer struct {
	status int
	header http.Header
	body   string
}

// send sends a request to an upstream as a client does.
func (g *gate) send(method, upstream, raw, body string, change ...func(*http.Request)) answer {
	g.t.Helper()
	r, err := http.NewRequest(method, g.url+"/"+upstream, strings.NewReader(body))
	must(g.t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if raw != "" {
		r.Header.Set("Authorization", "Bearer "+raw)
	}
	for _, f := range change {
		f(r)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	must(g.t, err)
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(text)}
}

func (g *gate) post(upstream, raw, body string, change ...func(*http.Request)) answer {
	g.t.Helper()
	return g.send(http.MethodPost, upstream, raw, body, change...)
}

// get reads a document.
func (g *gate) get(path string) (int, string) {
	g.t.Helper()
	response, err := http.Get(g.url + path)
	must(g.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(g.t, err)
	return response.StatusCode, string(text)
}

const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`

func call(tool string) string {
	return `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"` + tool + `","arguments":{"a":1}}}`
}

// modern makes a request of the modern era of a body that has its _meta.
func modern(method, name string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Mcp-Protocol-Version", "2026-07-28")
		r.Header.Set("Mcp-Method", method)
		if name != "" {
			r.Header.Set("Mcp-Name", name)
		}
	}
}

// modernly writes a message of the modern era; params are members, without braces.
func modernly(method, params string) string {
	if params != "" {
		params += ","
	}
	return `{"jsonrpc":"2.0","id":7,"method":"` + method + `","params":{` + params +
		`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
		`"io.modelcontextprotocol/clientCapabilities":{}}}}`
}

// listed are the names of the tools in a list.
func listed(t testing.TB, body string) string {
	t.Helper()
	var a struct {
		Result struct {
			Tools []struct{ Name string }
		}
	}
	if err := json.NewDecoder(bytes.NewBufferString(body)).Decode(&a); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	var names []string
	for _, tool := range a.Result.Tools {
		names = append(names, tool.Name)
	}
	return strings.Join(names, " ")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
