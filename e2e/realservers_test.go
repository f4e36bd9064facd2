package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatehouse-mcp/gatehouse/cli"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// realServer is a server of other people's, as its makers ship it.
type realServer struct {
	name    string
	program []string // with which the gateway starts it; or
	url     string   // where it answers
	tool    string   // that is called
	// arguments of the call, and what its answer says; "": an error of the server's own counts, as
	// where it needs a network or a browser.
	arguments map[string]any
	says      string
}

// realGateway is a gateway in front of one of them, as the commands propose and start it.
type realGateway struct {
	*product
	name, resource string
	config         string
}

// putBehind goes the way of the documents: init, resource put, policy set, client create --server,
// gateway serve. Nothing that init wrote is touched.
func putBehind(t *testing.T, h *product, s realServer) *realGateway {
	t.Helper()
	g := &realGateway{product: h, name: s.name, resource: "http://127.0.0.1:" + freePort(t) + "/" + s.name}
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	must := func(code int, out string) string {
		t.Helper()
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, out)
		}
		return out
	}
	var said testenv.Book
	words := []string{"gateway", "init", "--name", s.name, "--issuer", h.Issuer, "--resource", g.resource,
		"--file", file}
	if s.url != "" {
		words = append(words, "--upstream", s.url)
	} else {
		words = append(append(words, "--"), s.program...)
	}
	code := (&cli.Program{Args: words, Stdout: &said, Stderr: &said, Getenv: os.Getenv}).Run(t.Context())
	must(code, said.String())
	text, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(text), "insecure_") {
		t.Errorf("what is proposed relaxes something: %v\n%s", err, text)
	}
	g.config = string(text)
	read, write := s.name+":read", s.name+":write"
	must(h.operate("resource", "put", g.resource, "--name", s.name, "--scope", read+"=Read", "--scope", write+"=Write",
		"--baseline", read))
	for _, tenant := range []string{"acme", "globex"} {
		must(h.operate("policy", "set", "--tenant", tenant, "--add-scopes", read+","+write))
	}
	own := must(h.operate("client", "create", "--server", g.resource))
	variables := map[string]string{"GATEHOUSE_CLIENT_ID": wordOf(own, "cli_"),
		"GATEHOUSE_CLIENT_SECRET": wordOf(own, "ghs_")}
	getenv := func(name string) string {
		if v, there := variables[name]; there {
			return v
		}
		return os.Getenv(name)
	}
	log := &testenv.Book{}
	ready, ended := make(chan cli.Addresses, 1), make(chan int, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		p := &cli.Program{Args: []string{"gateway", "serve", "--file", file}, Getenv: getenv, Stdout: log, Stderr: log,
			Ready: func(a cli.Addresses) { ready <- a }}
		ended <- p.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != 0 || t.Failed() {
			t.Logf("gateway serve ended with %d:\n%s", code, log)
		}
	})
	select {
	case <-ready:
	case code := <-ended:
		ended <- code
		t.Fatalf("gateway serve ended with %d: %s", code, log)
	}
	return g
}

// wordOf is the first word of a text that begins so.
func wordOf(text, begins string) string {
	for _, w := range strings.Fields(text) {
		if strings.HasPrefix(w, begins) {
			return w
		}
	}
	return ""
}

// session connects the official SDK's client, with a token that the issuer gave to a machine client
// of the tenant.
func (g *realGateway) session(t *testing.T, tenant string) *mcp.ClientSession {
	t.Helper()
	code, out := g.operate("client", "create", "--tenant", tenant, "--scopes", g.name+":read,"+g.name+":write")
	if code != 0 {
		t.Fatal(out)
	}
	ask, err := http.NewRequest("POST", g.Issuer+"/oauth2/token",
		strings.NewReader(url.Values{"grant_type": {"client_credentials"}, "resource": {g.resource}}.Encode()))
	must(t, err)
	ask.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	ask.SetBasicAuth(wordOf(out, "cli_"), wordOf(out, "ghs_"))
	response, err := http.DefaultClient.Do(ask)
	must(t, err)
	defer response.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	must(t, json.NewDecoder(response.Body).Decode(&token))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	session, err := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil).Connect(ctx,
		&mcp.StreamableClientTransport{
			Endpoint: g.resource, HTTPClient: &http.Client{Transport: withToken(token.AccessToken)},
		}, nil)
	must(t, err)
	t.Cleanup(func() { session.Close() })
	return session
}

// called is what a call answers, as text.
func called(t *testing.T, s *mcp.ClientSession, tool string, arguments map[string]any) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	result, err := s.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	text, err := json.Marshal(result)
	must(t, err)
	return string(text)
}

// TestRealServers puts servers that other people ship behind the gateway, untouched: init, serve,
// list, call.
func TestRealServers(t *testing.T) {
	w := openWorkshop(t, "realservers")
	node, err := filepath.Abs(w.node)
	if !strings.ContainsRune(w.node, filepath.Separator) {
		node, err = exec.LookPath(w.node)
	}
	must(t, err)
	module := func(parts ...string) string {
		return filepath.Join(append([]string{w.dir, "node_modules"}, parts...)...)
	}
	program := func(path string) string {
		t.Helper()
		to := filepath.Join(t.TempDir(), "server")
		if out, err := exec.Command("go", "build", "-o", to, path).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return to
	}
	listen := func(words ...string) string { // the port stands for PORT
		t.Helper()
		port := freePort(t)
		for i := range words {
			words[i] = strings.ReplaceAll(words[i], "PORT", port)
		}
		c := exec.Command(words[0], words[1:]...)
		c.Dir = w.dir
		begin(t, port, c)
		return "http://localhost:" + port + "/mcp"
	}
	sum, thought := map[string]any{"a": 2, "b": 3}, map[string]any{"thought": "one", "nextThoughtNeeded": false,
		"thoughtNumber": 1, "totalThoughts": 1}
	library := map[string]any{"query": "how to route", "libraryName": "react"}
	playwright := module("@playwright", "mcp", "cli.js")
	h := open(t)
	for _, s := range []realServer{
		{name: "memory", program: []string{node, module("@modelcontextprotocol", "server-memory", "dist", "index.js")},
			tool: "read_graph", arguments: map[string]any{}, says: "entities"},
		{name: "thinking",
			program: []string{node, module("@modelcontextprotocol", "server-sequential-thinking", "dist", "index.js")},
			tool:    "sequentialthinking", arguments: thought, says: "thoughtNumber"},
		{name: "playwright", program: []string{node, playwright, "--headless", "--isolated"}, tool: "browser_tabs",
			arguments: map[string]any{"action": "list"}},
		{name: "playwright-http", url: listen(node, playwright, "--headless", "--isolated", "--port", "PORT"),
			tool: "browser_tabs", arguments: map[string]any{"action": "list"}},
		{name: "context7", program: []string{node, module("@upstash", "context7-mcp", "dist", "index.js")},
			tool: "resolve-library-id", arguments: library},
		{name: "fastmcp", program: []string{node, filepath.Join(w.dir, "fastmcp.mjs")}, tool: "add", arguments: sum,
			says: "the sum is 5"},
		{name: "fastmcp-http", url: listen(node, filepath.Join(w.dir, "fastmcp.mjs"), "PORT"), tool: "add",
			arguments: sum, says: "the sum is 5"},
		{name: "go-sdk", url: listen(program("github.com/modelcontextprotocol/go-sdk/examples/server/everything"),
			"-http", "127.0.0.1:PORT"), tool: "greet", arguments: map[string]any{"name": "Ann"}, says: "Ann"},
		{name: "mcp-go", program: []string{program("github.com/mark3labs/mcp-go/examples/everything")}, tool: "echo",
			arguments: map[string]any{"message": "hello"}, says: "hello"},
	} {
		t.Run(s.name, func(t *testing.T) {
			g := putBehind(t, h, s)
			session := g.session(t, "acme")
			if all := tools(t, t.Context(), session); !slices.Contains(all, s.tool) {
				t.Fatalf("it lists %v, want %s among them\n%s", all, s.tool, g.config)
			}
			if got := called(t, session, s.tool, s.arguments); !strings.Contains(got, s.says) {
				t.Errorf("%s says %s, want %q", s.tool, got, s.says)
			}
			if s.name == "memory" {
				keepsApart(t, session, g.session(t, "globex"))
			}
		})
	}
}

// keepsApart: what one organisation tells the memory, another does not read, with nothing in the
// proposal touched.
func keepsApart(t *testing.T, acme, globex *mcp.ClientSession) {
	t.Helper()
	entity := map[string]any{"name": "Secret of acme", "entityType": "secret", "observations": []string{"x"}}
	called(t, acme, "create_entities", map[string]any{"entities": []any{entity}})
	if got := called(t, acme, "read_graph", map[string]any{}); !strings.Contains(got, "Secret of acme") {
		t.Errorf("acme reads %s", got)
	}
	if got := called(t, globex, "read_graph", map[string]any{}); strings.Contains(got, "Secret of acme") {
		t.Error(fmt.Errorf("globex reads %s", got))
	}
}
