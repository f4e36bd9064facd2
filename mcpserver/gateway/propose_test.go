package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/gateway"
)

// What is proposed for a server is a file that can be read, with a scope for each tool.
func TestPropose(t *testing.T) {
	b := newBehind(t)
	p, err := gateway.Propose(context.Background(), gateway.Existing{URL: b.URL, Issuer: "https://auth.example.com"})
	must(t, err)
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	must(t, os.WriteFile(path, p.Config, 0o600))
	must(t, p.WriteLock(path))
	f, err := gateway.ReadFile(path)
	must(t, err)
	u := f.Upstreams[0]
	if u.Name != "behind" || u.Resource != "http://localhost:8090/behind" || len(u.Tools) != 3 || p.Tools != 3 {
		t.Errorf("proposed: %+v", u)
	}
	for i, want := range []string{"read_it behind:read false", "write_it behind:write true", "unnamed behind:write true"} {
		if got := fmt.Sprint(u.Tools[i].Name, " ", u.Tools[i].Scopes[0], " ", u.Tools[i].Write); got != want {
			t.Errorf("rule %d is %s, want %s", i, got, want)
		}
	}
	var resources []struct{ URI string }
	if err := json.Unmarshal(p.Resources, &resources); err != nil || resources[0].URI != u.Resource {
		t.Errorf("for the issuer: %s %v", p.Resources, err)
	}
	lock, err := os.ReadFile(gateway.LockPath(path))
	must(t, err)
	if strings.Count(string(lock), "sha256:") != 3 {
		t.Errorf("the lock file: %s", lock)
	}
}

// What a server says of itself is text: none of it becomes YAML.
func TestProposalsQuote(t *testing.T) {
	b := newBehind(t)
	evil := `{"name":"x\"}\n      - {name: \"*","description":"a\n    tools: []\nb\u2028c\u0085d\u202e","inputSchema":{}}`
	b.answers(func(w http.ResponseWriter, _ *http.Request, body string) {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		_ = json.Unmarshal([]byte(body), &m)
		w.Header().Set("Content-Type", "application/json")
		switch m.Method {
		case "server/discover":
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{},"prompts":{}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"e\nlisten: 0.0.0.0:1"}}}}`, m.ID)
		case "prompts/list":
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"prompts":[{"name":"p: [q\n"}]}}`, m.ID)
		default:
			io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":{"tools":[`+evil+`]}}`)
		}
	})
	p, err := gateway.Propose(context.Background(), gateway.Existing{URL: b.URL})
	must(t, err)
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	must(t, os.WriteFile(path, p.Config, 0o600))
	f, err := gateway.ReadFile(path)
	must(t, err)
	u := f.Upstreams[0]
	if f.Listen != "127.0.0.1:8090" || len(u.Tools) != 1 || u.Tools[0].Name != "x\"}\n      - {name: \"*" || u.Prompts[0].Name != "p: [q\n" || !strings.Contains(string(p.Config), "LOOK TWICE") {
		t.Errorf("proposed: %+v of\n%s", f, p.Config)
	}
}

// A program is asked like a server at a URL, as one tenant's.
func TestProposeCommand(t *testing.T) {
	p, err := gateway.Propose(context.Background(), gateway.Existing{
		Command: []string{os.Args[0], "for-{tenant}"}, Environ: []string{"GATEWAY_TEST_PROCESS=serve"}, Tenant: "acme",
	})
	must(t, err)
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	must(t, os.WriteFile(path, p.Config, 0o600))
	f, err := gateway.ReadFile(path)
	must(t, err)
	if u := f.Upstreams[0]; u.Name != "lines" || len(u.Command) != 2 || u.Command[1] != "for-{tenant}" || len(u.Tools) != 4 || u.TenantEnv != "GATEHOUSE_TENANT" {
		t.Errorf("proposed: %+v", u)
	}
}
