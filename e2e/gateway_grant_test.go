package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/gateway"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// TestGatewayEndsWithTheGrant is an issuer and a gateway that share nothing but Redis, or nothing
// at all: a program's token opens the server behind, and nothing any more within the bound after
// the end of its grant (RV-06).
func TestGatewayEndsWithTheGrant(t *testing.T) {
	t.Run("redis", func(t *testing.T) {
		address, prefix := testenv.Redis(t)
		gatewayEnds(t, "redis", []string{"--redis", address, "--redis-prefix", prefix}, func(*product, string) string {
			t.Setenv("GATEWAY_E2E_REDIS", address)
			return fmt.Sprintf("redis: {env: GATEWAY_E2E_REDIS}\nredis_prefix: %q\n", prefix)
		})
	})
	t.Run("http", func(t *testing.T) {
		gatewayEnds(t, "http", nil, func(h *product, resource string) string {
			code, out := h.operate("client", "create", "--server", resource)
			if code != 0 {
				t.Fatal(out)
			}
			t.Setenv("GATEWAY_E2E_SECRET", regexp.MustCompile(`ghs_\S+`).FindString(out))
			return "client_id: " + regexp.MustCompile(`cli_\S+`).FindString(out) +
				"\nclient_secret: {env: GATEWAY_E2E_SECRET}\n"
		})
	})
}

// gatewayEnds ends a grant whose token went through a gateway; settings are those by which the
// gateway learns of it.
func gatewayEnds(t *testing.T, feed string, flags []string, settings func(h *product, resource string) string) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"content":[],"resultType":"complete"}}`)
	}))
	t.Cleanup(upstream.Close)
	var handler http.Handler
	door := httptest.NewServer(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(door.Close)
	resource, dir := door.URL+"/notes", t.TempDir()
	resources := filepath.Join(dir, "resources.json")
	must(t, os.WriteFile(resources,
		fmt.Appendf(nil, `[{"uri": %q, "name": "Notes", "scopes": [{"name": "notes:read", "description": "Read", `+
			`"baseline": true}]}]`, resource), 0o600))
	h := open(t, append(flags, "--resources", resources, "--demo=false")...)
	file := filepath.Join(dir, "gateway.yaml")
	must(t, os.WriteFile(file, fmt.Appendf(nil, `
issuer: %s
%s
upstreams:
  - name: notes
    resource: %s
    url: %s
    scopes: [{name: "notes:read", description: Read, baseline: true}]
    tools: [{name: read_note, scopes: ["notes:read"]}]
`, h.Issuer, settings(h, resource), resource, upstream.URL), 0o600))
	g, err := gateway.New(context.Background(), file, gateway.Deps{Getenv: os.Getenv})
	must(t, err)
	t.Cleanup(func() { g.Close() })
	handler = g.Handler()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); g.Run(ctx, nil) }()
	t.Cleanup(func() { stop(); <-done })

	operate := func(words ...string) string {
		code, out := h.operate(words...)
		if code != 0 {
			t.Fatal(out)
		}
		return out
	}
	operate("tenant", "create", "--id", "acme", "--name", "Acme")
	out := operate("client", "create", "--tenant", "acme", "--scopes", "notes:read")
	a := &agent{house: h, id: regexp.MustCompile(`cli_\S+`).FindString(out),
		secret: regexp.MustCompile(`ghs_\S+`).FindString(out)}
	got, err := a.token(map[string][]string{"grant_type": {"client_credentials"}, "resource": {resource}})
	if err != nil || !got.ok() {
		t.Fatalf("%v %v", got, err)
	}
	call := func() answer {
		got, err := ask(resource, a.access, "tools/call", `"name":"read_note","arguments":{}`)
		must(t, err)
		return got
	}
	if got := call(); !got.ok() {
		t.Fatalf("with a good token: %v", got)
	}
	operate("grant", "revoke", regexp.MustCompile(`grt_\S+`).FindString(operate("grant", "list")))
	turn := time.NewTicker(20 * time.Millisecond) // a grant may ask 600 times a minute
	defer turn.Stop()
	got = call()
	for at := time.Now(); got.ok() && time.Since(at) < bounds[feed]; got = call() {
		<-turn.C
	}
	if got.status != 401 || !strings.Contains(got.challenge, "invalid_token") {
		t.Errorf("after the end of its grant: %v", got)
	}
}
