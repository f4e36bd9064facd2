// Package mcpserver implements the MCP server: the guard, the demo tools behind it, and the
// operator's commands.
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

// Version is the version that the server reports to clients.
const Version = "0.1.0"

const (
	serverName        = "io.gatehouse/companion"
	serverTitle       = "Gatehouse companion tools"
	serverDescription = "Customers, support tickets and a knowledge base. Each tool has its own scope."
	instructions      = "These tools use the data of the organisation whose member authorized you. Which tools " +
		"you see depends on the granted scopes."
)

func protocols() []string { return mcp.Versions() }

// Deps are the dependencies of a Server.
type Deps struct {
	Log *slog.Logger
	Now func() time.Time // nil: time.Now
	// the list of revocations, if the issuer runs in this process; nil: it is read from Redis or
	// the issuer
	Revoked    revocation.Reader
	HTTPClient *http.Client // for requests to the issuer; nil: a client with a timeout
	// PublishedKeys returns the key set of an issuer in this process; nil: it is fetched.
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

// Server is the MCP server.
type Server struct {
	backends *backends
	guard    *guard.Guard
	// introspects says that tokens are introspected at the issuer while the list of revocations is
	// stale.
	introspects bool
	handler     http.Handler
}

// New opens the stores, whose schema must exist, and returns the server. Close it after use.
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
	config.WarnInsecure(d.Log, c.InsecureSettings())
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
	}, guard.Policy{Tables: tables, Rollout: s.backends.registry.Rollout(""), AllowAnonymous: c.InsecureAllowAnonymous,
		Admit: admit, Record: s.backends.registry.Record(""), Begin: s.backends.registry.Begin(""),
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

// check returns the guard of this server.
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

// supervise registers the tools for the operator, and returns their rules.
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
	b.registry.Add(operator.Server{Table: tables, Tools: func(string) []operator.Tool { return known },
		Inspect: g.Inspect})
	return tables, nil
}

// rules returns the rules of the tools: each needs its scope.
func rules(all []mcp.Tool) guard.Rules {
	var r guard.Rules
	for _, t := range all {
		r.Tools = append(r.Tools, guard.Rule{Name: t.Name, Scopes: []string{t.Scope}, Write: !t.ReadOnly})
	}
	return r
}

// routes returns the routes of the server.
func (s *Server) routes(c Config, d Deps, endpoint http.Handler, cards map[string]http.Handler) (http.Handler, error) {
	u, err := url.Parse(c.Resource)
	if err != nil {
		return nil, err
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	// nothing redirects: a path is exactly one of these or is not found
	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
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

// mostProofs limits the DPoP proofs that are remembered in Redis.
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

// Handler serves the MCP endpoint and the public documents.
func (s *Server) Handler() http.Handler { return s.handler }

// Metrics serves GET /metrics. It has no authentication and shows the names of tenants: give it a
// listener of its own.
func (s *Server) Metrics() http.Handler { return s.backends.registry.Metrics() }

// Operator returns the operator's commands.
func (s *Server) Operator() *operator.Registry { return s.backends.registry }

// Run runs the background jobs until ctx is done: it refreshes the issuer's keys and the rollout
// modes, follows the list of revocations, writes usage, and seals audit records.
func (s *Server) Run(ctx context.Context) {
	var work sync.WaitGroup
	for _, do := range []func(context.Context){s.guard.Run, s.backends.run, s.backends.registry.Run} {
		work.Go(func() { do(ctx) })
	}
	work.Wait()
}

// Ended reports the revocation of a grant by an issuer in the same process, before the shared list
// has it.
func (s *Server) Ended(grantID string, until time.Time) {
	if s.backends.replica != nil {
		s.backends.replica.Hear(grantID, until)
	}
}

// SeedDemo inserts the demo data that does not exist yet.
func (s *Server) SeedDemo(ctx context.Context) error { return s.backends.crm.SeedDemo(ctx) }

// Close writes pending usage and closes the stores.
func (s *Server) Close() error { return s.backends.close() }

// healthz answers 200 while the process serves.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	httpd.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz answers 200 if a request with a valid token can be answered: the issuer's keys and the
// list of revocations are known, and the database answers.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	_, listErr := s.backends.revoked.Ended(ctx, "readyz")
	if s.introspects {
		listErr = nil // tokens are introspected instead
	}
	if err := errors.Join(s.guard.Ready(ctx), listErr, s.backends.crm.Ping(ctx)); err != nil {
		httpd.Note(r.Context(), "error", err.Error())
		httpd.WriteJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready"})
		return
	}
	httpd.WriteJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

// OpenOperator opens the operator's commands without serving anything. close closes the stores.
func OpenOperator(ctx context.Context, c Config, d Deps) (registry *operator.Registry, close func() error, err error) {
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
	return b.registry, b.close, nil
}

// unasked is the list of revocations of a command that cannot read it: no token is accepted then.
type unasked struct{}

func (unasked) Ended(context.Context, string) (bool, error) {
	return false, errors.New("the list of revocations is in the memory of the running server")
}

func (unasked) Suspended(revocation.Subject, int64) bool { return false }
