package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/gateway"
)

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"%s","capabilities":{},` +
	`"clientInfo":{"name":"x","version":"1"}}}`

// version makes a request of a client of a version.
func version(v string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Mcp-Protocol-Version", v) }
}

// handedOut is the version that initialize hands out to a client that asks for one.
func (g *gate) handedOut(raw, asked string) string {
	g.t.Helper()
	got := g.post("crm", raw, fmt.Sprintf(initialize, asked))
	var a struct {
		Result struct{ ProtocolVersion string }
	}
	if err := json.Unmarshal([]byte(got.body), &a); err != nil || a.Result.ProtocolVersion == "" {
		g.t.Fatalf("initialize with %s: %d %s", asked, got.status, got.body)
	}
	return a.Result.ProtocolVersion
}

var versions = []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"}

// What initialize handed out is accepted afterwards, whichever revision the process speaks and the
// client asks for.
func TestVersionsOfProcessesAreAcceptedAfterwards(t *testing.T) {
	for _, spoken := range append(versions, "2024-10-07", "draft") {
		g := openGate(t, strings.Replace(lines("serve"), "GATEWAY_TEST_PROCESS: serve",
			"GATEWAY_TEST_PROCESS: serve, GATEWAY_TEST_VERSION: \""+spoken+"\"", 1))
		raw := g.token("crm", "acme", "read")
		for _, asked := range append(versions, "2099-01-01", "2024-10-07") {
			v := g.handedOut(raw, asked)
			if got := g.post("crm", raw, list, version(v)); got.status != 200 ||
				!strings.Contains(got.body, "read_it") {
				t.Errorf("a process of %s, a client of %s: the list with %s, as handed out: %d %s", spoken, asked, v,
					got.status, got.body)
			}
		}
	}
}

// The same of a server at a URL, whose answer goes on as it is; and a version that no revision has
// is refused with those that are spoken, before anything is sent to the server.
func TestVersionsOfServersAreAcceptedAfterwards(t *testing.T) {
	b := newBehind(t)
	g := openGate(t, crm(b.URL))
	raw := g.token("crm", "acme", "read")
	for _, v := range versions {
		if got := g.post("crm", raw, list, version(v)); got.status != 200 ||
			b.last(t).header.Get("Mcp-Protocol-Version") != v {
			t.Errorf("a list with %s: %d %s", v, got.status, got.body)
		}
	}
	before := b.count()
	for _, row := range []struct {
		body   string
		change []func(*http.Request)
	}{
		{list, []func(*http.Request){version("2099-01-01")}},
		{list, []func(*http.Request){version("1999-01-01")}},
		{list, []func(*http.Request){version("nonsense " + strings.Repeat("x", 1000))}},
		{strings.ReplaceAll(modernly("tools/list", ""), "2026-07-28", "2099-01-01"),
			[]func(*http.Request){version("2099-01-01")}},
		{strings.ReplaceAll(modernly("tools/list", ""), "2026-07-28", "2099-01-01"),
			[]func(*http.Request){modern("tools/list", ""), version("2099-01-01")}},
	} {
		got := g.post("crm", raw, row.body, row.change...)
		var a struct {
			Error struct {
				Code int
				Data struct {
					Supported []string
					Requested string
				}
			}
		}
		err := json.Unmarshal([]byte(got.body), &a)
		if err != nil || got.status != 400 || a.Error.Code != -32022 || len(a.Error.Data.Supported) != 5 ||
			a.Error.Data.Requested == "" || len(a.Error.Data.Requested) > 64 {
			t.Errorf("%s: %d %s", row.body, got.status, got.body)
		}
	}
	if b.count() != before {
		t.Error("a version that is not spoken came to the server")
	}
}

// A server that discovers, and lists no revision of the newer era, is one of the older: it is asked
// as such (go-sdk 1.8.0 with sessions).
func TestAServerThatDiscoversOlderRevisionsIsAnOlderOne(t *testing.T) {
	for _, discovered := range []string{`"2025-11-25","2024-11-05"`, `"2026-07-28","2025-11-25"`} {
		t.Run(discovered, func(t *testing.T) { olderServer(t, discovered) })
	}
}

// olderServer reads a server that speaks older revisions alone, whatever it says when it is
// discovered.
func olderServer(t *testing.T, discovered string) {
	b := newBehind(t)
	b.answers(func(w http.ResponseWriter, r *http.Request, body string) {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		_ = json.Unmarshal([]byte(body), &m)
		w.Header().Set("Content-Type", "application/json")
		switch m.Method {
		case "server/discover":
			fmt.Fprintf(w,
				`{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","supportedVersions":[%s],`+
					`"capabilities":{"tools":{}}}}`, m.ID, discovered)
		case "initialize":
			w.Header().Set("Mcp-Session-Id", "s1")
			fmt.Fprintf(w,
				`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},`+
					`"serverInfo":{"name":"older","version":"1"}}}`, m.ID)
		case "tools/list":
			if r.Header.Get("Mcp-Protocol-Version") == "2026-07-28" {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32022,"message":"not supported"}}`, m.ID)
				return
			}
			if r.Header.Get("Mcp-Session-Id") != "s1" || r.Header.Get("Mcp-Protocol-Version") != "2024-11-05" {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"tools":[%s]}}`, m.ID, tools)
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	})
	p, err := gateway.Propose(t.Context(), gateway.Existing{URL: b.URL})
	if err != nil || p.Tools != 3 || p.Name != "older" {
		t.Fatalf("proposed %+v: %v", p, err)
	}
	g := openGate(t, crm(b.URL))
	a, err := gateway.LookAt(t.Context(), g.file, "acme", gateway.Deps{})
	if err != nil || len(a.Changes) != 3 {
		t.Errorf("looking: %+v %v", a, err)
	}
}
