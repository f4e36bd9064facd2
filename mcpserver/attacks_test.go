package mcpserver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/shared/token/tokentest"
)

// tickets is how many tickets a tenant can be shown to have: none of what was refused may be among
// them.
func (w *runningServer) tickets(tenant string) int {
	w.t.Helper()
	n, err := w.server.Tickets(context.Background(), tenant)
	must(w.t, err)
	return n
}

const openTicket = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"create_ticket",` +
	`"arguments":{"customer_id":"cus_acme_1001","subject":"Sled"}}}`

// RS-13 to RS-16, JW-18: each request needs a good token of its own, also on a connection that
// brought one before; nothing runs for any other.
func TestNothingIsInherited(t *testing.T) {
	w := openWing(t)
	good := w.token("acme", allScopes...)
	parts := strings.Split(good, ".")
	foreign := tokentest.NewIssuer(t)
	elsewhere := w.issuer.Claims("https://other.example/mcp", allScopes...)
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	must(t, err)
	defer conn.Close()
	answers := bufio.NewReader(conn)
	ask := func(raw string) int {
		authorization := ""
		if raw != "" {
			authorization = "Authorization: Bearer " + raw + "\r\n"
		}
		fmt.Fprintf(conn,
			"POST /mcp HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nAccept: */*\r\n%sContent-Length: "+
				"%d\r\n\r\n%s",
			strings.TrimPrefix(w.url, "http://"), authorization, len(openTicket), openTicket)
		response, err := http.ReadResponse(answers, nil)
		must(t, err)
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		must(t, err)
		return response.StatusCode
	}
	if status := ask(good); status != 200 || w.tickets("acme") != 1 {
		t.Fatalf("a good token: got %d and %d tickets, want one", status, w.tickets("acme"))
	}
	for name, raw := range map[string]string{
		"none": "", "of another claim": parts[0] + "." + tokentest.Encode([]byte(`{"tenant_id":"acme"}`)) + "." +
			parts[2], "for another server": w.issuer.Sign(elsewhere),
		"of another issuer": foreign.Sign(foreign.Claims(w.resource, allScopes...)),
		"an opaque one":     "gho_16C7e42F292c6912E7710c838347Ae178B4a",
	} {
		if status := ask(raw); status != 401 || w.tickets("acme") != 1 {
			t.Errorf("%s, on the same connection: got %d and %d tickets, want 401 and nothing more", name, status,
				w.tickets("acme"))
		}
	}
	if status := ask(good); status != 200 || w.tickets("acme") != 2 {
		t.Errorf("the good one again: got %d and %d tickets, want two", status, w.tickets("acme"))
	}
}

// MC-01, MC-25, RS-26: there is one endpoint; nothing near it is the endpoint, and nothing
// redirects.
func TestOneEndpoint(t *testing.T) {
	w := openWing(t)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for path, want := range map[string]int{
		// TN-08
		"/mcp": 200, "/mcp/": 404, "//mcp": 404, "/x/../mcp": 404, "/./mcp": 404, "/MCP": 404, "/mcp%2f": 404,
		"/%6dcp": 404, "/": 404, "/mcp;x": 404, "/t/globex/mcp": 404, "//evil.example/%2e%2e": 404,
		"/mcp?tenant=globex": 200,
	} {
		r, err := http.NewRequest("POST", w.url+path, strings.NewReader(list))
		must(t, err)
		r.Header.Set("Authorization", "Bearer "+w.token("acme", allScopes...))
		r.Header.Set("Content-Type", "application/json")
		response, err := client.Do(r)
		must(t, err)
		response.Body.Close()
		if response.StatusCode != want || response.Header.Get("Location") != "" {
			t.Errorf("%s: got %d to %q, want %d", path, response.StatusCode, response.Header.Get("Location"), want)
		}
	}
}

// toolsOf are the companion's tools, each with arguments that are good.
var toolsOf = map[string]map[string]any{
	"read_customer":         {"customer_id": "cus_acme_1001"},
	"update_customer":       {"customer_id": "cus_acme_1001", "name": "Road Runner"},
	"create_ticket":         {"customer_id": "cus_acme_1001", "subject": "Sled"},
	"search_knowledge_base": {"query": "sled"},
}

// TN-01, TN-09: who acts, and for whom, is the token's to say. An argument that names it is
// refused, by every tool, and changes nothing.
func TestIdentityIsNoArgument(t *testing.T) {
	w := openWing(t)
	raw := w.token("globex", allScopes...)
	for tool, good := range toolsOf {
		for _, name := range []string{"tenant_id", "tenantId", "tenant", "user_id", "sub", "role", "owner",
			"created_by", "opened_by", "scopes", "__proto__", "constructor", "id", "Customer_ID"} {
			bent := map[string]any{name: "acme"}
			for k, v := range good {
				bent[k] = v
			}
			text, failed := w.call(raw, tool, bent)
			if !failed || !strings.Contains(text, "there is no argument") || strings.Contains(text, "Road Runner") {
				t.Errorf("%s with %s: got %v %s, want no such argument", tool, name, failed, text)
			}
		}
	}
}

// TN-02: what another tenant has is as what nobody has, byte for byte, for every tool that takes an
// id.
func TestAnothersIsAsNothing(t *testing.T) {
	w := openWing(t)
	raw := w.token("globex", allScopes...)
	for tool, good := range toolsOf {
		if good["customer_id"] == nil {
			continue
		}
		ask := func(id string) string {
			arguments := map[string]any{}
			for k, v := range good {
				arguments[k] = v
			}
			arguments["customer_id"] = id
			text, failed := w.call(raw, tool, arguments)
			return fmt.Sprint(failed, text)
		}
		if acmes, nobodys := ask("cus_acme_1001"), ask("cus_acme_9999"); acmes != nobodys {
			t.Errorf("%s: %s for acme's, %s for nobody's", tool, acmes, nobodys)
		}
	}
}

// TN-03, TN-10: whatever stands for an argument is a value and nothing else: an error that an agent
// can mend, or nothing found; never more than was asked for, never a fault of ours.
func TestHostileArguments(t *testing.T) {
	w := openWing(t)
	raw := w.token("acme", allScopes...)
	hostile := []string{
		`"' OR 1=1--"`, `"\"; DROP TABLE customers; --"`, `"%"`, `"_"`, `"cus_acme_1001' UNION SELECT 1,2,3"`,
		`"\\u0000"`, `"\u0000"`, `"$.a"`, `"*"`, `"../../etc/passwd"`, `"\ud800"`, `""`, `" "`,
		`["cus_acme_1001"]`, `{"a":1}`, `1e999`, `-1`, `1.5`, `true`, `null`, `9223372036854775808`,
		`"` + strings.Repeat("x", 500_000) + `"`,
	}
	for tool, good := range toolsOf {
		for name := range good {
			for _, value := range hostile {
				arguments := map[string]json.RawMessage{}
				for k, v := range good {
					b, err := json.Marshal(v)
					must(t, err)
					arguments[k] = b
				}
				arguments[name] = json.RawMessage(value)
				encoded, err := json.Marshal(arguments)
				if err != nil { // encoding/json does not write what it cannot read
					continue
				}
				began := time.Now()
				status, body := w.post(raw, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+
					`","arguments":`+string(encoded)+`}}`)
				if status >= 500 || strings.Contains(body, "support code") || strings.Contains(body, "sql") ||
					time.Since(began) > 5*time.Second {
					t.Errorf("%s with %s = %.60s: got %d %.300s in %v", tool, name, value, status, body,
						time.Since(began))
				}
				if strings.Contains(body, "globex") || tool != "search_knowledge_base" &&
					strings.Contains(body, "cus_acme_1002") {
					t.Errorf("%s with %s = %.60s: more than was asked for: %.300s", tool, name, value, body)
				}
			}
		}
	}
	if text, failed := w.call(raw, "read_customer", toolsOf["read_customer"]); failed ||
		!strings.Contains(text, "cus_acme_1001") {
		t.Errorf("afterwards: %v %s", failed, text)
	}
}

// DS-01, DS-02, DS-07: what is too much is refused before it is worked on, and a good request goes
// on meanwhile.
func TestTooMuch(t *testing.T) {
	w := openWing(t, func(c *mcpserver.Config) { c.CallsPerMinute = -1 })
	raw := w.token("acme", allScopes...)
	send := func(body io.Reader, length int64, query string, header string) int {
		r, err := http.NewRequest("POST", w.resource+query, body)
		must(t, err)
		r.ContentLength = length
		r.Header.Set("Authorization", "Bearer "+raw)
		r.Header.Set("Content-Type", "application/json")
		if header != "" {
			r.Header.Set("X-Filler", header)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0 // the connection was closed before all was read
		}
		response.Body.Close()
		return response.StatusCode
	}
	const mib = 1 << 20
	began := time.Now()
	for name, row := range map[string]struct {
		got  int
		want []int
	}{
		"20 MiB, declared":  {send(io.LimitReader(endless{}, 20*mib), 20*mib, "", ""), []int{413, 0}},
		"20 MiB, in pieces": {send(io.LimitReader(endless{}, 20*mib), -1, "", ""), []int{413, 0}},
		"100,000 deep":      {send(strings.NewReader(strings.Repeat("[", 100_000)), 100_000, "", ""), []int{400}},
		"100,000 " +
			"deep, inside": {
			send(strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":`+strings.Repeat(`[`,
				100_000)), -1, "", ""), []int{400}},
		"10,000 parameters": {send(strings.NewReader(list), int64(len(list)), "?"+strings.Repeat("a&", 10_001), ""),
			[]int{400, 431}},
		"a token behind many": {send(strings.NewReader(list), int64(len(list)), "?"+strings.Repeat("a&", 20_000)+
			"access_token=x", ""), []int{400, 431}},
		"a header of 2 MiB": {send(strings.NewReader(list), int64(len(list)), "", strings.Repeat("x", 2*mib)),
			[]int{431, 0}},
	} {
		ok := false
		for _, want := range row.want {
			ok = ok || row.got == want
		}
		if !ok {
			t.Errorf("%s: got %d, want one of %v", name, row.got, row.want)
		}
	}
	if status, _ := w.post(raw, list); status != 200 || time.Since(began) > 10*time.Second {
		t.Errorf("a good request after it: got %d after %v", status, time.Since(began))
	}
}

// endless is a body without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// DS-05: initialize keeps nothing: there is no table of sessions to fill.
func TestInitializeKeepsNothing(t *testing.T) {
	w := openWing(t, func(c *mcpserver.Config) { c.CallsPerMinute = -1 })
	raw := w.token("acme", allScopes...)
	for range 2000 {
		status, body := w.post(raw,
			`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",`+
				`"capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`)
		if status != 200 || strings.Contains(body, "ession") {
			t.Fatalf("got %d %s", status, body)
		}
	}
}

// MC-27: what a client says of itself changes nothing.
func TestWhatClientsSayOfThemselves(t *testing.T) {
	w := openWing(t)
	raw := w.token("acme", "customers:read")
	ask := func(agent, meta string) string {
		r, err := http.NewRequest("POST", w.resource,
			strings.NewReader(
				`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.`+
					`modelcontextprotocol/protocolVersion":"2026-07-28",`+meta+`}}}`))
		must(t, err)
		r.Header = http.Header{
			"Authorization": {"Bearer " + raw}, "Content-Type": {"application/json"}, "Accept": {"*/*"},
			"User-Agent": {agent}, "Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/list"},
			"X-Tenant-Id": {"globex"}, "X-Forwarded-User": {"admin"}, "X-Original-Url": {"/mcp"},
		}
		response, err := http.DefaultClient.Do(r)
		must(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		must(t, err)
		return fmt.Sprint(response.StatusCode, string(text))
	}
	plain := ask("x", `"io.modelcontextprotocol/clientCapabilities":{}`)
	if !strings.HasPrefix(plain, "200") || strings.Count(plain, "inputSchema") != 1 {
		t.Fatalf("got %s, want one tool", plain)
	}
	for _, meta := range []string{
		`"io.modelcontextprotocol/clientCapabilities":{"admin":true,"scopes":["customers:write"]}`,
		`"io.modelcontextprotocol/clientCapabilities":{},"io.` +
			`modelcontextprotocol/clientInfo":{"name":"gatehouse-operator","version":"9"}`,
		`"io.modelcontextprotocol/clientCapabilities":{},"tenant_id":"globex","scopes":["customers:write"],` +
			`"authorization":"Bearer x"`,
	} {
		if got := ask("Gatehouse-Operator/1.0", meta); got != plain {
			t.Errorf("with %s: got %s, want what all get: %s", meta, got, plain)
		}
	}
}
