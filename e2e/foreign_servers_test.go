package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	other "github.com/mark3labs/mcp-go/mcp"
	otherserver "github.com/mark3labs/mcp-go/server"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

// notebook is what the tools of somebody's server do: note who called which.
type notebook struct {
	mu   sync.Mutex
	runs []string
}

var notebookTools = []string{"read_note", "write_note", "secret", "unnamed"}

// run is a tool's work: it acts for the caller that the guard found.
func (n *notebook) run(ctx context.Context, tool string) string {
	caller, _ := guard.CallerOf(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.runs = append(n.runs, tool+" for "+caller.TenantID)
	return tool + " for " + caller.TenantID
}

// ran are the tools that ran since it was last asked.
func (n *notebook) ran() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := n.runs
	n.runs = nil
	return out
}

// officialServer is a server of the official SDK with the notebook's tools.
func officialServer(n *notebook) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "notebook", Version: "1"}, nil)
	for _, name := range notebookTools {
		s.AddTool(&mcp.Tool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`)},
			func(ctx context.Context, _ *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
				return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: n.run(ctx, name)}}}, nil
			})
	}
	return s
}

func officialHandler(o mcp.StreamableHTTPOptions) func(*notebook) http.Handler {
	return func(n *notebook) http.Handler {
		s := officialServer(n)
		return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &o)
	}
}

// otherHandler is a server of the other library in Go that people use.
func otherHandler(options ...otherserver.StreamableHTTPOption) func(*notebook) http.Handler {
	return func(n *notebook) http.Handler {
		s := otherserver.NewMCPServer("notebook", "1")
		for _, name := range notebookTools {
			s.AddTool(other.NewTool(name), func(ctx context.Context, _ other.CallToolRequest) (*other.CallToolResult,
				error) {
				return other.NewToolResultText(n.run(ctx, name)), nil
			})
		}
		return otherserver.NewStreamableHTTPServer(s, options...)
	}
}

// foreignServers are other people's servers, as they are deployed.
var foreignServers = []struct {
	name    string
	open    func(*notebook) http.Handler
	session bool // an older client gets a session
	modern  bool // it speaks 2026-07-28
}{
	{"go-sdk, stateless, JSON", officialHandler(mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true}),
		false, true},
	{"go-sdk, stateless, SSE", officialHandler(mcp.StreamableHTTPOptions{Stateless: true}), false, true},
	{"go-sdk, stateful, JSON", officialHandler(mcp.StreamableHTTPOptions{JSONResponse: true}), true, false},
	{"go-sdk, stateful, SSE", officialHandler(mcp.StreamableHTTPOptions{}), true, false},
	{"mcp-go, stateless", otherHandler(otherserver.WithStateLess(true)), false, true},
	{"mcp-go, stateful", otherHandler(otherserver.WithStateful(true)), true, true},
}

// gatedServer is one of them, behind the guard.
type gatedServer struct {
	t      *testing.T
	url    string
	issuer *tokentest.Issuer
	notes  *notebook

	handler http.Handler // the guard's
}

func gate(t *testing.T, open func(*notebook) http.Handler) *gatedServer {
	t.Helper()
	s := &gatedServer{t: t, issuer: stranger(t), notes: &notebook{}}
	ended := revocation.NewMemory(nil)
	must(t, ended.Restore(t.Context(), nil, time.Hour))
	server := httptest.NewServer(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	s.url = server.URL + "/mcp"
	g, err := guard.New(guard.Config{Issuer: s.issuer.URL(), Resource: s.url, Revoked: ended})
	must(t, err)
	tables, err := guard.Always(guard.Rules{
		Tools: []guard.Rule{
			{Name: "read_note", Scopes: []string{"notes:read"}},
			{Name: "write_note", Scopes: []string{"notes:read", "notes:write"}, Write: true},
			{Name: "secret", Scopes: []string{"notes:admin"}, Hidden: true},
		},
		Implies: map[string][]string{"notes:admin": {"notes:read"}},
	})
	must(t, err)
	s.handler, err = g.Enforce(open(s.notes), guard.Policy{Tables: tables})
	must(t, err)
	return s
}

// token is a good token of a grant.
func (s *gatedServer) token(grantID string, scopes ...string) string {
	c := s.issuer.Claims(s.url, scopes...)
	c.GrantID = grantID
	return s.issuer.Sign(c)
}

// reply is an answer of such a server, its first message that answers something.
type reply struct {
	status  int
	header  http.Header
	message struct {
		Result struct {
			Tools   []struct{ Name string }
			Content []struct{ Text string }
			Scope   string `json:"cacheScope"`
		}
		Error *struct{ Code int }
	}
	body string
}

func (r reply) tools() []string {
	out := []string{}
	for _, t := range r.message.Result.Tools {
		out = append(out, t.Name)
	}
	return out
}

// send sends a message (or GET, or DELETE, when it is empty) with headers of name and value.
func (s *gatedServer) send(method, raw, body string, headers ...string) reply {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.url, strings.NewReader(body))
	must(s.t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if raw != "" {
		r.Header.Set("Authorization", "Bearer "+raw)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	must(s.t, err)
	defer response.Body.Close()
	got := reply{status: response.StatusCode, header: response.Header}
	if method == http.MethodGet && response.StatusCode == http.StatusOK {
		return got // a stream, without end
	}
	text, err := io.ReadAll(response.Body)
	must(s.t, err)
	got.body = string(text)
	data := got.body
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		for line := range strings.Lines(got.body) {
			if value, ok := strings.CutPrefix(line, "data:"); ok && strings.Contains(value, `"id"`) {
				data = value
			}
		}
	}
	if strings.Contains(data, `"jsonrpc"`) {
		must(s.t, json.Unmarshal([]byte(data), &got.message))
	}
	return got
}

// era is how a client of one time writes a request.
type era struct {
	name string
	ask  func(s *gatedServer, raw, method, tool string) reply
}

// erasOf are the eras that a server is asked in. An older client initializes first, where there are
// sessions.
func (s *gatedServer) erasOf(session, modern bool) []era {
	sessions := map[string]string{}
	all := []era{{"legacy", func(s *gatedServer, raw, method, tool string) reply {
		var headers []string
		if session {
			if sessions[raw] == "" {
				sessions[raw] = s.initialize(raw)
			}
			headers = []string{"Mcp-Session-Id", sessions[raw], "Mcp-Protocol-Version", "2025-11-25"}
		}
		return s.send("POST", raw, message(method, tool, ""), headers...)
	}}}
	if modern {
		all = append(all, era{"modern", func(s *gatedServer, raw, method, tool string) reply {
			headers := []string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", method}
			if tool != "" {
				headers = append(headers, "Mcp-Name", tool)
			}
			return s.send("POST", raw, message(method, tool, modernMeta), headers...)
		}})
	}
	return all
}

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.` +
	`modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"x","version":"1"}}`

func message(method, tool, meta string) string {
	var params []string
	if tool != "" {
		params = append(params, `"name":"`+tool+`","arguments":{}`)
	}
	if meta != "" {
		params = append(params, meta)
	}
	return `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + strings.Join(params, ",") + `}}`
}

// initialize opens a session and returns its name.
func (s *gatedServer) initialize(raw string) string {
	s.t.Helper()
	got := s.send("POST", raw,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},`+
			`"clientInfo":{"name":"x","version":"1"}}}`)
	id := got.header.Get("Mcp-Session-Id")
	if got.status != 200 || id == "" {
		s.t.Fatalf("initialize: got %d %v %s, want a session", got.status, got.header, got.body)
	}
	s.send("POST", raw, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, "Mcp-Session-Id", id)
	return id
}

// TestGuardInFrontOfOtherPeoplesServers: servers that know nothing of scopes get them from the
// guard, in both eras (RS-17, RS-24, MC-04, MC-05, MC-23).
func TestGuardInFrontOfOtherPeoplesServers(t *testing.T) {
	for _, row := range foreignServers {
		t.Run(row.name, func(t *testing.T) {
			s := gate(t, row.open)
			reader, admin := s.token("grt_1", "notes:read"), s.token("grt_2", "notes:admin")
			for _, e := range s.erasOf(row.session, row.modern) {
				if got := e.ask(s, reader, "tools/list", ""); !slices.Equal(got.tools(), []string{"read_note"}) ||
					got.message.Result.Scope == "public" || got.header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s: a reader sees %v (%d, %s), want read_note alone and for nobody else", e.name,
						got.tools(), got.status, got.body)
				}
				if got := e.ask(s, admin, "tools/list", ""); !slices.Equal(got.tools(),
					[]string{"read_note", "secret"}) {
					t.Errorf("%s: an admin sees %v (%d, %s), want read_note and secret", e.name, got.tools(),
						got.status, got.body)
				}
				if got := e.ask(s, reader, "tools/call", "read_note"); got.status != 200 ||
					len(got.message.Result.Content) != 1 || got.message.Result.Content[0].Text != "read_note for acme" {
					t.Errorf("%s: a call answers %d %s, want acme's", e.name, got.status, got.body)
				}
				s.notes.ran()
				challenged := e.ask(s, reader, "tools/call", "write_note")
				if got := challenged.header.Get("WWW-Authenticate"); challenged.status != 403 ||
					!strings.Contains(got, `scope="notes:read notes:write"`) {
					t.Errorf("%s: a call beyond the scopes: got %d %s, want a challenge for both", e.name,
						challenged.status, got)
				}
				for _, name := range []string{"secret", "unnamed", "no_such_tool"} {
					if got := e.ask(s, reader, "tools/call", name); got.message.Error == nil ||
						got.message.Error.Code != -32602 || got.header.Get("WWW-Authenticate") != "" {
						t.Errorf("%s: %s: got %d %s, want no such tool", e.name, name, got.status, got.body)
					}
				}
				if got := s.send("POST", "", message("tools/list", "", "")); got.status != 401 ||
					len(got.tools()) != 0 {
					t.Errorf("%s: without a token: got %d %s", e.name, got.status, got.body)
				}
				if ran := s.notes.ran(); len(ran) != 0 {
					t.Errorf("%s: %v ran", e.name, ran)
				}
			}
		})
	}
}

// TestSessionsOfOtherPeoplesServers: a session that such a server gives belongs to the grant that
// opened it (MC-10 to MC-12, RS-21).
func TestSessionsOfOtherPeoplesServers(t *testing.T) {
	for _, row := range foreignServers {
		if !row.session {
			continue
		}
		t.Run(row.name, func(t *testing.T) {
			s := gate(t, row.open)
			mine, another := s.token("grt_1", "notes:read"), s.token("grt_2", "notes:read")
			id := s.initialize(mine)
			version := []string{"Mcp-Protocol-Version", "2025-11-25"}
			with := func(id string) []string { return append([]string{"Mcp-Session-Id", id}, version...) }
			for _, last := range []string{"0", "1", "x_0"} { // MC-14: nobody takes up another's stream
				if got := s.send("GET", another, "", append(with(id), "Last-Event-Id", last)...); got.status != 404 {
					t.Errorf("taking up another's stream after %s: got %d, want 404", last, got.status)
				}
			}
			if got := s.send("POST", mine, message("tools/list", "", ""), with(id)...); got.status != 200 ||
				len(got.tools()) != 1 {
				t.Errorf("my own session: got %d %s", got.status, got.body)
			}
			for _, method := range []string{"POST", "GET", "DELETE"} {
				body := ""
				if method == "POST" {
					body = message("tools/call", "read_note", "")
				}
				for what, shown := range map[string]string{"as it is": id,
					"by the server's own name": id[:strings.LastIndex(id, ".")]} {
					if got := s.send(method, another, body, with(shown)...); got.status != 404 {
						t.Errorf("%s of another's session, %s: got %d %s, want 404", method, what, got.status, got.body)
					}
				}
				if got := s.send(method, "", body, with(id)...); got.status != 401 {
					t.Errorf("%s with a session and no token: got %d, want 401", method, got.status)
				}
			}
			if ran := s.notes.ran(); len(ran) != 0 {
				t.Errorf("%v ran", ran)
			}
			if got := s.send("DELETE", mine, "", with(id)...); got.status >= 300 {
				t.Errorf("the end of my session: got %d %s", got.status, got.body)
			}
			if got := s.send("POST", mine, message("tools/list", "", ""), with(id)...); got.status != 404 {
				t.Errorf("after its end: got %d %s, want 404", got.status, got.body)
			}
		})
	}
}

// TestWhatTheGuardReadIsWhatActs: whatever is bent in a message or its headers, no tool runs that
// the guard would not have let run. The two readers of a message, the guard's and the server's,
// never disagree to anybody's profit (MC-06 to MC-09).
func TestWhatTheGuardReadIsWhatActs(t *testing.T) {
	for _, row := range foreignServers {
		if row.session {
			continue // the same readers, and a session more
		}
		t.Run(row.name, func(t *testing.T) {
			s := gate(t, row.open)
			raw := s.token("grt_1", "notes:read")
			var seeds []posted
			for _, tool := range append(notebookTools, "no_such_tool") {
				old := legacyPost(message("tools/call", tool, ""))
				now := legacyPost(message("tools/call", tool, modernMeta))
				now.headers["Mcp-Protocol-Version"], now.headers["Mcp-Method"], now.headers["Mcp-Name"] = "2026-07-28",
					"tools/call", tool
				seeds = append(seeds, old, now, legacyPost("["+old.body+","+message("tools/call", "secret", "")+"]"))
			}
			r := rand.New(rand.NewPCG(7, 2026))
			allowed := 0
			for range 10_000 {
				p := mutated(r, seeds)
				request := httptest.NewRequest("POST", s.url, strings.NewReader(p.body))
				for name, value := range p.headers {
					request.Header.Set(name, value)
				}
				request.Header.Set("Authorization", "Bearer "+raw)
				s.handler.ServeHTTP(httptest.NewRecorder(), request)
				for _, ran := range s.notes.ran() {
					if ran != "read_note for acme" {
						t.Fatalf("%s ran for a reader, by %s", ran, p)
					}
					allowed++
				}
			}
			if allowed < 100 {
				t.Errorf("read_note ran %d times: the mutations reach nothing any more", allowed)
			}
		})
	}
}

// bearing sends an access token with each request.
type bearing string

func (b bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// TestOfficialClientThroughTheGuard: the official SDK's client finds in each of these servers what
// its token opens, as if there were nothing between.
func TestOfficialClientThroughTheGuard(t *testing.T) {
	for _, row := range foreignServers {
		t.Run(row.name, func(t *testing.T) {
			s := gate(t, row.open)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			client := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil)
			session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
				Endpoint: s.url, HTTPClient: &http.Client{Transport: bearing(s.token("grt_1", "notes:read"))},
			}, nil)
			must(t, err)
			if got := tools(t, ctx, session); !slices.Equal(got, []string{"read_note"}) {
				t.Errorf("it lists %v, want read_note", got)
			}
			for range 3 {
				if got := call(t, ctx, session, "read_note", nil); !strings.Contains(got, "read_note for acme") {
					t.Errorf("it calls and gets %s", got)
				}
			}
			for _, name := range []string{"secret", "unnamed", "write_note"} {
				if result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: name}); err == nil {
					t.Errorf("%s: got %v, want an error", name, result)
				}
			}
			if got, want := s.notes.ran(), []string{"read_note for acme", "read_note for acme",
				"read_note for acme"}; !slices.Equal(got, want) {
				t.Errorf("%v ran, want %v", got, want)
			}
			if err := session.Close(); err != nil && !strings.Contains(fmt.Sprint(err), "closed") {
				t.Errorf("closing: %v", err)
			}
		})
	}
}
