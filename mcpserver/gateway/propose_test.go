package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
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
	for i, want := range []string{"read_it behind:read false", "write_it behind:write true",
		"unnamed behind:write true"} {
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
	evil := `{"name":"plain","inputSchema":{}},{"name":"x\"}\n      - {name: \"*","description":"a\n    tools: ` +
		`[]\nb\u2028c\u0085d\u202e","inputSchema":{}}`
	b.answers(func(w http.ResponseWriter, _ *http.Request, body string) {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		_ = json.Unmarshal([]byte(body), &m)
		w.Header().Set("Content-Type", "application/json")
		switch m.Method {
		case "server/discover":
			fmt.Fprintf(w,
				`{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],`+
					`"capabilities":{"tools":{},"prompts":{}},`+
					`"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"e\nlisten: 0.0.0.0:1"}}}}`, m.ID)
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
	if f.Listen != "127.0.0.1:8090" || len(u.Tools) != 1 || u.Tools[0].Name != "plain" || len(u.Prompts) != 0 ||
		!strings.Contains(string(p.Config), "LOOK TWICE") {
		t.Errorf("proposed: %+v of\n%s", f, p.Config)
	}
}

// A program is asked like a server at a URL, as one tenant's.
func TestProposeCommand(t *testing.T) {
	t.Setenv("GATEWAY_TEST_PROCESS", "serve")
	p, err := gateway.Propose(context.Background(), gateway.Existing{
		Command: []string{os.Args[0], "for-{tenant}"}, Environment: []string{"GATEWAY_TEST_PROCESS"}, Getenv: os.Getenv,
		Tenant: "acme",
	})
	must(t, err)
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	must(t, os.WriteFile(path, p.Config, 0o600))
	f, err := gateway.ReadFile(path)
	must(t, err)
	if u := f.Upstreams[0]; u.Name != "lines" || len(u.Command) != 2 || u.Command[1] != "for-{tenant}" ||
		len(u.Tools) != 4 || u.TenantEnv != "GATEHOUSE_TENANT" {
		t.Errorf("proposed: %+v", u)
	}
}

// A server that asks for a credential is shown it when it is asked, and by the gateway that is
// proposed; the secret stays in the environment.
func TestProposeWithACredential(t *testing.T) {
	b := newBehind(t)
	const secret = "s3cret-of-the-server"
	var behind http.HandlerFunc = func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+secret && r.Header.Get("X-Api-Key") != secret {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		b.ServeHTTP(w, r)
	}
	server := httptest.NewServer(behind)
	t.Cleanup(server.Close)
	t.Setenv("NOTES_TOKEN", secret)
	if _, err := gateway.Propose(t.Context(), gateway.Existing{URL: server.URL}); err == nil {
		t.Error("without a credential something is proposed")
	}
	for header, prefix := range map[string]string{"authorization": "Bearer ", "X-Api-Key": ""} {
		p, err := gateway.Propose(t.Context(), gateway.Existing{
			URL: server.URL, Getenv: os.Getenv,
			Credential: gateway.Credential{Header: header, Secret: gateway.Secret{Env: "NOTES_TOKEN"}},
		})
		must(t, err)
		path := filepath.Join(t.TempDir(), "gateway.yaml")
		must(t, os.WriteFile(path, p.Config, 0o600))
		f, err := gateway.ReadFile(path)
		must(t, err)
		want := gateway.Credential{Header: header, Prefix: prefix, Secret: gateway.Secret{Env: "NOTES_TOKEN"}}
		if u := f.Upstreams[0]; u.Credential != want || len(u.Tools) != 3 ||
			strings.Contains(string(p.Config), secret) {
			t.Errorf("proposed %+v in\n%s", u.Credential, p.Config)
		}
	}
	for name, e := range map[string]gateway.Existing{
		"not in the environment": {URL: server.URL, Credential: gateway.Credential{Header: "Authorization",
			Secret: gateway.Secret{Env: "NOT_THERE_AT_ALL"}}},
		"no secret": {URL: server.URL, Credential: gateway.Credential{Header: "Authorization"}},
		"a header of HTTP's": {URL: server.URL,
			Credential: gateway.Credential{Header: "Host", Secret: gateway.Secret{Env: "NOTES_TOKEN"}}},
		"in the clear": {URL: "http://notes.example/mcp",
			Credential: gateway.Credential{Header: "Authorization", Secret: gateway.Secret{Env: "NOTES_TOKEN"}}},
		"of a program": {Command: []string{"true"}, Credential: gateway.Credential{Header: "Authorization",
			Secret: gateway.Secret{Env: "NOTES_TOKEN"}}},
	} {
		e.Getenv = os.Getenv
		if _, err := gateway.Propose(t.Context(), e); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A name that comes from a server is never a pattern: whatever tools and prompts call themselves, a
// proposal opens those that have a plain name, and what is taken out of its comments opens that one
// thing alone.
func TestProposalsTakeNoNameForAPattern(t *testing.T) {
	odd := []string{"*", "get_*", "**", "read\u0085it", "read it", "read\u202eit", "\U000E0041", "read_it ",
		strings.Repeat("x", 129), "a,b", "]}", "#"}
	names := append([]string{"plain"}, odd...)
	var tools, prompts []string
	for _, name := range names {
		quoted, _ := json.Marshal(name)
		tools = append(tools, fmt.Sprintf(`{"name":%s,"annotations":{"readOnlyHint":true},"inputSchema":{}}`, quoted))
		prompts = append(prompts, fmt.Sprintf(`{"name":%s}`, quoted))
	}
	b := newBehind(t)
	b.answers(func(w http.ResponseWriter, _ *http.Request, body string) {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		_ = json.Unmarshal([]byte(body), &m)
		w.Header().Set("Content-Type", "application/json")
		result := `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{},` +
			`"prompts":{},"resources":{}}}`
		switch m.Method {
		case "tools/list":
			result = `{"tools":[` + strings.Join(tools, ",") + `]}`
		case "prompts/list":
			result = `{"prompts":[` + strings.Join(prompts, ",") + `]}`
		case "resources/list":
			result = `{"resources":[{"uri":"file:///*"}]}`
		case "resources/templates/list":
			result = `{"resourceTemplates":[{"uriTemplate":"*"}]}`
		}
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
	})
	p, err := gateway.Propose(t.Context(), gateway.Existing{URL: b.URL})
	must(t, err)
	read := func(text string) gateway.Upstream {
		t.Helper()
		path := filepath.Join(t.TempDir(), "gateway.yaml")
		must(t, os.WriteFile(path, []byte(text), 0o600))
		f, err := gateway.ReadFile(path)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		return f.Upstreams[0]
	}
	u := read(string(p.Config))
	if len(u.Tools) != 1 || u.Tools[0].Name != "plain" ||
		strings.Count(string(p.Config), "LOOK TWICE: its name") < len(odd) {
		t.Errorf("the rules for tools are %+v in\n%s", u.Tools, p.Config)
	}
	for _, r := range u.Prompts {
		if strings.Contains(r.Name, "*") {
			t.Errorf("a prompt's rule is %+v", r)
		}
	}
	if len(u.Resources) != 1 || u.Resources[0].Name != "*" {
		t.Errorf("the rules for resources are %+v: the proposal's own star, and nothing of the server's", u.Resources)
	}
	u = read(strings.ReplaceAll(string(p.Config), "      # - {name:", "      - {name:"))
	if len(u.Tools) != len(names) || len(u.Prompts) != len(names) {
		t.Fatalf("with all opened there are %d tools and %d prompts, want %d", len(u.Tools), len(u.Prompts), len(names))
	}
	for i, name := range names {
		for _, r := range []gateway.Rule{u.Tools[i], u.Prompts[i]} {
			if r.Name != name || strings.Contains(name, "*") != r.Exact {
				t.Errorf("the rule for %q is %+v", name, r)
			}
		}
	}
}
