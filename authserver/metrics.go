package authserver

import (
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/oauthapi"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// metrics are the Prometheus metrics of the server, in a registry of their own. The values of
// labels are names of this program: no request adds one.
type metrics struct {
	registry                              *prometheus.Registry
	tokenRequests, signIns, registrations *prometheus.CounterVec
	storeSeconds                          *prometheus.HistogramVec
}

func newMetrics(ring *keyring.Ring) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		tokenRequests: counter("gatehouse_token_requests_total",
			"Token requests by grant type and result: ok, or the error code of the response.", "grant_type", "result"),
		signIns: counter("gatehouse_sign_ins_total",
			"Attempts to sign in with a password: ok, denied, limited or error.", "result"),
		registrations: counter("gatehouse_registrations_total",
			"Requests to register a client: ok, denied, limited or error.", "result"),
		storeSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gatehouse_store_seconds", Help: "Duration of reads and writes of the database.",
			Buckets: []float64{0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5},
		}, []string{"operation"}),
	}
	m.registry.MustRegister(m.tokenRequests, m.signIns, m.registrations, m.storeSeconds, signingKeys{ring},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// count counts the requests that have a metric, by their responses.
func (m *metrics) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		if r.Method != http.MethodPost {
			return
		}
		switch r.URL.Path {
		case oauthapi.TokenPath:
			grantType, result := httpd.Noted(r.Context(), "grant_type"), httpd.Noted(r.Context(), "refused")
			if grantType == "" {
				grantType = "unknown"
			}
			switch {
			case httpd.Status(r.Context()) == http.StatusOK:
				result = "ok"
			case result == "":
				result = "server_error"
			}
			m.tokenRequests.WithLabelValues(grantType, result).Inc()
		case oauthapi.RegisterPath:
			m.registrations.WithLabelValues(result(httpd.Status(r.Context()))).Inc()
		case "/signin":
			m.signIns.WithLabelValues(result(httpd.Status(r.Context()))).Inc()
		}
	})
}

// result names the status of a response.
func result(status int) string {
	switch {
	case status < http.StatusBadRequest:
		return "ok"
	case status == http.StatusTooManyRequests:
		return "limited"
	case status < http.StatusInternalServerError:
		return "denied"
	}
	return "error"
}

// signingKeys collects the number of signing keys by algorithm and state.
type signingKeys struct{ ring *keyring.Ring }

// signingKeysDesc describes that metric.
func signingKeysDesc() *prometheus.Desc {
	return prometheus.NewDesc("gatehouse_signing_keys", "Signing keys by algorithm and state.",
		[]string{"algorithm", "state"}, nil)
}

// Describe implements prometheus.Collector.
func (k signingKeys) Describe(descs chan<- *prometheus.Desc) { descs <- signingKeysDesc() }

// Collect implements prometheus.Collector.
func (k signingKeys) Collect(metrics chan<- prometheus.Metric) {
	type kind struct{ algorithm, state string }
	counts := map[kind]int{}
	for _, key := range k.ring.Keys() {
		for _, state := range keyring.States() {
			counts[kind{key.Algorithm, state}] += 0
		}
		counts[kind{key.Algorithm, key.State}]++
	}
	for of, n := range counts {
		metrics <- prometheus.MustNewConstMetric(signingKeysDesc(), prometheus.GaugeValue, float64(n), of.algorithm,
			of.state)
	}
}

// Metrics serves GET /metrics. It authenticates no one and tells how busy the server is: give it a
// listener of its own.
func (s *Server) Metrics() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(s.deps.Log.Handler(), slog.LevelError),
	}))
	return mux
}
