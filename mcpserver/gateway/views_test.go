package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// A server may list by the scopes that it is told. What a reader saw counted for a colleague who
// may write, whose call of an approved tool was then of an unknown one; and what a look without
// scopes did not see was approved no more.
func TestHoldGoesByWhatTheCallerSees(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL))
	lists := 0
	b.answers(func(w http.ResponseWriter, r *http.Request, body string) {
		offer := readIt
		if strings.Contains(fmt.Sprint(arrived{header: r.Header}.claims(t)["scopes"]), "write") {
			offer += "," + writeIt
		}
		var m struct {
			ID     json.RawMessage
			Method string
		}
		_ = json.Unmarshal([]byte(body), &m)
		result := `{"content":[{"type":"text","text":"done"}]}`
		switch m.Method {
		case "server/discover":
			result = `{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}`
		case "tools/list":
			lists++
			result = `{"tools":[` + offer + `]}`
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
	})
	if said := g.approve(); !strings.Contains(said, "write_it: new") {
		t.Errorf("the look saw %s", said)
	}
	g.write(crm(b.URL, "    hold: true\n"))
	must(t, g.gateway.Reload())
	lists = 0
	for _, row := range []struct{ scope, tool string }{{"read", "read_it"}, {"write", "write_it"}, {"write", "read_it"},
		{"read", "read_it"}} {
		if got := g.post("crm", g.token("crm", "acme", row.scope), call(row.tool)); !strings.Contains(got.body,
			"done") {
			t.Errorf("%s with %s: got %d %s", row.tool, row.scope, got.status, got.body)
		}
	}
	if lists != 2 {
		t.Errorf("the server was asked for its tools %d times, want once for those who see the same", lists)
	}
	b.offering(readIt)
	if said := g.approve(); !strings.Contains(said,
		"crm write_it: gone: the server does not list it now; no longer approved") {
		t.Errorf("the look says %q of what it drops", said)
	}
}

// What is kept of what a server says is bounded by its size: names as long as a server likes were
// kept, each time, for every upstream and tenant. One that is long and approved is called all the
// same.
func TestLongNamesAreNotKept(t *testing.T) {
	b, other := newBehind(t), newBehind(t)
	long := strings.Repeat("n", 4000)
	offer := func(round int) string {
		tools := []string{readIt, fmt.Sprintf(`{"name":%q,"inputSchema":{"type":"object"}}`, long)}
		for i := range 500 {
			tools = append(tools, fmt.Sprintf(`{"name":"%s%d.%d","inputSchema":{"type":"object"}}`, long, round, i))
		}
		return strings.Join(tools, ",")
	}
	b.offering(readIt + fmt.Sprintf(`,{"name":%q,"inputSchema":{"type":"object"}}`, long))
	other.offering(readIt)
	upstream := strings.Replace(crm(b.URL), "    resources:",
		"      - {name: "+long+", scopes: [read]}\n    resources:", 1)
	two := func(hold string) string { return upstream + hold + strings.ReplaceAll(crm(other.URL), "crm", "wiki") }
	g := openGate(t, two(""))
	g.approve()
	g.write(two("    hold: true\n"))
	must(t, g.gateway.Reload())
	raw := g.token("crm", "acme", "read")
	heap := func() int {
		for range 3 { // a sync.Pool keeps what is in it for two
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := heap()
	for round := range 3 {
		b.offering(offer(round))
		if got := g.post("crm", raw, list); listed(t, got.body) != "read_it "+long {
			t.Fatalf("the list: %d %.200s", got.status, got.body)
		}
		b.mu.Lock()
		b.got = nil
		b.mu.Unlock()
	}
	b.offering(readIt) // what the server itself keeps is not measured
	if grown := heap() - before; grown > 3<<20 {
		t.Errorf("%d MiB are kept of 6 that were said", grown>>20)
	}
	for line := range strings.SplitSeq(g.log.String(), "\n") {
		if len(line) > 1000 {
			t.Fatalf("the log has a line of %d bytes: %.200s", len(line), line)
		}
	}
	b.offering(offer(2))
	if got := g.post("crm", raw, call(long)); !strings.Contains(got.body, "done") {
		t.Errorf("the long name: %d %.200s", got.status, got.body)
	}
}
