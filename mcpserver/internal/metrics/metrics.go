// Package metrics counts the decisions of the MCP server and publishes them for Prometheus.
//
// The number of time series is limited: tools are named by the rules of the operator, and only the
// first tenants have series of their own. Everything else is counted under guard.Other.
package metrics

import (
	"net/http"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
)

const (
	maxTenants = 100   // tenants with series of their own
	maxSeries  = 5_000 // series of gatehouse_decisions_total: a table of rules may be long
)

// decision is what decisions are counted by.
type decision struct{ tenant, method, tool, outcome string }

// Registry counts decisions and serves /metrics. It is safe for concurrent use.
type Registry struct {
	decisions *prometheus.CounterVec
	refusals  *prometheus.CounterVec
	anonymous prometheus.Counter
	duration  *prometheus.HistogramVec
	handler   http.Handler

	mu      sync.Mutex
	tenants map[string]bool
	series  map[decision]bool
}

// Gauge is a number that another part of the server keeps. A name that ends with _total is a
// counter.
type Gauge struct {
	Name, Help string
	Value      float64
}

// New returns a registry of its own, with the metrics of the Go runtime and the process. gauges is
// called when the metrics are collected; it may be nil.
func New(gauges func() []Gauge) *Registry {
	m := &Registry{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gatehouse_decisions_total",
			Help: "Requests to the MCP server, by outcome."}, []string{"tenant", "method", "tool", "outcome"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gatehouse_refusals_total",
			Help: "Requests that were refused, or would have been, by reason."}, []string{"reason"}),
		anonymous: prometheus.NewCounter(prometheus.CounterOpts{Name: "gatehouse_anonymous_total",
			Help: "Requests without a valid token that were allowed as anonymous."}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "gatehouse_request_seconds",
			Help: "Duration of requests to the MCP server.", Buckets: []float64{0.001, 0.0025, 0.01, 0.025, 0.1,
				0.25, 1, 5,
				20}}, []string{"method"}),
		tenants: map[string]bool{}, series: map[decision]bool{},
	}
	r := prometheus.NewRegistry()
	r.MustRegister(m.decisions, m.refusals, m.anonymous, m.duration, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if gauges != nil {
		r.MustRegister(collector(gauges))
	}
	m.handler = promhttp.HandlerFor(r, promhttp.HandlerOpts{})
	return m
}

// Record counts a decision. tool is the label of its tool.
func (m *Registry) Record(r *guard.Record, tool string) {
	d := m.bounded(decision{tenant: strings.ToValidUTF8(r.Caller.TenantID, "?"), method: r.MethodLabel(),
		tool: strings.ToValidUTF8(tool, "?"), outcome: r.Outcome()})
	m.decisions.WithLabelValues(d.tenant, d.method, d.tool, d.outcome).Inc()
	m.duration.WithLabelValues(d.method).Observe(r.Duration.Seconds())
	if r.Refused != "" {
		m.refusals.WithLabelValues(r.Refused).Inc()
	}
	if r.Passed && r.Caller.ClientID == "" {
		m.anonymous.Inc()
	}
}

// bounded replaces labels by guard.Other when there are too many series.
func (m *Registry) bounded(d decision) decision {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.tenants[d.tenant] {
		if len(m.tenants) < maxTenants {
			m.tenants[d.tenant] = true
		} else {
			d.tenant = guard.Other
		}
	}
	if !m.series[d] && len(m.series) >= maxSeries {
		d = decision{tenant: guard.Other, method: guard.Other, tool: guard.Other, outcome: d.outcome}
	}
	m.series[d] = true
	return d
}

// ServeHTTP answers GET /metrics.
func (m *Registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.URL.Path != "/metrics" {
		http.NotFound(w, r)
		return
	}
	m.handler.ServeHTTP(w, r)
}

// collector implements prometheus.Collector for gauges.
type collector func() []Gauge

// Describe implements prometheus.Collector. It describes nothing, since the gauges are not known
// before they are collected.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	for _, g := range c() {
		kind := prometheus.GaugeValue
		if strings.HasSuffix(g.Name, "_total") {
			kind = prometheus.CounterValue
		}
		to <- prometheus.MustNewConstMetric(prometheus.NewDesc(g.Name, g.Help, nil, nil), kind, g.Value)
	}
}
