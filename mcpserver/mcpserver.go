// Package mcpserver owns the resource wing: an MCP server whose every request is checked, with the companion tools behind it.
package mcpserver

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/gorilla/mux"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/card"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/metrics"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/rollout"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/tools"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/usage"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/ratelimit"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

// Version is what the server tells clients of itself.
const Version = "0.1.0"

const (
	serverName        = "io.gatehouse/companion"
	serverTitle       = "Gatehouse companion tools"
	serverDescription = "Customers, support tickets and a knowledge base, each tool opened by its own scope."
	instructions      = "These tools work on the data of one organisation: the one whose member let you in. Which tools you see depends on the scopes that were granted."
)

func protocols() []string { return mcp.Versions() }

// Deps are what the wing gets from whoever runs it.
type Deps struct {
	Log        *slog.Logger
	Now        func() time.Time  // nil: time.Now
	Revoked    revocation.Reader // the list of ended grants, when the issuer lives in the same process; nil: followed in Redis, or at the issuer
	HTTPClient *http.Client      // for the issuer's metadata and keys; nil: one with strict limits
}

func (d *Deps) fill() {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
}

// Server is the resource wing.
type Server struct {
	backends *backends
	guard    *guard.Guard
	// introspects says that the issuer is asked about each token while the list of ended grants is stale.
	introspects bool
	handler     http.Handler
	modes       *rollout.Modes
	usage       *usage.Counter
	metrics     *metrics.Registry
	operator    *Operator
	keeps       time.Duration // how long audit lines are kept; negative: for ever
	now         func() time.Time
	log         *slog.Logger
}

// New opens the stores, whose schema must be there, and wires the wing. Close it after use.
func New(ctx context.Context, c Config, d Deps) (*Server, error) {
	d.fill()
	c, err := c.resolve()
	if err != nil {
		return nil, err
	}
	b, err := open(ctx, c, d)
	if err != nil {
		return nil, err
	}
	s := &Server{
		keeps: c.AuditRetention, now: d.Now, log: d.Log,
		backends: b, introspects: c.EndedWhenStale == EndedIntrospect, modes: rollout.New(b.book, d.Now, d.Log), usage: usage.NewCounter(b.book, d.Now, d.Log), metrics: metrics.New(),
	}
	if err := s.wire(c, d); err != nil {
		return nil, errors.Join(err, b.close())
	}
	if err := s.modes.Refresh(ctx); err != nil { // then all rules count
		d.Log.Error("the rollout's modes cannot be read: all rules count", "error", err)
	}
	if c.InsecureAllowAnonymous {
		d.Log.Warn("requests without a good token pass as nobody, where the mode for nobody is observe", "setting", "insecure-allow-anonymous")
	}
	return s, nil
}

func (s *Server) wire(c Config, d Deps) (err error) {
	if s.guard, err = check(c, d, s.backends); err != nil {
		return err
	}
	all := tools.All(s.backends.crm)
	catalog, err := mcp.NewCatalog(all...)
	if err != nil {
		return err
	}
	tables, err := guard.Always(rules(all))
	if err != nil {
		return err
	}
	s.operator = &Operator{book: s.backends.book, modes: s.modes, usage: s.usage, guard: s.guard, tables: tables, tools: names(all), anonymous: c.InsecureAllowAnonymous, now: d.Now}
	s.metrics.Gauges = func() []metrics.Gauge { return s.gauges(c) }
	endpoint, err := s.guard.Serve(&mcp.Endpoint{
		Catalog: catalog, Deny: s.guard.Challenge,
		Info: mcp.Info{Name: serverName, Version: Version, Title: serverTitle, Instructions: instructions},
	}, guard.Policy{Tables: tables, Rollout: s.modes, AllowAnonymous: c.InsecureAllowAnonymous, Admit: admit(c, d), Record: s.record})
	if err != nil {
		return err
	}
	cards, err := card.Routes(facts(c))
	if err != nil {
		return err
	}
	s.handler, err = s.routes(c, d, endpoint, cards)
	return err
}

// check is the guard of this server.
func check(c Config, d Deps, b *backends) (*guard.Guard, error) {
	var whenUnknown *guard.Introspection
	if c.EndedWhenStale == EndedIntrospect {
		whenUnknown = &guard.Introspection{URL: c.Issuer + "/oauth2/introspect", ClientID: c.ClientID, ClientSecret: c.ClientSecret}
	}
	return guard.New(guard.Config{
		WhenUnknown: whenUnknown,
		Issuer:      c.Issuer, Resource: c.Resource, Algorithms: c.Algorithms, Baseline: baseline(), Revoked: b.revoked, HTTPClient: d.HTTPClient,
		Now: d.Now, Log: d.Log, AllowedHosts: c.AllowedHosts, AllowedOrigins: c.AllowedOrigins, CacheLife: c.TokenCacheLife,
		RequireDPoP: c.RequireDPoP, DPoPNonceKey: c.DPoPNonceKey, UsedProofs: b.proofs,
	})
}

// record counts a decision, for the hours and for who collects numbers.
func (s *Server) record(r guard.Record) {
	s.usage.Record(&r)
	s.metrics.Record(&r)
}

// gauges are what who collects numbers should know of the rest.
func (s *Server) gauges(c Config) []metrics.Gauge {
	lost, lenient, anonymous := s.usage.Overflow(), 0, 0
	for _, m := range s.modes.All() {
		if m.Mode != guard.Enforce {
			lenient++
		}
	}
	if c.InsecureAllowAnonymous {
		anonymous = 1
	}
	return []metrics.Gauge{
		{Name: "gatehouse_insecure_allow_anonymous", Help: "1 when requests without a good token may pass, as nobody.", Value: float64(anonymous)},
		{Name: "gatehouse_rollout_lenient_modes", Help: "Modes of tenants and tools that are not enforce.", Value: float64(lenient)},
		{Name: "gatehouse_rollout_age_seconds", Help: "How long ago the modes were read; above 10 all rules count.", Value: s.modes.Age().Seconds()},
		{Name: "gatehouse_usage_pending", Help: "Sums that wait to be written.", Value: float64(lost.Pending)},
		{Name: "gatehouse_usage_other_total", Help: "Requests that are counted in usage without their caller and tool.", Value: float64(lost.Requests)},
		{Name: "gatehouse_usage_failures_total", Help: "Times that usage could not be written.", Value: float64(lost.Failed)},
	}
}

func names(all []mcp.Tool) []string {
	var names []string
	for _, t := range all {
		names = append(names, t.Name)
	}
	return names
}

// rules are the companion tools' own: each is opened by its scope, and listed to those who have it.
func rules(all []mcp.Tool) guard.Rules {
	var r guard.Rules
	for _, t := range all {
		r.Tools = append(r.Tools, guard.Rule{Name: t.Name, Scopes: []string{t.Scope}, Write: !t.ReadOnly})
	}
	return r
}

// routes is the site map.
func (s *Server) routes(c Config, d Deps, endpoint http.Handler, cards map[string]http.Handler) (http.Handler, error) {
	u, err := url.Parse(c.Resource)
	if err != nil {
		return nil, err
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	r := mux.NewRouter().UseEncodedPath().SkipClean(true) // a path is one of ours or is not; nothing redirects (MC-25)
	r.HandleFunc("/healthz", s.healthz).Methods("GET", "HEAD")
	r.HandleFunc("/readyz", s.readyz).Methods("GET", "HEAD")
	documents := bounded(c, d)
	for at, document := range cards {
		r.Handle(at, documents(document))
	}
	r.Handle(path, s.guard.CORS(endpoint))
	return httpd.Handler(r, httpd.Options{Log: d.Log, TrustedProxies: c.TrustedProxies}), nil
}

// mostCounted bounds the grants that are counted at once; beyond it a memory of the limiter's own serves, and then nobody more (RS-41).
const mostCounted = 100_000

// admit bounds how often one grant may ask, or one address when it shows no good token.
func admit(c Config, d Deps) func(http.ResponseWriter, *http.Request, mcp.Caller) bool {
	if c.CallsPerMinute < 0 {
		return nil
	}
	limit := &ratelimit.Limiter{
		Store: ttl.NewMemory(ttl.Options{Now: d.Now, MaxEntries: mostCounted}), Name: "calls", Limit: c.CallsPerMinute, Window: time.Minute,
	}
	return func(w http.ResponseWriter, r *http.Request, caller mcp.Caller) bool {
		whose := caller.GrantID
		if whose == "" {
			whose = "from " + httpd.Source(r.Context())
		}
		ok, wait := limit.Allow(r.Context(), whose)
		if !ok {
			guard.TooMany(w, r, wait)
		}
		return ok
	}
}

// bounded bounds how often one address may ask for a document (SC-06). They are made once and cost nothing; what is bounded is the line.
func bounded(c Config, d Deps) func(http.Handler) http.Handler {
	limit := &ratelimit.Limiter{
		Store: ttl.NewMemory(ttl.Options{Now: d.Now, MaxEntries: mostCounted}), Name: "documents", Limit: c.DocumentsPerMinute, Window: time.Minute,
	}
	return func(next http.Handler) http.Handler {
		if c.DocumentsPerMinute < 0 {
			return next
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if ok, wait := limit.Allow(r.Context(), httpd.Source(r.Context())); !ok {
				w.Header().Set("Access-Control-Allow-Origin", "*")
				guard.TooMany(w, r, wait)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func baseline() []string {
	var names []string
	for _, s := range Scopes() {
		if s.Baseline {
			names = append(names, s.Name)
		}
	}
	return names
}

// Handler is the wing's door.
func (s *Server) Handler() http.Handler { return s.handler }

// Metrics answers GET /metrics. It asks nobody who they are, and tells tenants' names: give it a listener of its own (AD-09).
func (s *Server) Metrics() http.Handler { return s.metrics }

// Operator is the operator's door of this server.
func (s *Server) Operator() *Operator { return s.operator }

// Run does the background work until ctx ends: the issuer's keys and the rollout's modes are read anew from time to time, its list of ended grants is followed, usage is written, audit
// lines get their place in the chain.
func (s *Server) Run(ctx context.Context) {
	var work sync.WaitGroup
	seal := func(ctx context.Context) { s.backends.book.Audit().Run(ctx, s.log) }
	for _, do := range []func(context.Context){s.guard.Run, s.backends.run, s.modes.Run, s.usage.Run, seal, s.prune} {
		work.Go(func() { do(ctx) })
	}
	work.Wait()
}

// pruneEvery is how often it is looked for audit lines that are kept no longer.
const pruneEvery = time.Hour

// prune deletes audit lines that are kept no longer, until ctx ends.
func (s *Server) prune(ctx context.Context) {
	if s.keeps < 0 {
		return
	}
	turn := time.NewTicker(pruneEvery)
	defer turn.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-turn.C:
		}
		if _, err := s.backends.book.Audit().Prune(ctx, s.now().Add(-s.keeps)); err != nil && ctx.Err() == nil {
			s.log.Error("background step did not succeed", "step", "delete old audit lines", "error", err)
		}
	}
}

// Ended tells the wing of an end of a grant that an issuer in the same process has just written, ahead of the list that both share.
func (s *Server) Ended(grantID string, until time.Time) {
	if s.backends.replica != nil {
		s.backends.replica.Hear(grantID, until)
	}
}

// SeedDemo puts the demo's data there; what is there already stays.
func (s *Server) SeedDemo(ctx context.Context) error { return s.backends.crm.SeedDemo(ctx) }

// lastFlush bounds the writing of what was counted after Run ended, or without it.
const lastFlush = 5 * time.Second

// Close writes what was counted, and closes the stores.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), lastFlush)
	defer cancel()
	return errors.Join(s.usage.Flush(ctx), s.backends.close())
}

// healthz says that the process serves.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	httpd.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz says whether a request with a good token would be answered: the keys are known, the list of ended grants is, the data answer.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	_, listErr := s.backends.revoked.Ended(ctx, "readyz")
	if s.introspects {
		listErr = nil // the issuer is asked instead
	}
	if err := errors.Join(s.guard.Ready(ctx), listErr, s.backends.crm.Ping(ctx)); err != nil {
		httpd.Note(r.Context(), "error", err.Error())
		httpd.WriteJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready"})
		return
	}
	httpd.WriteJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}
