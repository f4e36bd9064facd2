package guard_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
)

// GHSA-q382-vc8q-7jhj: a server behind that drops a control character from a name would run another
// tool than the one that was decided on. Such a message is refused before anything is decided, and
// reaches no server.
func TestANameWithAControlCharacterDoesNotPass(t *testing.T) {
	var decided []guard.Record
	f := newFort(t, func(p *guard.Policy) {
		p.Record = func(r guard.Record) {
			if r.Decision.Kind != "" {
				decided = append(decided, r)
			}
		}
	})
	raw := f.issuer.Sign(f.issuer.Claims(resource, "read"))
	for _, c := range []string{`\u0000`, `\u0001`, `\t`, `\n`, `\u001f`, `\u007f`, "\x7f"} {
		for _, body := range []string{
			`{"jsonrpc":"2.0","id":1,"method":"tools/list","method%s":"tools/call","params":{"name":"read_it"}}`,
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it"},"params%s":{"name":"write_it"}}`,
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it","name%s":"write_it",` +
				`"arguments":{}}}`,
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name%s":"write_it","name":"read_it",` +
				`"arguments":{}}}`,
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it","arguments":{},` +
				`"arguments%s":{"a":1}}}`,
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it","arguments":{"a":1,"a%s":2}}}`,
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it","_meta":{"progressToken%s":2}}}`,
		} {
			got := f.send(raw, fmt.Sprintf(body, c))
			f.want(t, got, 400)
		}
	}
	if passed := f.behind.got(); len(passed) != 0 || len(decided) != 0 {
		t.Errorf("%q reached the server, and %v was decided", passed, decided)
	}
}

// A stream's word that a resource has changed is read by its exact names: another spelling hides
// none.
func TestAnnouncedURIIsReadExactly(t *testing.T) {
	f := newFort(t)
	for params, want := range map[string]bool{
		`{"uri":"file:///etc/x","URI":"file:///open/x"}`:       false,
		`{"uri":"file:///etc/x","uri\u0000":"file:///open/x"}`: false,
		`{"uri":"file:///etc/x","ur\u0131":"file:///open/x"}`:  false, `{"URI":"file:///open/x"}`: false,
		`{"uri":"file:///open/x","more":1}`: true,
	} {
		f.behind.answer = func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, `data: {"jsonrpc":"2.0","method":"notifications/resources/updated","params":`+params+
				"}\n\n")
		}
		got := f.send(f.token("read"), call("read_it"))
		if strings.Contains(got.Body.String(), "updated") != want {
			t.Errorf("%s: got %q, want it announced: %v", params, got.Body, want)
		}
	}
}
