package gateway_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// MC-14, CVE-2026-33946: B brings its own good session and an event of A's, to a server whose
// sessions share their events. The server is not told of A's event.
func TestAnothersEventIsNotTakenUp(t *testing.T) {
	b := newBehind(t)
	b.answers(func(w http.ResponseWriter, r *http.Request, _ string) {
		if r.Method == http.MethodPost {
			w.Header().Set("Mcp-Session-Id", "inner-session")
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w,
			"id: s.1\nretry: 100\ndata: \n\nid:s.2\r\nevent: message\r\ndata: "+
				"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\r\ndata: \"params\":{\"data\":\"id: "+
				"x\"}}\r\n\r\n: id: y\nid:\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n")
	})
	g := openGate(t, crm(b.URL)+strings.ReplaceAll(crm(b.URL), "crm", "wiki"))
	open := func(tenant string, grant ...string) (raw, session, event string) {
		t.Helper()
		raw = g.token("crm", tenant, "read")
		if len(grant) > 0 {
			c := g.issuer.Claims(g.url+"/crm", "read")
			c.TenantID, c.GrantID = tenant, grant[0]
			raw = g.issuer.Sign(c)
		}
		got := g.post("crm", raw,
			`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",`+
				`"capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`)
		events := regexp.MustCompile(`(?m)^id: ?(s\.\d\.[\w-]{22})\r?$`).FindAllStringSubmatch(got.body, -1)
		if got.status != 200 || len(events) != 2 || !strings.Contains(got.body, "\nid:\n") ||
			!strings.Contains(got.body, `"data":"id: x"`) || !strings.Contains(got.body, ": id: y\n") {
			t.Fatalf("the stream: %d %q", got.status, got.body)
		}
		return raw, got.header.Get("Mcp-Session-Id"), events[1][1]
	}
	acme, acmes, event := open("acme")
	globex, globexes, _ := open("globex")
	resume := func(raw, session string, events ...string) string {
		t.Helper()
		got := g.send("GET", "crm", raw, "", func(r *http.Request) {
			r.Header.Set("Mcp-Session-Id", session)
			r.Header["Last-Event-Id"] = events
		})
		at := b.last(t).header
		if got.status != 200 || at.Get("Mcp-Session-Id") != "inner-session" {
			t.Errorf("%v: got %d, and the server %v", events, got.status, at)
		}
		return strings.Join(at["Last-Event-Id"], " ")
	}
	if got := resume(acme, acmes, event); got != "s.2" {
		t.Errorf("its own: the server is told %q, want s.2", got)
	}
	if got := resume(acme, acmes, event, event); got != "" {
		t.Errorf("its own, twice: the server is told %q", got)
	}
	for name, events := range map[string][]string{"another's": {event}, "the server's own": {"s.2"},
		"two": {event, event}, "none": {""}, "a mark": {"."}} {
		if got := resume(globex, globexes, events...); got != "" {
			t.Errorf("%s: the server is told %q", name, got)
		}
	}
	for name, who := range map[string][2]string{"another grant of the tenant's": {"acme", "grt_other"},
		"a grant of that name, another tenant's": {"globex", "grt_acme"}} {
		raw, session, own := open(who[0], who[1])
		if got := resume(raw, session, own); got != "s.2" {
			t.Errorf("%s: of its own the server is told %q, want s.2", name, got)
		}
		if got := resume(raw, session, event); got != "" {
			t.Errorf("%s: the server is told %q", name, got)
		}
	}
	for name, bent := range map[string]string{"another event": "s.1" + event[3:], "cut": event[:len(event)-1],
		"more": event + "x"} {
		if got := resume(acme, acmes, bent); got != "" {
			t.Errorf("%s: the server is told %q", name, got)
		}
	}
	// Nor with a call, nor at another server.
	g.post("crm", globex, call("read_it"), func(r *http.Request) { r.Header.Set("Last-Event-Id", event) })
	if got := b.last(t).header["Last-Event-Id"]; len(got) != 0 {
		t.Errorf("with a call the server is told %q", got)
	}
	g.post("wiki", g.token("wiki", "acme", "read"), call("read_it"),
		func(r *http.Request) { r.Header.Set("Last-Event-Id", event) })
	if got := b.last(t).header["Last-Event-Id"]; len(got) != 0 {
		t.Errorf("another server is told %q", got)
	}
}
