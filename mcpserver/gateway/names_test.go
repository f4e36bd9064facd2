package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// GHSA-q382-vc8q-7jhj: a name with a control character is another to a server that drops it. It is
// refused before the gateway decides, renames, pins, bounds, counts or holds, for servers over HTTP
// and for programs.
func TestANameWithAControlCharacterReachesNoServer(t *testing.T) {
	bodies := []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it","arguments":{},"name%s":"write_it"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"order","arguments":{"amount":5},` +
			`"arguments%s":{"amount":500}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"order","arguments":{"amount":5,` +
			`"amount%s":500}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"order","arguments":{"region%s":"us"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it","arguments":{},` +
			`"_meta":{"progressToken%s":1}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it","arguments":{}},` +
			`"params%s":{"name":"write_it"}}`,
	}
	b := newBehind(t)
	b.offering(readIt + "," + order)
	remote := openGate(t, crm(b.URL, tenants))
	program := openGate(t, lines("serve"))
	program.post("crm", program.token("crm", "acme", "read"), saying("1", "")) // its process is there
	for _, c := range []string{`\u0000`, `\u0009`, `\u001f`, `\u007f`, "\x7f"} {
		for _, body := range bodies {
			body := fmt.Sprintf(body, c)
			before := b.count()
			got := remote.post("crm", remote.token("crm", "acme", "read", "write"), body)
			if got.status != 400 || !strings.Contains(got.body, "control character") || b.count() != before {
				t.Errorf("over HTTP: %s: got %d %s, and the server %d requests", body, got.status, got.body,
					b.count()-before)
			}
			got = program.post("crm", program.token("crm", "acme", "read", "write"), body)
			if got.status != 400 || !strings.Contains(got.body, "control character") ||
				strings.Contains(got.body, "result") {
				t.Errorf("to a program: %s: got %d %s", body, got.status, got.body)
			}
		}
	}
}

// The same holds for a server's list: a tool whose name another reader would read otherwise is
// shown to no one.
func TestAListWithANameOfTwoReadingsDoesNotPass(t *testing.T) {
	for _, list := range []string{
		`{"name":"read_it","inputSchema":{"type":"object"},"name\u0000":"write_it"}`,
		`{"name":"read_it","inputSchema":{"type":"object"},"Name":"write_it"}`,
	} {
		b := newBehind(t)
		b.offering(list)
		g := openGate(t, crm(b.URL))
		if got := g.post("crm", g.token("crm", "acme", "read"),
			`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`); strings.Contains(got.body, "read_it") ||
			strings.Contains(got.body, "write_it") {
			t.Errorf("%s: got %d %s", list, got.status, got.body)
		}
	}
}

// A server's text that is cut within a character goes on as it is written, in JSON, in a stream and
// from a program: nothing is decided by it. A client's is refused.
func TestATextThatIsCutWithinACharacterPasses(t *testing.T) {
	const result = `"result":{"content":[{"type":"text","text":"cut \ud83d"}],"structuredContent":{"a\tb":1}}`
	for _, kind := range []string{"application/json", "text/event-stream"} {
		b := newBehind(t)
		g := openGate(t, crm(b.URL))
		b.answers(func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header().Set("Content-Type", kind)
			message := `{"jsonrpc":"2.0","id":1,` + result + `}`
			if kind == "text/event-stream" {
				message = "data: " + message + "\n\n"
			}
			io.WriteString(w, message)
		})
		if got := g.post("crm", g.token("crm", "acme", "read"), call("read_it")); got.status != 200 ||
			!strings.Contains(got.body, result) {
			t.Errorf("%s: got %d %s", kind, got.status, got.body)
		}
		before := b.count()
		got := g.post("crm", g.token("crm", "acme", "read"),
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it","arguments":{"text":"cut `+
				`\ud83d"}}}`)
		if got.status != 400 || !strings.Contains(got.body, "-32700") || b.count() != before {
			t.Errorf("a client's: got %d %s", got.status, got.body)
		}
	}
	g := openGate(t, lines("serve"))
	if got := g.post("crm", g.token("crm", "acme", "read"), saying("1", `"kind":"half"`)); got.status != 200 ||
		!strings.Contains(got.body, result) {
		t.Errorf("a program's: got %d %s", got.status, got.body)
	}
	const fault = `"error":{"code":-32050,"message":"cut \ud83d","data":{"a\tb":1}}`
	got := g.post("crm", g.token("crm", "acme", "read"), saying("2", `"kind":"half in an error"`))
	if got.status != 200 || !strings.Contains(got.body, fault) {
		t.Errorf("a program's error: got %d %s", got.status, got.body)
	}
}
