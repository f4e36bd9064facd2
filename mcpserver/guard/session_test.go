package guard_test

import (
	"io"
	"net/http"
	"testing"
)

// RS-36: a request of 2026-07-28 has no session, whatever header it brings from a time when there
// were some.
func TestANewerRequestHasNoSession(t *testing.T) {
	f := newFort(t)
	var got []string
	f.behind.answer = func(w http.ResponseWriter, r *http.Request, _ string) {
		got = r.Header["Mcp-Session-Id"]
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
	}
	const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_it","_meta":{"io.` +
		`modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	w := f.send(f.token("read"), body, func(r *http.Request) {
		r.Header.Set("Mcp-Session-Id", "of before")
		r.Header.Set("Mcp-Protocol-Version", "2026-07-28")
		r.Header.Set("Mcp-Method", "tools/call")
		r.Header.Set("Mcp-Name", "read_it")
	})
	if w.Code != 200 || got != nil {
		t.Errorf("got %d %s, and the server %q", w.Code, w.Body, got)
	}
	if w := f.send(f.token("read"), call("read_it"),
		func(r *http.Request) { r.Header.Set("Mcp-Session-Id", "of before") }); w.Code != 404 {
		t.Errorf("an older request with a session that is not its own: %d", w.Code)
	}
}
