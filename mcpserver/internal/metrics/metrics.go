// Package metrics owns the numbers that a monitoring system collects of the resource wing, in the
// Prometheus text form.
//
// It is our own writer of that form, because the form is a page and the library is a tree of
// modules. Labels are bounded: by the tools that rules name, and by the first tenants that come;
// the rest is counted under guard.Other.
package metrics

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
)

// maxTenants is how many tenants have series of their own.
const maxTenants = 100

// maxSeries bounds all series of decisions: a table of rules may be long.
const maxSeries = 5_000

// decision is what decisions are counted by.
type decision struct{ tenant, method, tool, outcome string }

// Registry counts decisions. It is safe for concurrent use.
type Registry struct {
	// Gauges are read when somebody collects: name, help, and value. A name that ends with _total
	// is a counter.
	Gauges func() []Gauge

	mu        sync.Mutex
	tenants   map[string]bool
	decisions map[decision]int64
	refusals  map[string]int64 // by reason
	anonymous int64
	times     map[string]*histogram // by method
}

// Gauge is a number of somebody else's.
type Gauge struct {
	Name, Help string
	Value      float64
}

// New makes a registry.
func New() *Registry {
	return &Registry{tenants: map[string]bool{}, decisions: map[decision]int64{}, refusals: map[string]int64{},
		times: map[string]*histogram{}}
}

// bounds are the upper bounds of durations, in seconds.
func bounds() [9]float64 { return [...]float64{0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1, 5, 20} }

type histogram struct {
	counts [9]int64 // each of its own bound alone; they are added up when written
	all    int64
	sum    float64
}

func (h *histogram) add(seconds float64) {
	h.all++
	h.sum += seconds
	for i, bound := range bounds() {
		if seconds <= bound {
			h.counts[i]++
			return
		}
	}
}

// Record counts a decision by a rule for tool.
func (m *Registry) Record(r *guard.Record, tool string) {
	d := decision{tenant: r.Caller.TenantID, method: r.MethodLabel(), tool: tool, outcome: r.Outcome()}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.tenants[d.tenant] {
		if len(m.tenants) < maxTenants {
			m.tenants[d.tenant] = true
		} else {
			d.tenant = guard.Other
		}
	}
	if _, known := m.decisions[d]; !known && len(m.decisions) >= maxSeries {
		d = decision{tenant: guard.Other, method: guard.Other, tool: guard.Other, outcome: d.outcome}
	}
	m.decisions[d]++
	if r.Refused != "" {
		m.refusals[r.Refused]++
	}
	if r.Passed && r.Caller.ClientID == "" {
		m.anonymous++
	}
	h := m.times[d.method]
	if h == nil {
		h = &histogram{}
		m.times[d.method] = h
	}
	h.add(r.Duration.Seconds())
}

// ServeHTTP answers what was counted (Prometheus text format 0.0.4).
func (m *Registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.URL.Path != "/metrics" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	b := bufio.NewWriter(w)
	m.write(b)
	b.Flush()
}

func (m *Registry) write(w io.Writer) {
	if m.Gauges != nil {
		for _, g := range m.Gauges() {
			kind := "gauge"
			if strings.HasSuffix(g.Name, "_total") {
				kind = "counter"
			}
			head(w, g.Name, kind, g.Help)
			fmt.Fprintf(w, "%s %s\n", g.Name, number(g.Value))
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	head(w, "gatehouse_decisions_total", "counter", "Requests to the MCP server, by what became of them.")
	lines := make([]string, 0, len(m.decisions))
	for d, n := range m.decisions {
		lines = append(lines,
			fmt.Sprintf("gatehouse_decisions_total%s %d\n", labels("tenant", d.tenant, "method", d.method, "tool",
				d.tool, "outcome", d.outcome), n))
	}
	slices.Sort(lines)
	io.WriteString(w, strings.Join(lines, ""))
	head(w, "gatehouse_refusals_total", "counter", "Requests that were refused, or would have been, by the reason.")
	for _, reason := range slices.Sorted(maps.Keys(m.refusals)) {
		fmt.Fprintf(w, "gatehouse_refusals_total%s %d\n", labels("reason", reason), m.refusals[reason])
	}
	head(w, "gatehouse_anonymous_total", "counter", "Requests without a good token that passed, as nobody.")
	fmt.Fprintf(w, "gatehouse_anonymous_total %d\n", m.anonymous)
	head(w, "gatehouse_request_seconds", "histogram", "How long requests to the MCP server took.")
	for _, method := range slices.Sorted(maps.Keys(m.times)) {
		m.times[method].write(w, method)
	}
}

func (h *histogram) write(w io.Writer, method string) {
	below := int64(0)
	for i, bound := range bounds() {
		below += h.counts[i]
		fmt.Fprintf(w, "gatehouse_request_seconds_bucket%s %d\n", labels("method", method, "le", number(bound)), below)
	}
	fmt.Fprintf(w, "gatehouse_request_seconds_bucket%s %d\n", labels("method", method, "le", "+Inf"), h.all)
	fmt.Fprintf(w, "gatehouse_request_seconds_sum%s %s\n", labels("method", method), number(h.sum))
	fmt.Fprintf(w, "gatehouse_request_seconds_count%s %d\n", labels("method", method), h.all)
}

func head(w io.Writer, name, kind, help string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// labels writes names and values in turn. A value is whatever it is: what would end it is escaped.
func labels(pairs ...string) string {
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
	var parts []string
	for i := 0; i < len(pairs); i += 2 {
		parts = append(parts, pairs[i]+`="`+escape.Replace(strings.ToValidUTF8(pairs[i+1], "?"))+`"`)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
