package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestChangedRulesReachClients: clients of the official SDK, of both eras, are told when the
// gateway's rules give them another list of tools, and see it.
func TestChangedRulesReachClients(t *testing.T) {
	server := mcp.NewServer(&mcp.Implementation{Name: "behind", Version: "1"}, nil)
	for _, name := range []string{"one", "two"} {
		mcp.AddTool(server, &mcp.Tool{Name: name},
			func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
				return &mcp.CallToolResult{}, nil, nil
			})
	}
	back := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil))
	t.Cleanup(func() { back.CloseClientConnections(); back.Close() })
	f := openFence(t, "  - name: sdk\n    resource: $URL/sdk\n    url: "+back.URL+
		"\n    scopes: [{name: read, description: Read}]\n    tools: [{name: one, scopes: [read]}]\n", nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	told := map[string]chan struct{}{"2025-11-25": make(chan struct{}, 9), "": make(chan struct{}, 9)}
	sessions := map[string]*mcp.ClientSession{}
	for version, heard := range told {
		client := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"},
			&mcp.ClientOptions{ToolListChangedHandler: func(context.Context,
				*mcp.ToolListChangedRequest) {
				heard <- struct{}{}
			}})
		session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
			Endpoint: f.url + "/sdk", HTTPClient: &http.Client{Transport: withToken(f.token("sdk", "acme", "read"))},
		}, &mcp.ClientSessionOptions{ProtocolVersion: version})
		if err != nil {
			t.Fatalf("%q: %v\n%s", version, err, f.log)
		}
		t.Cleanup(func() { session.Close() })
		sessions[version] = session
		if got := tools(t, ctx, session); !slices.Equal(got, []string{"one"}) {
			t.Errorf("%q: before: %v", version, got)
		}
	}
	text, err := os.ReadFile(f.file)
	must(t, err)
	rule, changes := "{name: one, scopes: [read]}", 0
	for _, want := range [][]string{{"one", "two"}, {"one"}} {
		more := ""
		if len(want) == 2 {
			more = ", {name: two, scopes: [read]}"
		}
		for version, heard := range told {
			for deaf := true; deaf; {
				// the client opens its stream when it likes: until it has, there is one change
				// after another
				changes++
				changed := strings.Replace(string(text), rule, fmt.Sprintf("%s%s, {name: change-%d, scopes: [read]}",
					rule, more, changes), 1)
				must(t, os.WriteFile(f.file, []byte(changed), 0o600))
				must(t, f.gateway.Reload())
				select {
				case <-heard:
					deaf = false
				case <-time.After(time.Second):
				case <-ctx.Done():
					t.Fatalf("%q was not told\n%s", version, f.log)
				}
			}
			if got := tools(t, ctx, sessions[version]); !slices.Equal(got, want) {
				t.Errorf("%q: afterwards: %v, want %v", version, got, want)
			}
		}
	}
}
