package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/gateway"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

// fence is a gateway in front of other people's servers, with a toy issuer.
type fence struct {
	t       testing.TB
	issuer  *tokentest.Issuer
	gateway *gateway.Gateway
	file    string
	url     string
	log     *testenv.Book
}

// openFence starts a gateway; in its upstreams, $URL is its own URL. What shows no token gets
// bearer, if it is not nil: for programs that know of none.
func openFence(t testing.TB, upstreams string, bearer func(*fence) string) *fence {
	t.Helper()
	f := &fence{t: t, issuer: tokentest.NewIssuer(t), log: &testenv.Book{}}
	var handler http.Handler
	raw := ""
	ts := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if raw != "" && r.Header.Get("Authorization") == "" {
			r.Header.Set("Authorization", "Bearer "+raw)
		}
		handler.ServeHTTP(w, r)
	}))
	f.url = "http://" + ts.Listener.Addr().String()
	f.file = filepath.Join(t.TempDir(), "gateway.yaml")
	text := "issuer: " + f.issuer.URL() + "\ninsecure_ignore_revocations: true\ncalls_per_minute: -1\nupstreams:\n" +
		strings.ReplaceAll(upstreams, "$URL", f.url)
	must(t, os.WriteFile(f.file, []byte(text), 0o600))
	g, err := gateway.New(context.Background(), f.file, gateway.Deps{Log: slog.New(slog.NewTextHandler(f.log, nil)),
		Getenv: os.Getenv})
	must(t, err)
	f.gateway, handler = g, g.Handler()
	if bearer != nil {
		raw = bearer(f)
	}
	ts.Start()
	t.Cleanup(func() {
		ts.CloseClientConnections()
		ts.Close()
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// token is a good token of a tenant's for an upstream.
func (f *fence) token(upstream, tenant string, scopes ...string) string {
	c := f.issuer.Claims(f.url+"/"+upstream, scopes...)
	c.TenantID, c.GrantID, c.Subject = tenant, "grt_"+tenant, "usr_"+tenant
	return f.issuer.Sign(c)
}

// withToken is a client that shows a token.
type withToken string

func (raw withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(raw))
	return http.DefaultTransport.RoundTrip(r)
}

// connect connects the official SDK's client to an upstream, as a tenant's.
func (f *fence) connect(upstream, tenant string, scopes ...string) *mcp.ClientSession {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	f.t.Cleanup(cancel)
	client := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint:   f.url + "/" + upstream,
		HTTPClient: &http.Client{Transport: withToken(f.token(upstream, tenant, scopes...))},
	}, nil)
	if err != nil {
		f.t.Fatalf("%v\n%s", err, f.log)
	}
	f.t.Cleanup(func() { session.Close() })
	return session
}

// freePort is a port that was free a moment ago.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	return port
}

// begin starts somebody's server and waits until it listens.
func begin(t testing.TB, port string, c *exec.Cmd) {
	t.Helper()
	var said testenv.Book
	c.Stdout, c.Stderr = &said, &said
	must(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill() // it may have ended
		_ = c.Wait()         // killed
	})
	for end := time.Now().Add(20 * time.Second); ; <-time.After(20 * time.Millisecond) {
		l, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			l.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("it does not listen: %v\n%s", err, &said)
		}
	}
}

// TestOtherPeoplesServers puts the reference servers behind the gateway: over HTTP, and as programs
// with a process a tenant. Two tenants see different tools, and different files.
func TestOtherPeoplesServers(t *testing.T) {
	w := openWorkshop(t, "servers")
	port := freePort(t)
	everything := filepath.Join(w.dir, "node_modules", "@modelcontextprotocol", "server-everything", "dist", "index.js")
	server := exec.Command(w.node, everything, "streamableHttp")
	server.Dir, server.Env = w.dir, append(os.Environ(), "PORT="+port)
	begin(t, port, server)
	files := filepath.Join(w.dir, "files")
	for _, tenant := range []string{"acme", "globex"} {
		must(t, os.MkdirAll(filepath.Join(files, tenant), 0o700))
		must(t, os.WriteFile(filepath.Join(files, tenant, "plan.txt"), []byte("the plan of "+tenant), 0o600))
	}
	scopes := `
    scopes: [{name: read, description: Read}, {name: write, description: Write}]
    tools: [{name: "write*", scopes: [write], write: true}, {name: "edit*", scopes: [write], write: true},
      {name: "*", scopes: [read]}]
    prompts: [{name: "*", scopes: [read]}]
    resources: [{name: "*", scopes: [read]}]
    tenants:
      globex: [{name: get-sum, off: true}, {name: echo, rename: repeat}, {name: directory_tree, off: true}]
`
	node, err := exec.LookPath(w.node)
	must(t, err)
	program := func(name, arguments string) string {
		return fmt.Sprintf("  - name: %s\n    resource: $URL/%s\n    command: [%q, %s]\n    environment: [PATH, "+
			"HOME]%s", name, name, node, arguments, scopes)
	}
	f := openFence(t, "  - name: web\n    resource: $URL/web\n    url: http://127.0.0.1:"+port+"/mcp"+scopes+
		program("lines", fmt.Sprintf("%q, stdio", everything))+
		program("files",
			fmt.Sprintf("%q, %q", filepath.Join(w.dir, "node_modules", "@modelcontextprotocol", "server-filesystem",
				"dist", "index.js"), filepath.Join(files, "{tenant}"))), nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, upstream := range []string{"web", "lines"} {
		t.Run(upstream, func(t *testing.T) {
			acme, globex := f.connect(upstream, "acme", "read"), f.connect(upstream, "globex", "read")
			a, g := tools(t, ctx, acme), tools(t, ctx, globex)
			if !slices.Contains(a, "echo") || !slices.Contains(a, "get-sum") || slices.Contains(a, "repeat") {
				t.Errorf("acme sees %v", a)
			}
			if slices.Contains(g, "echo") || slices.Contains(g, "get-sum") || !slices.Contains(g, "repeat") ||
				len(g) != len(a)-1 {
				t.Errorf("globex sees %v", g)
			}
			if got := call(t, ctx, acme, "echo", map[string]any{"message": "hello"}); !strings.Contains(got,
				"Echo: hello") {
				t.Errorf("echo says %s", got)
			}
			if got := call(t, ctx, globex, "repeat", map[string]any{"message": "hello"}); !strings.Contains(got,
				"Echo: hello") {
				t.Errorf("repeat says %s", got)
			}
			if _, err := globex.CallTool(ctx,
				&mcp.CallToolParams{Name: "get-sum", Arguments: map[string]any{"a": 1, "b": 2}}); err == nil {
				t.Error("globex calls what is switched off for it")
			}
			if prompts, err := acme.ListPrompts(ctx, nil); err != nil || len(prompts.Prompts) == 0 {
				t.Errorf("prompts: %v %v", prompts, err)
			}
			if resources, err := acme.ListResources(ctx, nil); err != nil || len(resources.Resources) == 0 {
				t.Errorf("resources: %v %v", resources, err)
			}
		})
	}
	t.Run("files", func(t *testing.T) {
		acme, globex := f.connect("files", "acme", "read"), f.connect("files", "globex", "read")
		for tenant, session := range map[string]*mcp.ClientSession{"acme": acme, "globex": globex} {
			if got := call(t, ctx, session, "read_text_file",
				map[string]any{"path": filepath.Join(files, tenant, "plan.txt")}); !strings.Contains(got,
				"the plan of "+tenant) {
				t.Errorf("%s reads %s", tenant, got)
			}
			if slices.Contains(tools(t, ctx, session), "write_file") {
				t.Errorf("%s sees a tool that its scopes do not open", tenant)
			}
		}
		result, err := globex.CallTool(ctx,
			&mcp.CallToolParams{Name: "read_text_file",
				Arguments: map[string]any{"path": filepath.Join(files, "acme", "plan.txt")}})
		must(t, err)
		if text, _ := json.Marshal(result); !result.IsError || strings.Contains(string(text), "the plan of") {
			t.Errorf("globex reads acme's file: %s", text)
		}
	})
}

// TestGatewayConformance runs the official suite's server scenarios against the official SDK's own
// server, by itself and behind the gateway: what passes without the gateway passes with it, in both
// eras.
func TestGatewayConformance(t *testing.T) {
	w := openWorkshop(t, "conformance")
	program := filepath.Join(t.TempDir(), "everything")
	if out, err := exec.Command("go", "build", "-o", program,
		"github.com/modelcontextprotocol/go-sdk/conformance/everything-server").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, era := range []struct{ name, stateless, which, revision string }{
		{"2026-07-28", "-stateless=true", "--requirements", "2026-07-28"},
		{"2025-11-25", "-stateless=false", "--spec-version", "2025-11-25"},
	} {
		t.Run(era.name, func(t *testing.T) {
			port := freePort(t)
			begin(t, port, exec.Command(program, "-http", "127.0.0.1:"+port, era.stateless))
			f := openFence(t, fmt.Sprintf(`  - name: mcp
    resource: $URL/mcp
    url: http://127.0.0.1:%s/
    scopes: [{name: all, description: All}]
    tools: [{name: "*", scopes: [all]}]
    prompts: [{name: "*", scopes: [all]}]
    resources: [{name: "*", scopes: [all]}]
    methods: [{name: "*", scopes: [all]}]
`, port), func(f *fence) string { return f.token("mcp", "acme", "all") })
			// The exit code says that some scenario failed, which some do without us.
			without, _, _ := w.suite("http://127.0.0.1:"+port, era.which, era.revision)
			with, said, _ := w.suite(f.url+"/mcp", era.which, era.revision)
			if len(without) < 20 {
				t.Fatalf("only %d scenarios pass without the gateway", len(without))
			}
			for _, line := range without {
				if !slices.Contains(with, line) {
					t.Errorf("with the gateway this does not pass: %s", line)
				}
			}
			if t.Failed() {
				t.Log(said)
			}
		})
	}
}

// suite runs the official suite's server scenarios and returns the lines of those that pass.
func (w workshop) suite(url string, flags ...string) (passed []string, said string, err error) {
	c := exec.Command(w.node,
		append([]string{filepath.Join("node_modules", "@modelcontextprotocol", "conformance", "dist", "index.js"),
			"server", "--url", url}, flags...)...)
	c.Dir = w.dir
	out, err := c.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "✓ ") && strings.Contains(line, " passed") {
			passed = append(passed, line)
		}
	}
	return passed, string(out), err
}

// TestCompanionConformance runs the official suite's server scenarios that need no tools of the
// suite's own against the companion server.
func TestCompanionConformance(t *testing.T) {
	w := openWorkshop(t, "conformance")
	issuer := tokentest.NewIssuer(t)
	var handler http.Handler
	raw := ""
	ts := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+raw)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(ts.Close)
	url := "http://" + ts.Listener.Addr().String()
	s, err := mcpserver.New(context.Background(), mcpserver.Config{
		Resource: url + "/mcp", Issuer: issuer.URL(), Database: companionDatabase(t), InsecureIgnoreRevocations: true,
		CallsPerMinute: -1,
	}, mcpserver.Deps{})
	must(t, err)
	t.Cleanup(func() { s.Close() })
	handler = s.Handler()
	raw = issuer.Sign(issuer.Claims(url+"/mcp", "customers:read", "customers:write", "tickets:write", "knowledge:read"))
	ts.Start()
	for revision, scenarios := range map[string][]string{
		"2026-07-28": {"tools-list", "dns-rebinding-protection", "http-header-validation",
			"input-required-result-unsupported-methods"},
		"2025-11-25": {"server-initialize", "ping", "tools-list", "dns-rebinding-protection"},
	} {
		for _, scenario := range scenarios {
			if _, said, err := w.suite(url+"/mcp", "--scenario", scenario, "--spec-version", revision); err != nil {
				t.Errorf("%s: %s does not pass: %v\n%s", revision, scenario, err, said)
			}
		}
	}
	// Of this one some checks need tools of the suite's own; all others pass.
	_, said, _ := w.suite(url+"/mcp", "--scenario", "server-stateless", "--spec-version", "2026-07-28", "--verbose")
	failed, untestable := strings.Count(said, `"status": "FAILURE"`),
		strings.Count(said, `"errorMessage": "Not testable: `)
	if strings.Count(said, `"status": "SUCCESS"`) < 20 || failed != untestable {
		t.Errorf("server-stateless: %d checks fail, and %d of them are not testable here\n%s", failed, untestable, said)
	}
}
