package gateway_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/gateway"
)

// What is wrong in a file is said with its line and the word that was meant.
func TestFiles(t *testing.T) {
	good := "issuer: https://auth.example.com\nupstreams:\n" + strings.ReplaceAll(crm("http://127.0.0.1:9/mcp"), "$URL",
		"https://mcp.example.com")
	for name, row := range map[string]struct{ from, to, want string }{
		"as it is":                {"", "", ""},
		"a misspelt word":         {"implies:", "implys:", `line 7: there is no "implys"; is it "implies"?`},
		"a misspelt word at top":  {"issuer:", "isuer:", `line 1: there is no "isuer"; is it "issuer"?`},
		"a misspelt word in line": {"write: true", "wirte: true", `line 10: there is no "wirte"; is it "write"?`},
		"a word of before": {"    implies", "    limits: {first_byte: 30s}\n    implies",
			`"first_byte" is now "answer_within"`},
		"a word twice": {"    implies:", "    name: x\n    implies:", "line 7"},
		// took 10 GB
		"too many brackets": {"name: crm", "name: " + strings.Repeat("[", 300_000),
			"line 3: it is nested deeper than 32 levels"},
		"a number for a word": {"name: crm", "name: {a: b}", "line 3"},
		"no url":              {"    url: http://127.0.0.1:9/mcp\n", "", "neither url nor command"},
		"a scope of nobody's": {"scopes: [write]", "scopes: [wriet]", `needs the scope "wriet"`},
		"plain http":          {"http://127.0.0.1:9/mcp", "http://inner.example/mcp", "plain http"},
		"a user in the url":   {"http://127.0.0.1:9/mcp", "http://u:p@127.0.0.1:9/mcp", "has a user in it"},
		"no canonical resource": {"https://mcp.example.com/crm", "https://MCP.example.com/crm",
			"give it as https://mcp.example.com/crm"},
		"a default port": {"https://mcp.example.com/crm", "https://mcp.example.com:443/crm",
			"give it as https://mcp.example.com/crm"},
		"a final dot": {"https://mcp.example.com/crm", "https://mcp.example.com./crm",
			"give it as https://mcp.example.com/crm"},
		"a dot segment": {"https://mcp.example.com/crm", "https://mcp.example.com/a/../crm", "dot segments"},
		"an issuer's port": {"issuer: https://auth.example.com", "issuer: https://auth.example.com:443",
			"give it as https://auth.example.com"},
		"an issuer in capitals": {"issuer: https://auth.example.com", "issuer: HTTPS://AUTH.example.com",
			"give it as https://auth.example.com"},
		"an issuer's final dot": {"issuer: https://auth.example.com", "issuer: https://auth.example.com.",
			"give it as https://auth.example.com"},
		"the gateway's own path": {"https://mcp.example.com/crm", "https://mcp.example.com/healthz",
			"reserved for the gateway"},
		"a name that is none":   {"name: crm", "name: C R M", "1 to 32 characters"},
		"a circle":              {"{write: [read]}", "{write: [read], read: [write]}", "circle"},
		"a header that is none": {"    implies", "    assertion_header: 'a b'\n    implies", "not a header name"},
		"half a credential":     {"    implies", "    credential: {header: X}\n    implies", "a credential needs"},
		"a tenant's star": {"    implies", "    tenants: {acme: [{name: 'read_*', off: true}]}\n    implies",
			"patterns are not possible"},
		"a tool twice": {"    implies",
			"    tenants: {acme: [{name: a, off: true}, {name: a}]}\n    implies", "twice"},
		"a name for nothing": {"    implies",
			"    tenants: {acme: [{name: nobody_names_it, rename: c}]}\n    implies", "no rule under tools names it"},
		"a pin to nothing": {"    implies",
			"    tenants: {acme: [{name: a, arguments: {x: {const: null}}}]}\n    implies", "it has no bound"},
		"two names that are one": {"    implies",
			"    tenants: {acme: [{name: read_it, rename: c}, {name: write_it, rename: c}]}\n    implies",
			"two tools are renamed"},
		"one name for two tools": {"    implies",
			"    tenants: {acme: [{name: read_it, rename: write_it}, {name: write_it, describe: x}]}\n    implies",
			`the tool "read_it" is renamed "write_it", and the tool of that name`},
		"a name that was left": {"    implies",
			"    tenants: {acme: [{name: read_it, rename: write_it}, {name: write_it, rename: order}]}\n    implies",
			""},
		"a name that is off": {"    implies",
			"    tenants: {acme: [{name: read_it, rename: write_it}, {name: write_it, off: true}]}\n    implies", ""},
		"no pattern": {"    implies",
			"    tenants: {acme: [{name: a, arguments: {x: {pattern: '('}}}]}\n    implies", "missing closing )"},
		"a url and a command":     {"    implies", "    command: [cat]\n    implies", "both set"},
		"a set without a command": {"    implies", "    set: {A: b}\n    implies", "are for a command"},
		"no issuer":               {"issuer: https://auth.example.com\n", "", "issuer is not set"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "gateway.yaml")
			must(t, os.WriteFile(path, []byte(strings.Replace(good, row.from, row.to, 1)), 0o600))
			_, err := gateway.ReadFile(path)
			if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

// Every word that a file may say is known to anyone who guesses what was meant.
func TestEveryWordIsGuessed(t *testing.T) {
	source, err := os.ReadFile("file.go")
	must(t, err)
	for _, tag := range regexp.MustCompile("yaml:\"([a-z_]+)\"").FindAllStringSubmatch(string(source), -1) {
		path := filepath.Join(t.TempDir(), "gateway.yaml")
		must(t, os.WriteFile(path, []byte(tag[1]+"~: x\n"), 0o600))
		if _, err := gateway.ReadFile(path); err == nil || !strings.Contains(err.Error(), `is it "`+tag[1]+`"?`) {
			t.Errorf("%s~: got %v", tag[1], err)
		}
	}
}
