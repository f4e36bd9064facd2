// Package mcpserver owns the resource wing: an MCP server whose every request is checked, with the
// companion tools behind it.
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
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/calls"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/card"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/limit"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/tools"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

// Version is what the server tells clients of itself.
const Version = "0.1.0"

const (
	serverName        = "io.gatehouse/companion"
	serverTitle       = "Gatehouse companion tools"
	serverDescription = "Customers, support tickets and a knowledge base, each tool opened by its own scope."
	instructions      = "These tools work on the data of one organisation: the one whose member let you in. Which " +
		"tools you see depends on the scopes that were granted."
)

func protocols() []string { return mcp.Versions() }

// Deps are what the wing gets from whoever runs it.
type Deps struct {
	Log *slog.Logger
	Now func() time.Time // nil: time.Now
	// the list of ended grants, when the issuer lives in the same process; nil: followed in Redis,
	// or at the issuer
	Revoked    revocation.Reader
	HTTPClient *http.Client // for the issuer's metadata and keys; nil: one with strict limits
	// PublishedKeys returns the issuer's key set when the issuer lives in the same process; nil: it
	// is fetched.
	PublishedKeys func() []byte

	reads bool // nothing is served: a command reads and sets
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
	// introspects says that the issuer is asked about each token while the list of ended grants is
	// stale.
	introspects bool
	handler     http.Handler
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
	s := &Server{backends: b, introspects: c.RevocationWhenStale == WhenStaleIntrospect}
	if err := s.wire(c, d); err != nil {
		return nil, errors.Join(err, b.close())
	}
	config.Warn(d.Log, c.Relaxations())
	return s, nil
}

func (s *Server) wire(c Config, d Deps) (err error) {
	if s.guard, err = check(c, d, s.backends); err != nil {
		return err
	}
	catalog, err := mcp.NewCatalog(tools.All(s.backends.crm)...)
	if err != nil {
		return err
	}
	tables, err := s.backends.supervise(s.guard)
	if err != nil {
		return err
	}
	if c.ArgumentsKey == "" {
		if c.ArgumentsKey, err = calls.KeyOf(c.Database, d.Log); err != nil {
			return err
		}
	}
	allow := limit.Requests(c.CallsPerMinute, d.Now)
	admit := func(w http.ResponseWriter, r *http.Request, c mcp.Caller) bool { return allow(w, r, c.GrantID) }
	endpoint, err := s.guard.Serve(&mcp.Endpoint{
		Catalog: catalog, Deny: s.guard.Challenge,
		Info: mcp.Info{Name: serverName, Version: Version, Title: serverTitle, Instructions: instructions},
	}, guard.Policy{Tables: tables, Rollout: s.backends.desk.Rollout(""), AllowAnonymous: c.InsecureAllowAnonymous,
		Admit: admit, Record: s.backends.desk.Record(""), Begin: s.backends.desk.Begin(""),
		ArgumentsKey: c.ArgumentsKey})
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
	if c.RevocationWhenStale == WhenStaleIntrospect {
		whenUnknown = &guard.Introspection{URL: c.Issuer + "/oauth2/introspect", ClientID: c.ClientID,
			ClientSecret: c.ClientSecret}
	}
	return guard.New(guard.Config{
		WhenUnknown: whenUnknown,
		Issuer:      c.Issuer, Resource: c.Resource, Algorithms: c.Algorithms, Baseline: baseline(), Revoked: b.revoked,
		HTTPClient: d.HTTPClient, PublishedKeys: d.PublishedKeys,
		Now: d.Now, Log: d.Log, AllowedHosts: c.AllowedHosts, AllowedOrigins: c.AllowedOrigins,
		CacheSize:   c.TokenCacheSize,
		RequireDPoP: c.RequireDPoP, DPoPNonceKey: c.DPoPNonceKey, DPoPNonceRequired: c.DPoPNonce == dpop.NonceRequired,
		DPoPWindow: c.DPoPWindow, UsedProofs: b.proofs,
	})
}

// supervise lets the operator see this server's tools, and returns their rules.
func (b *backends) supervise(g *guard.Guard) (func(string) *guard.Table, error) {
	all := tools.All(b.crm)
	tables, err := guard.Always(rules(all))
	if err != nil {
		return nil, err
	}
	var known []operator.Tool
	for _, t := range all {
		known = append(known, operator.Tool{Name: t.Name})
	}
	b.desk.Add(operator.Server{Table: tables, Tools: func(string) []operator.Tool { return known }, Inspect: g.Inspect})
	return tables, nil
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
	r := mux.NewRouter().UseEncodedPath().SkipClean(true) // a path is one of ours or is not; nothing redirects
	r.NotFoundHandler = http.HandlerFunc(httpd.NotFound)
	r.HandleFunc("/healthz", s.healthz).Methods("GET", "HEAD")
	r.HandleFunc("/readyz", s.readyz).Methods("GET", "HEAD")
	documents := limit.Documents(c.DocumentsPerMinute, d.Now)
	for at, document := range cards {
		r.Handle(at, documents(document))
	}
	door := httpd.Paths(map[string]http.Handler{path: s.guard.CORS(endpoint)}, r)
	return httpd.Handler(door, httpd.Options{Log: d.Log, TrustedProxies: c.TrustedProxies}), nil
}

// mostProofs bounds the DPoP proofs that are remembered in Redis.
const mostProofs = 500_000

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

// Metrics answers GET /metrics. It asks nobody who they are, and tells tenants' names: give it a
// listener of its own.
func (s *Server) Metrics() http.Handler { return s.backends.desk.Metrics() }

// Operator is the operator's door of this server.
func (s *Server) Operator() *operator.Desk { return s.backends.desk }

// Run does the background work until ctx ends: the issuer's keys and the rollout's modes are read
// anew from time to time, its list of ended grants is followed, usage is written, audit lines get
// their place in the chain.
func (s *Server) Run(ctx context.Context) {
	var work sync.WaitGroup
	for _, do := range []func(context.Context){s.guard.Run, s.backends.run, s.backends.desk.Run} {
		work.Go(func() { do(ctx) })
	}
	work.Wait()
}

// Ended tells the wing of an end of a grant that an issuer in the same process has just written,
// ahead of the list that both share.
func (s *Server) Ended(grantID string, until time.Time) {
	if s.backends.replica != nil {
		s.backends.replica.Hear(grantID, until)
	}
}

// SeedDemo puts the demo's data there; what is there already stays.
func (s *Server) SeedDemo(ctx context.Context) error { return s.backends.crm.SeedDemo(ctx) }

// Close writes what was counted, and closes the stores.
func (s *Server) Close() error { return s.backends.close() }

// healthz says that the process serves.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	httpd.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz says whether a request with a good token would be answered: the keys are known, the list
// of ended grants is, the data answer.
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

// OpenOperator opens the operator's door without serving anything, for commands. close closes the
// stores.
func OpenOperator(ctx context.Context, c Config, d Deps) (desk *operator.Desk, close func() error, err error) {
	d.fill()
	d.reads = true
	if c, err = c.resolve(); err != nil {
		return nil, nil, err
	}
	if d.Revoked == nil && c.Redis == "" {
		d.Revoked = unasked{}
	}
	b, err := open(ctx, c, d)
	if err != nil {
		return nil, nil, err
	}
	g, err := check(c, d, b)
	if err == nil {
		_, err = b.supervise(g)
	}
	if err != nil {
		return nil, nil, errors.Join(err, b.close())
	}
	return b.desk, b.close, nil
}

// unasked is the list of ended grants of a command that cannot reach it: no token is believed then.
type unasked struct{}

func (unasked) Ended(context.Context, string) (bool, error) {
	return false, errors.New("the list of ended grants is in the memory of the server that runs")
}

func (unasked) Suspended(revocation.Subject, int64) bool { return false }
