package mcpserver_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo/demotest"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

var allScopes = []string{"customers:read", "customers:write", "tickets:write", "knowledge:read"}

// runningServer is the running MCP server, with a toy issuer and the demo's data.
type runningServer struct {
	t        testing.TB
	issuer   *tokentest.Issuer
	list     *revocation.Memory
	server   *mcpserver.Server
	resource string
	url      string
}

func openWing(t testing.TB, change ...func(*mcpserver.Config)) *runningServer {
	t.Helper()
	ctx := context.Background()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w := &runningServer{t: t, issuer: tokentest.NewIssuer(t), list: revocation.NewMemory(nil),
		url: "http://" + l.Addr().String()}
	w.resource = w.url + "/mcp"
	must(t, w.list.Restore(ctx, nil, time.Hour))
	database := "sqlite:" + filepath.Join(t.TempDir(), "companion.db")
	demotest.Migrate(t, database)
	c := mcpserver.Config{Resource: w.resource, Issuer: w.issuer.URL(), Database: database}
	for _, f := range change {
		f(&c)
	}
	w.server, err = mcpserver.New(ctx, c, mcpserver.Deps{Revoked: w.list})
	must(t, err)
	must(t, w.server.SeedDemo(ctx))
	ts := httptest.NewUnstartedServer(w.server.Handler())
	ts.Listener.Close()
	ts.Listener = l
	ts.Start()
	t.Cleanup(func() {
		ts.Close()
		w.server.Close()
	})
	return w
}

// token is a good token of somebody of a tenant.
func (w *runningServer) token(tenant string, scopes ...string) string {
	c := w.issuer.Claims(w.resource, scopes...)
	c.TenantID = tenant
	return w.issuer.Sign(c)
}

// post sends a message of the legacy era and returns the status and the body.
func (w *runningServer) post(raw, body string) (int, string) {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodPost, w.resource, strings.NewReader(body))
	must(w.t, err)
	if raw != "" {
		r.Header.Set("Authorization", "Bearer "+raw)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	response, err := http.DefaultClient.Do(r)
	must(w.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(w.t, err)
	return response.StatusCode, string(text)
}

// call calls a tool and returns what it says, and whether that is an error.
func (w *runningServer) call(raw, tool string, arguments map[string]any) (text string, failed bool) {
	w.t.Helper()
	encoded, err := json.Marshal(arguments)
	must(w.t, err)
	status, body := w.post(raw, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+
		`","arguments":`+string(encoded)+`}}`)
	var answer struct {
		Result struct {
			Content []struct{ Text string }
			IsError bool
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK ||
		len(answer.Result.Content) != 1 {
		w.t.Fatalf("%s: got %d %s", tool, status, body)
	}
	return answer.Result.Content[0].Text, answer.Result.IsError
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
