//go:build unix

package gateway_test

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/gateway"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo/demotest"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// BenchmarkGateway is a call of a tool at concurrency 16, to a server by itself and through the
// gateway, in one run: what the gateway adds at the median and at the 99th percentile is reported
// in microseconds, with a signed assertion and with a credential, and what it adds of the
// processor's time, which another program's load changes less. bare is the least that can stand
// there in Go: a handler that sends the request on by an http.Transport and looks at nothing. Where
// 16 clients ask without a rest, each waits for the work that is done for the others, and bare
// alone adds three times as much; who rests waits for what is done for its own request. Clients,
// gateway and server share this process and its garbage, which is collected as the program has it.
func BenchmarkGateway(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(gateway.GCPercent))
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"hello"}]}}`)
	}))
	b.Cleanup(upstream.Close)
	g := openGate(b, crm(upstream.URL, "    limits: {in_flight: 1000, per_tenant: 1000}\n"), "calls_per_minute: -1\n")
	b.Setenv("GATEWAY_BENCH_KEY", "secret")
	plain := openGate(b,
		crm(upstream.URL, "    limits: {in_flight: 1000, per_tenant: 1000}\n    credential: {header: X-Key, secret: "+
			"{env: GATEWAY_BENCH_KEY}}\n"), "calls_per_minute: -1\n")
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	bare := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out, err := http.NewRequestWithContext(r.Context(), r.Method, upstream.URL, r.Body)
		if err != nil {
			b.Error(err)
			return
		}
		out.Header, out.ContentLength = r.Header, r.ContentLength
		response, err := transport.RoundTrip(out)
		if err != nil {
			b.Error(err)
			return
		}
		defer response.Body.Close()
		w.Header().Set("Content-Type", response.Header.Get("Content-Type"))
		io.Copy(w, response.Body)
	}))
	b.Cleanup(transport.CloseIdleConnections)
	b.Cleanup(bare.Close)
	rows := []struct {
		name, url, raw string
	}{
		{"upstream", upstream.URL, ""}, {"bare", bare.URL, ""},
		{"gateway", g.url + "/crm", g.token("crm", "acme", "read")},
		{"credential", plain.url + "/crm", plain.token("crm", "acme", "read")},
	}
	for _, load := range []struct {
		name string
		rest time.Duration // of a client between two requests, at most
	}{{"16-clients-who-rest", 20 * time.Millisecond}, {"16-clients", 0}} {
		b.Run(load.name, func(b *testing.B) {
			times, spent, sent := make([][]time.Duration, len(rows)), make([]time.Duration, len(rows)), 0
			for b.Loop() { // one after the other, so that what else the machine does falls on all
				for i, row := range rows {
					before := processor(b)
					times[i] = append(times[i], volley(b, row.url, row.raw, 16, 800, load.rest)...)
					spent[i] += processor(b) - before
				}
				sent += 800
			}
			at := func(i int, share float64) float64 {
				slices.Sort(times[i])
				return float64(times[i][int(share*float64(len(times[i])-1))]) / float64(time.Microsecond)
			}
			for i, row := range rows {
				if i > 0 {
					b.ReportMetric(float64(spent[i]-spent[0])/float64(sent)/float64(time.Microsecond),
						row.name+"-adds-cpu-µs")
				}
				for name, share := range map[string]float64{"p50": .5, "p99": .99} {
					b.ReportMetric(at(i, share), row.name+"-"+name+"-µs")
					if i > 0 {
						b.ReportMetric(at(i, share)-at(0, share), row.name+"-adds-"+name+"-µs")
					}
				}
			}
		})
	}
}

// processor is the processor's time that this process has had: client, gateway and server.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// volley sends so many requests with so many clients, and returns how long each took.
func volley(b *testing.B, url, raw string, clients, requests int, rest time.Duration) []time.Duration {
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	took := make([][]time.Duration, clients)
	var asking sync.WaitGroup
	for c := range clients {
		asking.Go(func() {
			for range requests / clients {
				r, err := http.NewRequest("POST", url, strings.NewReader(call("read_it")))
				if err != nil {
					b.Error(err)
					return
				}
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Accept", "application/json, text/event-stream")
				if raw != "" {
					r.Header.Set("Authorization", "Bearer "+raw)
				}
				began := time.Now()
				response, err := transport.RoundTrip(r)
				if err != nil {
					b.Error(err)
					return
				}
				io.Copy(io.Discard, response.Body)
				response.Body.Close()
				took[c] = append(took[c], time.Since(began))
				if response.StatusCode != 200 {
					b.Errorf("status %d", response.StatusCode)
					return
				}
				if rest > 0 {
					<-time.After(rand.N(rest)) // each for another time, so that they do not come all at once
				}
			}
		})
	}
	asking.Wait()
	var all []time.Duration
	for _, t := range took {
		all = append(all, t[1:]...) // the first opens its connection
	}
	return all
}

// BenchmarkCallRecords is that of the companion server through the gateway: calls of a tool that
// reads with a record of each, of one tenant, and without, of another, in turn.
func BenchmarkCallRecords(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(gateway.GCPercent))
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"hello"}]}}`)
	}))
	b.Cleanup(upstream.Close)
	for dialect, database := range map[string]func(testing.TB) string{"sqlite": sqlite,
		"postgres": func(t testing.TB) string {
			database := testenv.Postgres(t)
			demotest.Migrate(t, database)
			return database
		}} {
		b.Run(dialect, func(b *testing.B) {
			g := openGateOn(b, database(b), crm(upstream.URL, "    limits: {in_flight: 1000, per_tenant: 1000}\n"),
				"calls_per_minute: -1\n")
			must(b, g.gateway.Operator().KeepCalls(b.Context(),
				operator.CallSetting{Tenant: "globex", Keep: operator.KeepRefusalsAndWrites}))
			raws := []string{g.token("crm", "acme", "read"), g.token("crm", "globex", "read")}
			var took, worked [2]time.Duration
			for b.Loop() {
				for i, raw := range raws {
					began, before := time.Now(), processor(b)
					volley(b, g.url+"/crm", raw, 16, 8000, 0)
					for g.gateway.Operator().CallsWaiting() > 0 {
						time.Sleep(time.Millisecond)
					}
					took[i] += time.Since(began)
					worked[i] += processor(b) - before
				}
			}
			b.ReportMetric(float64(took[1])/float64(took[0]), "of-unrecorded")
			b.ReportMetric(float64(worked[1])/float64(worked[0]), "of-unrecorded-cpu")
		})
	}
}
