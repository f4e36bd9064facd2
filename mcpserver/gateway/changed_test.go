package gateway_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// listener reads the events of one open stream.
type listener struct {
	t      *testing.T
	events chan string
}

// hears waits for an event that has a text, and returns it.
func (l *listener) hears(want string) string {
	l.t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case e, ok := <-l.events:
			if !ok {
				l.t.Fatalf("the stream ended before %q", want)
			}
			if strings.Contains(e, want) {
				return e
			}
		case <-timeout:
			l.t.Fatalf("heard nothing of %q", want)
		}
	}
}

// listen opens a stream and reads it until the test ends.
func (g *gate) listen(t *testing.T, method, raw, body string, change ...func(*http.Request)) *listener {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, g.url+"/crm", strings.NewReader(body))
	must(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("Authorization", "Bearer "+raw)
	for _, f := range change {
		f(r)
	}
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	if response.StatusCode != 200 {
		t.Fatalf("%s: got %d", method, response.StatusCode)
	}
	l := &listener{t, make(chan string, 100)}
	go func() {
		defer close(l.events)
		defer response.Body.Close()
		event := ""
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			if event += lines.Text() + "\n"; lines.Text() == "" {
				l.events <- event
				event = ""
			}
		}
	}()
	return l
}

// announcing answers with streams that stay open: half an event first, and the other half when it
// is told to go on.
func (b *behind) announcing(goOn <-chan struct{}) {
	b.answers(func(w http.ResponseWriter, r *http.Request, body string) {
		if r.Method == http.MethodPost && !strings.Contains(body, "subscriptions/listen") {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Mcp-Session-Id", "inner-session")
			io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, ": open\n\n"+`data: {"jsonrpc":"2.0","method":"notifications/`)
		w.(http.Flusher).Flush()
		select {
		case <-goOn:
		case <-r.Context().Done():
		}
		io.WriteString(w, `message","params":{"data":"first"}}`+"\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
}

const changedTools = `"method":"notifications/tools/list_changed"`

// Clients whose list of tools is another by a reload are told on the stream that they opened for
// that: between two events, after the server's first word, and nobody else.
func TestChangedRulesAreTold(t *testing.T) {
	b := newBehind(t)
	goOn := make(chan struct{})
	b.announcing(goOn)
	g := openGate(t, crm(b.URL))
	acme, globex := g.token("crm", "acme", "read"), g.token("crm", "globex", "read")
	opened := g.post("crm", acme,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},`+
			`"clientInfo":{"name":"x","version":"1"}}}`)
	session := func(r *http.Request) { r.Header.Set("Mcp-Session-Id", opened.header.Get("Mcp-Session-Id")) }
	subscribe := func(raw, filter string) *listener {
		return g.listen(t, "POST", raw, modernly("subscriptions/listen", `"notifications":`+filter),
			modern("subscriptions/listen", ""))
	}
	older := g.listen(t, "GET", acme, "", session)
	newer, other, deaf := subscribe(acme, `{"toolsListChanged":true}`), subscribe(globex, `{"toolsListChanged":true}`),
		subscribe(acme, `{"promptsListChanged":true}`)
	for _, l := range []*listener{older, newer, other, deaf} {
		l.hears(": open")
	}
	reload := func(upstream string) {
		t.Helper()
		g.write(upstream)
		must(t, g.gateway.Reload())
	}
	reload(crm(b.URL, "    tenants: {acme: [{name: write_it, off: true}]}\n"))
	if got := older.hears("data:"); !strings.Contains(got, changedTools) { // though half of another event has come
		t.Errorf("the older stream hears %s", got)
	}
	close(goOn)
	for name, l := range map[string]*listener{"newer": newer, "other": other, "deaf": deaf, "older": older} {
		if got := l.hears("data:"); !strings.Contains(got, `"data":"first"`) {
			t.Errorf("%s: what the server says is %s", name, got)
		}
	}
	if got := newer.hears("data:"); !strings.Contains(got, changedTools) ||
		!strings.Contains(got, `"io.modelcontextprotocol/subscriptionId":7`) {
		t.Errorf("the newer stream hears %s", got)
	}
	// The other tenant was not told: what it hears first is the next change, of the rules of all;
	// and who asked for something else hears nothing at all.
	reload(strings.Replace(crm(b.URL), "{name: slow, scopes: []}", "{name: slow, scopes: [write]}", 1))
	for _, l := range []*listener{older, newer, other} {
		l.hears(changedTools)
	}
	for name, l := range map[string]*listener{"other": other, "deaf": deaf} {
		select {
		case e := <-l.events:
			t.Errorf("%s hears %s", name, e)
		default:
		}
	}
}

// A held tool that is approved is news as well.
func TestAnApprovalIsTold(t *testing.T) {
	b := newBehind(t)
	b.offering(readIt)
	g := openGate(t, crm(b.URL))
	g.approve()
	g.write(crm(b.URL, "    hold: true\n"))
	must(t, g.gateway.Reload())
	goOn := make(chan struct{})
	close(goOn)
	b.announcing(goOn)
	l := g.listen(t, "POST", g.token("crm", "acme", "read"),
		modernly("subscriptions/listen", `"notifications":{"toolsListChanged":true}`),
		modern("subscriptions/listen", ""))
	l.hears("first")
	b.offering(readIt + "," + writeIt)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); g.gateway.Run(ctx, nil) }()
	defer func() { cancel(); <-done }()
	if said := g.approve(); !strings.Contains(said, "write_it: new") {
		t.Error(said)
	}
	l.hears(changedTools)
}
