package gateway_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/gateway"
)

// spoiled are tools that cannot be read in one way alone.
var spoiled = []string{
	`{"name":"twice","name":"read_it","inputSchema":{}}`, `{"Name":"cased","name":"cased","inputSchema":{}}`,
	`{"name":7,"inputSchema":{}}`,
	`{"name":"deep","inputSchema":{"a":1,"a":2}}`, "{\"name\":\"bytes\xff\",\"inputSchema\":{}}",
	`{"name":"syntax","inputSchema":{"a":}}`, `"text"`,
}

// One tool that cannot be read is left out of the list, with a WARN that names it, and the others
// are listed: in JSON, in a stream, of a program, and when a proposal is made.
func TestOneToolThatCannotBeReadIsLeftOut(t *testing.T) {
	b := newBehind(t)
	var stream bool
	var list string
	b.answers(func(w http.ResponseWriter, r *http.Request, body string) {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		_ = json.Unmarshal([]byte(body), &m)
		w.Header().Set("Content-Type", "application/json")
		answer := fmt.Sprintf(`{"result":{"tools":[%s]},"jsonrpc":"2.0","id":%s}`, list, m.ID)
		switch {
		case m.Method == "server/discover":
			answer = fmt.Sprintf(
				`{"jsonrpc":"2.0","id":%s,"result":{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}}`,
				m.ID)
		case stream:
			w.Header().Set("Content-Type", "text/event-stream")
			answer = "data: " + answer + "\n\n"
		}
		io.WriteString(w, answer)
	})
	for _, bad := range spoiled {
		list = bad + "," + tools + "," + bad
		for _, stream = range []bool{false, true} {
			g := openGate(t, crm(b.URL))
			got := g.post("crm", g.token("crm", "acme", "read"), `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
			if text := got.body[strings.Index(got.body, "{"):]; got.status != 200 || listed(t, text) != "read_it" {
				t.Errorf("%s, in a stream %v: %d %s", bad, stream, got.status, got.body)
			}
			if n := strings.Count(g.log.String(), "an unreadable list entry"); n != 1 {
				t.Errorf("%s: it is reported %d times in\n%s", bad, n, g.log)
			}
		}
		stream = false
		p, err := gateway.Propose(t.Context(), gateway.Existing{URL: b.URL})
		if err != nil || p.Tools != 3 || !strings.Contains(string(p.Config), "cannot be read is left out") {
			t.Errorf("a proposal with %s: %+v %v", bad, p, err)
		}
	}
	t.Setenv("GATEWAY_TEST_TOOLS", spoiled[0]+",")
	g := openGate(t, strings.Replace(lines("serve"), "    set:", "    environment: [GATEWAY_TEST_TOOLS]\n    set:", 1))
	if got := g.post("crm", g.token("crm", "acme", "read"), `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`); listed(t,
		got.body) != "read_it slow" || !strings.Contains(g.log.String(), "an unreadable list entry") {
		t.Errorf("of a program: %d %s\n%s", got.status, got.body, g.log)
	}
	list = `{"name":"read_it"}],"tools":[{"name":"read_it"}`
	g = openGate(t, crm(b.URL))
	if got := g.post("crm", g.token("crm", "acme", "read"),
		`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`); got.status != 502 {
		t.Errorf("a list twice, of which nobody can tell which counts: %d %s", got.status, got.body)
	}
}

// A 2xx to what needs no answer is 202, whatever its body.
func TestNotificationsAreAccepted(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL))
	raw := g.token("crm", "acme", "read")
	for _, row := range []struct {
		status     int
		kind, body string
	}{
		{200, "text/plain", "OK"}, {200, "text/html", "<p>"}, {200, "application/json", `{}`},
		{200, "application/json", `null`}, {200, "", ""}, {201, "text/plain", "x"}, {204, "", ""}, {202, "", ""},
		{200, "text/event-stream", ": nothing\n\n"},
	} {
		b.answers(func(w http.ResponseWriter, _ *http.Request, _ string) {
			if row.kind != "" {
				w.Header().Set("Content-Type", row.kind)
			}
			w.WriteHeader(row.status)
			io.WriteString(w, row.body)
		})
		for _, m := range []string{`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
			`{"jsonrpc":"2.0","id":1,"result":{}}`} {
			if got := g.post("crm", raw, m); got.status != 202 || got.body != "" {
				t.Errorf("%d %s %q to %s: got %d %q", row.status, row.kind, row.body, m, got.status, got.body)
			}
		}
	}
	b.answers(func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusBadRequest) })
	if got := g.post("crm", raw, `{"jsonrpc":"2.0","method":"notifications/initialized"}`); got.status != 400 {
		t.Errorf("a refusal of a notification: %d", got.status)
	}
}

// No coding is asked for, and one that comes all the same is undone within the limit.
func TestCodingsAreUndone(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL, "    limits: {answer: 100000}\n"))
	raw := g.token("crm", "acme", "read")
	const whole = `{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"%s"}]}}`
	pack := func(coding, text string) []byte {
		var out bytes.Buffer
		var w io.WriteCloser = gzip.NewWriter(&out)
		if coding == "deflate" {
			w = zlib.NewWriter(&out)
		}
		io.WriteString(w, text)
		must(t, w.Close())
		return out.Bytes()
	}
	for _, row := range []struct {
		coding, kind, text string
		status             int
		want               string
	}{
		{"gzip", "application/json", "hello", 200, "hello"}, {"GZIP", "application/json", "hello", 200, "hello"},
		{"deflate", "application/json", "hello", 200, "hello"},
		{"gzip", "text/event-stream", "hello", 200, "hello"}, {"gzip", "application/json", strings.Repeat("x", 10<<20),
			502, "more than is passed on"},
		{"gzip", "text/event-stream", strings.Repeat("x", 10<<20), 200, "more than is passed on"},
		{"br", "application/json", "hello", 502, "no message"},
		{"gzip, gzip", "application/json", "hello", 502, "no message"},
	} {
		text := fmt.Sprintf(whole, row.text)
		if row.kind == "text/event-stream" {
			text = "data: " + text + "\n\n"
		}
		b.answers(func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header().Set("Content-Type", row.kind)
			w.Header().Set("Content-Encoding", row.coding)
			w.Write(pack(row.coding, text))
		})
		got := g.post("crm", raw, call("read_it"),
			func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip, br") })
		if got.status != row.status || !strings.Contains(got.body, row.want) || !strings.Contains(got.body, `"id":7`) ||
			got.header.Get("Content-Encoding") != "" {
			t.Errorf("%s %s: got %d %.300s", row.coding, row.kind, got.status, got.body)
		}
		if asked := b.last(t).header["Accept-Encoding"]; len(asked) != 1 || asked[0] != "identity" {
			t.Errorf("the server is asked for %q", asked)
		}
	}
}
