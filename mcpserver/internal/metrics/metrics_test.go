package metrics_test

import (
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/metrics"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

func called(tenant, tool, rule string) *guard.Record {
	return &guard.Record{
		Caller: mcp.Caller{TenantID: tenant, ClientID: "cli_1"}, Method: "tools/call", Passed: true, Status: 200,
		Duration: 2 * time.Millisecond,
		Decision: guard.Decision{Kind: guard.KindTool, Name: tool, Rule: rule},
	}
}

func collect(m *metrics.Registry) string {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// sample is a line of the text form that is no comment.
var sample = regexp.MustCompile(`^[a-z_]+(\{([a-z]+="([^"\\\n]|\\["\\n])*",?)+\})? [-+0-9.e]+$`)

func TestTextForm(t *testing.T) {
	m := metrics.New(func() []metrics.Gauge {
		return []metrics.Gauge{{"gatehouse_age_seconds", "Age.", 0.5}, {"gatehouse_lost_total", "Lost.", 3}}
	})
	count(m, called("acme", "read_customer", "read_customer"))
	count(m, called("acme", "read_customer", "read_customer"))
	count(m, called("ev\"il\\\n", "a", "a"))
	count(m, called("acme", "guessed", ""))
	count(m, &guard.Record{Method: "POST", Refused: guard.RefusedNoToken, Status: 401})
	count(m, &guard.Record{Method: "tools/list", Refused: guard.RefusedNoToken, Passed: true, Status: 200})
	text := collect(m)
	for _, want := range []string{
		"# TYPE go_goroutines gauge\n", "# TYPE process_cpu_seconds_total counter\n",
		"# TYPE gatehouse_age_seconds gauge\ngatehouse_age_seconds 0.5\n",
		"# TYPE gatehouse_lost_total counter\ngatehouse_lost_total 3\n",
		`gatehouse_decisions_total{method="tools/call",outcome="ok",tenant="acme",tool="read_customer"} 2` + "\n",
		`gatehouse_decisions_total{method="tools/call",outcome="ok",tenant="ev\"il\\\n",tool="a"} 1` + "\n",
		`gatehouse_decisions_total{method="tools/call",outcome="ok",tenant="acme",tool="(other)"} 1` + "\n",
		`gatehouse_decisions_total{method="POST",outcome="refused",tenant="",tool=""} 1` + "\n",
		`gatehouse_refusals_total{reason="no_token"} 2` + "\n", "gatehouse_anonymous_total 1\n",
		`gatehouse_request_seconds_bucket{method="tools/call",le="0.001"} 0` + "\n",
		`gatehouse_request_seconds_bucket{method="tools/call",le="0.0025"} 4` + "\n",
		`gatehouse_request_seconds_bucket{method="tools/call",le="+Inf"} 4` + "\n",
		`gatehouse_request_seconds_count{method="tools/call"} 4` + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSuffix(line, "\n"); !strings.HasPrefix(line, "# ") && !sample.MatchString(line) {
			t.Errorf("no line of the text form: %q", line)
		}
	}
}

// However many tenants and names come, and in parallel, the series stay few and no decision is
// lost.
func TestSeriesAreBounded(t *testing.T) {
	m := metrics.New(nil)
	var requests sync.WaitGroup
	for i := range 4 {
		requests.Go(func() {
			for j := range 500 {
				count(m, called(fmt.Sprint("tenant-", j), fmt.Sprint("guess-", i, j), ""))
			}
		})
	}
	requests.Wait()
	text := collect(m)
	if n := strings.Count(text, "\ngatehouse_decisions_total{"); n != 101 {
		t.Errorf("got %d series, want 101", n)
	}
	if want := fmt.Sprintf(`method="tools/call",outcome="ok",tenant="%s",tool="(other)"} 1600`,
		guard.Other); !strings.Contains(text, want) {
		t.Errorf("%s is not in\n%s", want, text)
	}
	w := httptest.NewRecorder()
	if m.ServeHTTP(w, httptest.NewRequest("GET", "/debug/pprof/", nil)); w.Code != 404 { // AD-09
		t.Errorf("another path: got %d", w.Code)
	}
}

func BenchmarkRecord(b *testing.B) {
	m := metrics.New(nil)
	r := called("acme", "read_customer", "read_customer")
	b.ReportAllocs()
	for b.Loop() {
		count(m, r)
	}
}

// count counts a decision under the rule's own name, as where there is one server.
func count(m *metrics.Registry, r *guard.Record) { m.Record(r, r.RuleLabel()) }
