package mcpserver_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver"
)

// BenchmarkTools measures tools/list and tools/call over real HTTP, through the whole server to the
// SQLite database, beside a bare net/http handler that reads the message and answers as many bytes.
// Both are asked in turn in the same loop. of-floor is the ratio of their speeds: 1 is as fast.
func BenchmarkTools(b *testing.B) {
	for name, body := range map[string]string{
		"list": `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`,
		"call": `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_customer",` +
			`"arguments":{"customer_id":"cus_acme_1001"}}}`,
	} {
		b.Run(name, func(b *testing.B) {
			w := openWing(b, func(c *mcpserver.Config) { c.CallsPerMinute = 1 << 40 })
			raw := w.token("acme", allScopes...)
			_, answer := w.post(raw, body)
			floor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, answer)
			}))
			defer floor.Close()
			alternate(b, asker(b, w.resource, raw, body), asker(b, floor.URL, raw, body))
		})
	}
}

// asker sends one message again and again over one connection.
func asker(b *testing.B, address, raw, body string) func() {
	return manyAsker(b, 1, address, raw, body)
}

// manyAsker is asker for so many at once.
func manyAsker(b *testing.B, clients int, address, raw, body string) func() {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true}}
	b.Cleanup(client.CloseIdleConnections)
	return func() {
		r, err := http.NewRequest(http.MethodPost, address, strings.NewReader(body))
		must(b, err)
		r.Header.Set("Authorization", "Bearer "+raw)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		response, err := client.Do(r)
		must(b, err)
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			b.Errorf("got %d, want 200", response.StatusCode)
		}
	}
}

// alternate runs both in turn and reports each one's time and the ratio of their speeds.
func alternate(b *testing.B, ours, floor func()) {
	for range 50 { // warm: connections, caches, plans
		ours()
		floor()
	}
	var spent [2]time.Duration
	n := 0
	for b.Loop() {
		n++
		for i, f := range []func(){ours, floor} {
			start := time.Now()
			f()
			spent[i] += time.Since(start)
		}
	}
	b.ReportMetric(float64(spent[0].Microseconds())/float64(n), "ours-µs")
	b.ReportMetric(float64(spent[1].Microseconds())/float64(n), "floor-µs")
	b.ReportMetric(float64(spent[1])/float64(spent[0]), "of-floor")
}
