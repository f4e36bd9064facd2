package gateway_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/gateway"
)

// Numbers are compared as they are written, with every digit, and what no bound could be held
// against is refused before it is made a number.
func TestNumbersAreComparedExactly(t *testing.T) {
	b := newBehind(t)
	b.offering(readIt + "," + order)
	g := openGate(t, crm(b.URL, `    tenants:
      acme:
        - name: write_it
          arguments:
            amount: {minimum: 0, maximum: 9007199254740992}
            size: {enum: [1, 9007199254740993, 0.1, {a: [2.0]}, null]}
            large: {maximum: 123456789012345678901234567890.5}
            pinned: {const: 9007199254740993}
            parts: {const: [1.50, {b: 18446744073709551617}]}
`))
	raw := g.token("crm", "acme", "read", "write")
	ask := func(arguments string) answer {
		return g.post("crm", raw,
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write_it","arguments":`+arguments+`}}`)
	}
	for _, arguments := range []string{
		`{"amount":9007199254740992}`, `{"amount":0}`, `{"amount":-0}`, `{"amount":-0.0e-5}`, `{"amount":1e-400}`,
		`{"amount":9.007199254740992e15}`, `{"amount":9007199254740991.9999999999}`,
		`{"size":1}`, `{"size":1.0}`, `{"size":10e-1}`, `{"size":9007199254740993}`, `{"size":9007199254740993.0}`,
		`{"size":0.10}`, `{"size":1e-1}`, `{"size":{"a":[2]}}`, `{"size":null}`,
		`{"large":123456789012345678901234567890.5}`, `{"large":123456789012345678901234567890.49}`, `{"free":1e999}`,
		`{"amount":0.` + strings.Repeat("0", 398) + `1}`,
	} {
		if got := ask(arguments); got.status != 200 || strings.Contains(got.body, `"error"`) {
			t.Errorf("%s: got %d %s", arguments, got.status, got.body)
		} else if body := b.last(t).body; !strings.Contains(body, `"pinned":9007199254740993`) ||
			!strings.Contains(body, `"parts":[1.50,{"b":18446744073709551617}]`) {
			t.Errorf("%s: the server got %s", arguments, body)
		}
	}
	before := b.count()
	for arguments, want := range map[string]string{
		`{"amount":9007199254740993}`:                 "9007199254740992 at most",
		`{"amount":9007199254740992.000000000000001}`: "at most", `{"amount":9.007199254740993e15}`: "at most",
		`{"amount":-1e-400}`: "0 at least", `{"amount":-0.000000000000000000001}`: "at least",
		`{"amount":-5e-324}`: "at least",
		`{"amount":1e401}`:   "exponent", `{"amount":1e-401}`: "exponent", `{"amount":-1e-99999999999}`: "exponent",
		`{"amount":1E+1000000000000000000000}`: "exponent", `{"amount":1` + strings.Repeat("0", 400) + `}`: "digits",
		`{"amount":0.` + strings.Repeat("0", 399) + `1}`: "digits", `{"size":{"a":[2e999]}}`: "exponent",
		`{"amount":"1"}`: "a number", `{"amount":true}`: "a number",
		`{"size":9007199254740992}`: "one of", `{"size":9007199254740994}`: "one of",
		`{"size":1.0000000000000000000001}`: "one of", `{"size":0.1000000000000000055511151231257827}`: "one of",
		`{"size":"1"}`:                                "one of",
		`{"size":{"a":[2.0000000000000001]}}`:         "one of",
		`{"large":123456789012345678901234567890.51}`: "123456789012345678901234567890.5 at most",
		`{"large":123456789012345678901234567891}`:    "at most",
	} {
		if got := ask(arguments); got.status != 200 || !strings.Contains(got.body, "-32602") ||
			!strings.Contains(got.body, want) {
			t.Errorf("%s: got %d %s, want %s", arguments, got.status, got.body, want)
		}
	}
	if b.count() != before {
		t.Error("a call out of its bounds came to the server")
	}
}

// A bound that is no number, or none that numbers could be held against, is an error of the file.
func TestBoundsThatAreNoNumbers(t *testing.T) {
	for bound, want := range map[string]string{
		"{maximum: x}": "expected a number", "{minimum: '1'}": "expected a number",
		"{maximum: .inf}": "is not a number",
		"{maximum: .nan}": "is not a number", "{maximum: 1e401}": "exponent",
		"{enum: [0x10]}": "is not a JSON number", "{maximum: 1_000}": "is not a JSON number",
		"{enum: [{a: 1e999}]}": "exponent",
	} {
		path := filepath.Join(t.TempDir(), "gateway.yaml")
		must(t, os.WriteFile(path,
			[]byte("issuer: https://auth.example.com\nupstreams:\n"+
				strings.Replace(crm("http://127.0.0.1:9/mcp", "    tenants: {acme: [{name: write_it, arguments: {x: "+
					bound+"}}]}\n"), "$URL", "https://mcp.example.com", 1)), 0o600))
		if _, err := gateway.ReadFile(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", bound, err, want)
		}
	}
}
