package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
)

// A server that is not there is a 502 that does not say where it is not; then nobody is sent there
// for a while, and one looks whether it is back.
func TestBreaker(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	must(t, l.Close())
	g := openGate(t, crm("http://"+address+"/mcp", "    limits: {failures: 3, cooldown: 10s}\n"))
	raw := g.token("crm", "acme", "read")
	for i := range 3 {
		if got := g.post("crm", raw, call("read_it")); got.status != 502 || strings.Contains(got.body, address) {
			t.Fatalf("failure %d: got %d %s", i, got.status, got.body)
		}
	}
	if got := g.post("crm", raw, call("read_it")); got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("after three failures: got %d %v", got.status, got.header)
	}
	if _, body := g.get("/readyz"); !strings.Contains(body, `"crm":"failing"`) {
		t.Errorf("readyz says %s", body)
	}
	l, err = net.Listen("tcp", address)
	must(t, err)
	back := httptest.NewUnstartedServer(&behind{})
	back.Listener = l
	back.Start()
	t.Cleanup(back.Close)
	if got := g.post("crm", raw, call("read_it")); got.status != 503 {
		t.Errorf("before the while is over: got %d", got.status)
	}
	g.later(11 * time.Second)
	for range 2 {
		if got := g.post("crm", raw, call("read_it")); got.status != 200 {
			t.Errorf("when it is back: got %d %s", got.status, got.body)
		}
	}
	if log := g.log.String(); !strings.Contains(log, "state=failing") || !strings.Contains(log, "state=ok") {
		t.Errorf("the log does not say so: %s", log)
	}
}

// A full server is a 503, and one tenant cannot fill it for all.
func TestInFlight(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL, "    limits: {in_flight: 4, per_tenant: 2}\n"))
	hold, came := make(chan struct{}), make(chan struct{}, 9)
	b.answers(func(w http.ResponseWriter, r *http.Request, _ string) {
		came <- struct{}{}
		<-hold
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"jsonrpc":"2.0","id":7,"result":{}}`)
	})
	acme, globex := g.token("crm", "acme", "read"), g.token("crm", "globex", "read")
	ended := make(chan int, 9)
	ask := func(raw string) { go func() { ended <- g.post("crm", raw, call("read_it")).status }() }
	ask(acme)
	ask(acme)
	<-came
	<-came
	if got := g.post("crm", acme, call("read_it")); got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("the third of one tenant: %d", got.status)
	}
	ask(globex)
	<-came
	close(hold)
	for range 3 {
		if status := <-ended; status != 200 {
			t.Errorf("one that had a place: %d", status)
		}
	}
	if got := g.post("crm", acme, call("read_it")); got.status != 200 {
		t.Errorf("afterwards: %d", got.status)
	}
}

// One tool that is slow is a 504, and does not close the way for the others.
func TestSlow(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL, "    limits: {answer_within: 50ms, failures: 2}\n"))
	raw := g.token("crm", "acme", "read")
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	b.answers(func(_ http.ResponseWriter, r *http.Request, _ string) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	})
	for range 3 {
		if got := g.post("crm", raw, call("slow")); got.status != 504 {
			t.Errorf("got %d %s", got.status, got.body)
		}
	}
	g2 := openGate(t, crm(b.URL, "    limits: {idle: 50ms, failures: 1}\n"))
	b.answers(func(w http.ResponseWriter, r *http.Request, _ string) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"jsonrpc":`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	for range 2 {
		if got := g2.post("crm", g2.token("crm", "acme", "read"), call("slow")); got.status != 504 {
			t.Errorf("an answer that stops: %d %s", got.status, got.body)
		}
	}
	b.answers(nil)
	if got := g.post("crm", raw, call("read_it")); got.status != 200 {
		t.Errorf("after slow ones: %d %s", got.status, got.body)
	}
}

// Each event of a stream comes through when it is sent, and lists in it are cut down.
func TestStreams(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL))
	next := make(chan struct{})
	b.answers(func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w,
				"data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"n\":%d}}\n\n", i)
			w.(http.Flusher).Flush()
			<-next // only when the client has seen it
		}
		fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":[%s]}}\n\n", tools)
	})
	r, err := http.NewRequest("POST", g.url+"/crm", strings.NewReader(list))
	must(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+g.token("crm", "acme", "read"))
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for i := range 3 {
		if !lines.Scan() || !strings.Contains(lines.Text(), fmt.Sprintf(`"n":%d`, i)) {
			t.Fatalf("event %d is %q", i, lines.Text())
		}
		lines.Scan()
		next <- struct{}{}
	}
	if !lines.Scan() || listed(t, strings.TrimPrefix(lines.Text(), "data: ")) != "read_it" {
		t.Errorf("the list is %s", lines.Text())
	}
}

// MC-26: a stream ends when its grant does. DS-04: one grant holds only so many.
func TestStreamsEnd(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL, "    limits: {streams_per_grant: 2}\n"))
	ended := make(chan struct{}, 9)
	b.answers(func(w http.ResponseWriter, r *http.Request, _ string) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, ": begun\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		ended <- struct{}{}
	})
	listen := func() *http.Response {
		r, err := http.NewRequest("POST", g.url+"/crm", strings.NewReader(modernly("subscriptions/listen", "")))
		must(t, err)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+g.token("crm", "acme", "read"))
		modern("subscriptions/listen", "")(r)
		response, err := http.DefaultClient.Do(r)
		must(t, err)
		t.Cleanup(func() { response.Body.Close() })
		return response
	}
	first, second := listen(), listen()
	before := b.count()
	if third := listen(); third.StatusCode != 429 || b.count() != before {
		t.Errorf("a third stream: %d", third.StatusCode)
	}
	must(t, g.list.Add(context.Background(), "grt_acme", time.Now().Add(time.Hour)))
	<-ended
	<-ended
	for _, r := range []*http.Response{first, second} {
		io.Copy(io.Discard, r.Body)
	}
}

// MC-10: a session is its grant's alone, and the server gets its own name for it.
func TestSessions(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL))
	acme, globex := g.token("crm", "acme", "read"), g.token("crm", "globex", "read")
	opened := g.post("crm", acme,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},`+
			`"clientInfo":{"name":"x","version":"1"}}}`)
	session := opened.header.Get("Mcp-Session-Id")
	if opened.status != 200 || session == "" || session == "inner-session" {
		t.Fatalf("initialize: %d, session %q", opened.status, session)
	}
	with := func(r *http.Request) { r.Header.Set("Mcp-Session-Id", session) }
	if got := g.post("crm", acme, call("read_it"), with); got.status != 200 ||
		b.last(t).header.Get("Mcp-Session-Id") != "inner-session" {
		t.Errorf("its own: %d, and the server got %v", got.status, b.last(t).header)
	}
	before := b.count()
	for _, method := range []string{"POST", "GET", "DELETE"} {
		if got := g.send(method, "crm", globex, call("read_it"), with); got.status != 404 {
			t.Errorf("%s with another's session: %d", method, got.status)
		}
	}
	if b.count() != before {
		t.Error("a request with another's session came to the server")
	}
	if got := g.send("DELETE", "crm", acme, "", with); got.status != 200 || b.last(t).method != "DELETE" {
		t.Errorf("DELETE of one's own: %d", got.status)
	}
}

// What one tenant's requests bring about shuts out no other tenant, and at most this one: a server
// that is there counts as there.
func TestOneTenantDoesNotOpenTheBreakerForAll(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL, "    limits: {failures: 3, cooldown: 10s, answer: 1000}\n"))
	acme, globex := g.token("crm", "acme", "read"), g.token("crm", "globex", "read")
	refusal := func(status int, kind, body string) func(http.ResponseWriter, *http.Request, string) {
		return func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	for name, row := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request, string)
		keeps  bool // the tenant away that brought it about
	}{
		"too large": {refusal(200, "application/json", `{"jsonrpc":"2.0","id":7,"result":{"a":"`+strings.Repeat("x",
			2000)+`"}}`), false},
		"a page":     {refusal(200, "text/html", "<html>"), false},
		"no message": {refusal(200, "application/json", "{}"), false},
		"401":        {refusal(401, "text/plain", ""), false}, "a redirect": {refusal(302, "text/plain", ""), false},
		"500": {refusal(500, "text/plain", ""), false},
		"502": {refusal(502, "text/plain", ""), true}, "503": {refusal(503, "text/plain", ""), true},
		"504":        {refusal(504, "text/plain", ""), true},
		"broken off": {func(http.ResponseWriter, *http.Request, string) { panic(http.ErrAbortHandler) }, true},
	} {
		b.answers(row.answer)
		for range 4 {
			g.post("crm", acme, call("read_it"))
		}
		b.answers(nil)
		if got := g.post("crm", globex, call("read_it")); got.status != 200 {
			t.Errorf("%s: another tenant gets %d %s", name, got.status, got.body)
		}
		if got := g.post("crm", acme, call("read_it")); (got.status == 503) != row.keeps {
			t.Errorf("%s: the tenant itself gets %d", name, got.status)
		}
		if _, body := g.get("/readyz"); strings.Contains(body, `"crm":"failing for some"`) != row.keeps {
			t.Errorf("%s: readyz says %s", name, body)
		}
		g.later(11 * time.Second)
		if got := g.post("crm", acme, call("read_it")); got.status != 200 {
			t.Errorf("%s: after the while: %d", name, got.status)
		}
		if _, body := g.get("/readyz"); !strings.Contains(body, `"crm":"ok"`) {
			t.Errorf("%s: afterwards readyz says %s", name, body)
		}
	}
}

// Who shows no token is kept apart by address: one stranger whose requests fail, or wait, shut out
// all who have none.
func TestOneStrangerShutsOutNobodyElse(t *testing.T) {
	b := newBehind(t)
	g := openGateOn(t, sqlite(t), crm(b.URL, "    limits: {failures: 2, cooldown: 10s, in_flight: 8, per_tenant: 4}\n"),
		"insecure_allow_anonymous: true\ntrusted_proxies: [127.0.0.1/32]\n")
	setMode(t, g.gateway.Operator(), operator.ModeSpec{Anonymous: true, Mode: "observe"})
	from := func(address string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("X-Forwarded-For", address) }
	}
	b.answers(func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusServiceUnavailable) })
	for range 3 {
		g.post("crm", "", call("read_it"), from("192.0.2.1"))
	}
	b.answers(nil)
	for address, want := range map[string]int{"192.0.2.1": 503, "192.0.2.2": 200, "2001:db8::1": 200} {
		g.wants(want, "crm", "", call("read_it"), from(address))
	}
	g.wants(200, "crm", g.token("crm", "acme", "read"), call("read_it"))
	hold, came := make(chan struct{}), make(chan struct{}, 9)
	b.answers(func(w http.ResponseWriter, _ *http.Request, _ string) {
		came <- struct{}{}
		<-hold
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"jsonrpc":"2.0","id":7,"result":{}}`)
	})
	ended := make(chan int, 9)
	ask := func(address string) {
		go func() { ended <- g.post("crm", "", call("read_it"), from(address)).status }()
		<-came
	}
	ask("192.0.2.2")
	ask("192.0.2.2")
	g.wants(503, "crm", "", call("read_it"), from("192.0.2.2")) // an address has half of what all of them have
	ask("192.0.2.3")
	ask("192.0.2.4")
	g.wants(503, "crm", "", call("read_it"), from("192.0.2.5")) // all of them have what one tenant has
	close(hold)
	for range 4 {
		if status := <-ended; status != 200 {
			t.Errorf("one that had a place: %d", status)
		}
	}
	g.wants(200, "crm", "", call("read_it"), from("192.0.2.2"))
}
