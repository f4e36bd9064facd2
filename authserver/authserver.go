// Package authserver is the authorization server: a Config in, an http.Handler out.
package authserver

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/mux"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/assertion"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/cimd"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/oauthapi"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/pages"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/personal"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/session"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/ratelimit"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/web"
)

// Deps are what the calling program provides.
type Deps struct {
	Log *slog.Logger
	Now func() time.Time // nil: time.Now
	// Revocations is the list of revoked grants when the MCP server runs in the same process. Nil:
	// Redis, or memory of this process.
	Revocations revocation.List
	// Ended, when not nil, is called for each grant that this process has put on the list, so that
	// an MCP server in the same process knows it at once when the list is in Redis.
	Ended func(grantID string, until time.Time)
	// Sealers are sealing keys that are held elsewhere, such as in a key-management service; then
	// KeyEncryptionKey is not needed. New signing keys are sealed under the one that sealed the
	// newest, the first under the first; Operator.Reseal reseals everything under the first. Empty:
	// those of the Config.
	Sealers []Sealer
	// Rekey replaces the key-encryption key where the program keeps it. It must keep both keys
	// durably before it calls seal, which reseals everything under the new one, and the new key
	// alone after seal succeeded. next is the new key; empty: generate one. Nil: the key is changed
	// in the settings.
	Rekey func(next config.Secret, seal func(config.Secret) error) error
	// Documents fetches client metadata documents. Nil: from the network, with all protections.
	Documents *cimd.Fetcher
}

// Rejections in a minute that have audit records of their own: of one source, and of all at one
// replica.
const (
	refusalsEach = 10
	refusalsAll  = 200
)

// requestTime bounds how long a request waits for the stores and for hashing a password.
const requestTime = 8 * time.Second

func (d *Deps) fill() {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
}

// Server is the authorization server.
type Server struct {
	config   resolved
	deps     Deps
	backends *backends
	handler  http.Handler
	operator *Operator
	refusals *audit.Refusals
	issued   *audit.Buffer // records of tokens for which nothing else is written
	metrics  *metrics
}

// Operator is the operator API: every operation has an audit record, or does not happen.
type Operator = admin.API

// New opens the stores, whose schema must exist, and returns the server. Close it after use.
func New(ctx context.Context, c Config, d Deps) (*Server, error) {
	d.fill()
	r, err := c.resolve(len(d.Sealers) > 0)
	if err != nil {
		return nil, err
	}
	b, err := open(ctx, &r, d)
	if err != nil {
		return nil, err
	}
	if err := b.begin(ctx, &r, d.Now); err != nil {
		return nil, errors.Join(err, b.close())
	}
	config.WarnInsecure(d.Log, c.InsecureSettings())
	s := &Server{config: r, deps: d, backends: b, operator: operator(&r, b, d)}
	s.metrics = newMetrics(b.ring)
	b.sql.Measure(s.metrics.storeSeconds.WithLabelValues("read"), s.metrics.storeSeconds.WithLabelValues("write"))
	s.refusals = &audit.Refusals{Log: b.sql, Now: d.Now, Each: refusalsEach, All: refusalsAll}
	s.issued = audit.NewBuffer(b.sql.RecordAll, d.Log)
	if s.handler, err = s.routes(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// OpenOperator opens the operator API without serving anything, for commands. close closes the
// stores.
func OpenOperator(ctx context.Context, c Config, d Deps) (door *Operator, close func() error, err error) {
	d.fill()
	r, err := c.resolve(len(d.Sealers) > 0)
	if err != nil {
		return nil, nil, err
	}
	b, err := open(ctx, &r, d)
	if err != nil {
		return nil, nil, err
	}
	switch err := b.ring.LoadSecret(ctx); {
	case err == nil:
		b.anchor()
	case !errors.Is(err, keyring.ErrNotFound): // without it nothing was sealed under a key
		return nil, nil, errors.Join(err, b.close())
	}
	return operator(&r, b, d), b.close, nil
}

func operator(r *resolved, b *backends, d Deps) *Operator {
	return &admin.API{
		Tenants: b.tenants, Users: b.sql, Clients: b.clients, Trust: b.sql, Grants: b.sql, Audit: b.sql,
		Ledger: b.ledger, Keys: b.ring, Inherited: inherited(r), Erase: b.sql.Erase, Rekey: oneAtATime(d.Rekey),
		Resources: b.resources, Catalogue: b.sql, Issuer: r.Issuer, Now: d.Now, AttemptStore: b.sql,
		Attempts: b.connections, Jobs: b.jobs, Atomically: b.atomically,
	}
}

// oneAtATime serializes changes of the key-encryption key, which would overwrite each other's file.
func oneAtATime(rekey func(config.Secret, func(config.Secret) error) error) func(config.Secret,
	func(config.Secret) error) error {
	if rekey == nil {
		return nil
	}
	var turn sync.Mutex
	return func(next config.Secret, seal func(config.Secret) error) error {
		turn.Lock()
		defer turn.Unlock()
		return rekey(next, seal)
	}
}

// engine returns what handles authorization and token requests.
func (s *Server) engine(fetcher *cimd.Fetcher, assertions *assertion.Checker) *issuer.Engine {
	c, b := &s.config, s.backends
	return issuer.New(issuer.Settings{
		Documents: s.documents(fetcher), Pending: b.ahead,
		Issuer: c.Issuer, Resources: b.resources,
		Clients: b.clients, Tenants: b.tenants, Users: b.sql, Grants: b.grants, Store: b.sql, Ledger: b.ledger,
		Keys: b.ring, Secret: b.ring.Secret(),
		Trust: b.sql, Identities: assertions, Listed: b.settler.Listed, Suspended: b.suspended, Audit: b.sql,
		Issued: s.issued.Record, Refusals: s.refusals,
		Proofs: &dpop.Checker{
			Used: b.proofs, Nonces: &dpop.Nonces{Key: b.nonces}, NonceRequired: c.DPoPNonce == dpop.NonceRequired,
			Window: c.DPoPWindow, Since: b.since, Now: s.deps.Now,
		},
		AuthorizationCodeLifetime: c.AuthorizationCodeLifetime, RefreshTokenIdleTimeout: c.RefreshTokenIdleTimeout,
		RefreshTokenLifetime: c.RefreshTokenLifetime,
		ReplayWindow:         max(c.ReplayWindow, 0), Now: s.deps.Now,
	})
}

// fetcher returns what fetches documents and keys that clients publish.
func (s *Server) fetcher() *cimd.Fetcher {
	if s.deps.Documents != nil {
		return s.deps.Documents
	}
	return cimd.NewFetcher(s.config.InsecureClientMetadataDocumentHosts)
}

// documents finds clients by their metadata documents, unless these are disabled.
func (s *Server) documents(fetcher *cimd.Fetcher) issuer.Documents {
	if s.config.RefuseClientMetadataDocuments {
		return nil
	}
	return &cimd.Library{
		Store: s.backends.clients, Fetcher: fetcher, Now: s.deps.Now,
		Limit: &ratelimit.Limiter{Store: s.backends.counters, Name: "document", Limit: 20, Window: time.Minute},
	}
}

// assertions verifies clients' assertions and those of trusted identity providers.
func (s *Server) assertions(fetcher *cimd.Fetcher) *assertion.Checker {
	c := assertion.Settings{
		Issuer: s.config.Issuer, Used: s.backends.assertions, Trust: s.backends.sql,
		Issuers: cimd.NewFetcher(s.config.InsecureClientMetadataDocumentHosts), Now: s.deps.Now,
		Limit: &ratelimit.Limiter{Store: s.backends.counters, Name: "keys", Limit: 60, Window: time.Minute},
	}
	if !s.config.RefuseClientMetadataDocuments {
		c.Keys = fetcher
	}
	if s.deps.Documents != nil {
		c.Issuers = fetcher
	}
	return assertion.New(c)
}

// routes returns the table of all routes.
func (s *Server) routes() (http.Handler, error) {
	c, b := &s.config, s.backends
	fetcher := s.fetcher()
	assertions := s.assertions(fetcher)
	engine := s.engine(fetcher, assertions)
	sessions := &session.Manager{Sessions: b.sessions, Transactions: b.transactions, Secure: c.https, Now: s.deps.Now,
		Life: c.SessionLifetime, Key: b.ring.Derive("known browsers", "")}
	people := &pages.Handler{
		Engine: engine, Sessions: sessions, Users: b.sql, Personal: personal.Vault{Secrets: b.ring}, Grants: b.sql,
		Clients: b.sql, Ledger: b.ledger, Registrar: s.operator.Registrar(),
		Codes: &ratelimit.Limiter{Store: b.counters, Name: "user-code", Limit: 20, Window: 5 * time.Minute},
		SignIns: pages.SignInLimits{
			Source: &ratelimit.Limiter{Store: b.counters, Name: "sign-in source", Limit: c.SignInsPerAddress,
				Window: 5 * time.Minute},
			Pair: &ratelimit.Limiter{Store: b.counters, Name: "sign-in pair", Limit: (c.SignInsPerAddress + 9) / 10,
				Window: 5 * time.Minute},
			Account: &ratelimit.Limiter{Store: b.counters, Name: "sign-in account", Limit: c.SignInsPerAccount,
				Window: time.Hour},
			Browser: &ratelimit.Limiter{Store: b.counters, Name: "sign-in browser",
				Limit: (c.SignInsPerAddress + 9) / 10, Window: 5 * time.Minute},
		},
	}
	programs := &oauthapi.API{
		Assertions:   assertions,
		Registration: c.Registration, Ceiling: c.MaxClients, Now: s.deps.Now,
		Engine: engine, Clients: b.clients, Keys: b.ring, Begin: sessions.Begin, ErrorPage: people.ErrorPage,
		Explain: people.Explain, Silent: people.Silent,
		IDTokenAlgorithms: b.algorithms,
		Authorize: &ratelimit.Limiter{Store: b.counters, Name: "authorize", Limit: c.AuthorizationsPerMinute,
			Window: time.Minute},
		Register: &ratelimit.Limiter{Store: b.counters, Name: "register", Limit: c.RegistrationsPerHour,
			Window: time.Hour},
		Revoked: b.list,
		Revoke:  &ratelimit.Limiter{Store: b.counters, Name: "revoke", Limit: 60, Window: time.Minute},
		Introspect: &ratelimit.Limiter{Store: b.counters, Name: "introspect", Limit: c.IntrospectionsPerMinute,
			Window: time.Minute},
		Follow:       &ratelimit.Limiter{Store: b.counters, Name: "ended", Limit: 3000, Window: time.Minute},
		Authenticate: &ratelimit.Limiter{Store: b.counters, Name: "authenticate", Limit: 100, Window: time.Minute},
	}
	r := mux.NewRouter()
	r.Use(s.metrics.count, s.follow)
	r.HandleFunc("/healthz", s.healthz).Methods("GET", "HEAD")
	r.HandleFunc("/readyz", s.readyz).Methods("GET", "HEAD")
	r.PathPrefix("/static/").Handler(web.Static()).Methods("GET", "HEAD")
	if err := programs.Mount(r); err != nil {
		return nil, err
	}
	people.Mount(r)
	return httpd.Handler(s.ownHosts(s.admit(r, programs, people), people),
		httpd.Options{Log: s.deps.Log, TrustedProxies: c.TrustedProxies, Timeout: requestTime}), nil
}

// ownHosts serves pages and forms for the issuer's hosts only: otherwise a page whose name was
// changed to resolve to this server (DNS rebinding) could use the sign-in form as its own. A path
// that is not known to be for programs counts as a page.
func (s *Server) ownHosts(next http.Handler, people *pages.Handler) http.Handler {
	elsewhere := &oauth.Error{
		Code: "invalid_request", Status: http.StatusMisdirectedRequest, Description: "This page is at " +
			s.config.Issuer + " and answers to no other name. Open it there.",
	}
	elsewhere.Person = elsewhere.Description
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !httpd.IsText(r.URL.Path) { // it names nothing, here or in a store
			area := "/"
			for _, programs := range []string{"/oauth2/", "/.well-known/"} {
				if strings.HasPrefix(r.URL.Path, programs) {
					area = programs
				}
			}
			r = r.Clone(r.Context())
			r.URL.Path, r.URL.RawPath = area+"nothing", ""
		}
		if s.config.hosts.Has(r.Host) || oauthapi.ForPrograms(r.URL.Path) || r.URL.Path == "/healthz" ||
			r.URL.Path == "/readyz" {
			next.ServeHTTP(w, r)
			return
		}
		httpd.Note(r.Context(), "refused", "another host than the issuer's")
		people.ErrorPage(w, r, elsewhere)
	})
}

// Handler returns the public handler.
func (s *Server) Handler() http.Handler { return s.handler }

// Operator returns the operator API of this server.
func (s *Server) Operator() *Operator { return s.operator }

// AdminHandler serves the operator API to commands; serve it only on a socket that the operator
// alone can open.
func (s *Server) AdminHandler() http.Handler {
	return httpd.Handler(s.operator.Handler(), httpd.Options{Log: s.deps.Log, MaxBody: admin.MaxBody,
		Timeout: admin.MaxTime})
}

// ResourceNonceKey returns the key of DPoP nonces for an MCP server in this process; replicas
// derive the same.
func (s *Server) ResourceNonceKey() []byte { return s.backends.nonceKey("resource dpop nonces") }

// PublishedKeys returns the published key set (RFC 7517 §5), for an MCP server in this process.
func (s *Server) PublishedKeys() []byte { return s.backends.ring.Document().JSON }

// ResourceArgumentsKey returns the key with which an MCP server in this process pseudonymizes
// arguments of calls in its log.
func (s *Server) ResourceArgumentsKey() []byte {
	return s.backends.ring.Derive("resource arguments", "")
}

// Close closes the stores.
func (s *Server) Close() error {
	s.issued.Close()
	ctx, cancel := context.WithTimeout(context.Background(), lastWrite)
	defer cancel()
	return errors.Join(s.refusals.Close(ctx), s.backends.close())
}

// healthz reports that the process serves.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	httpd.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz reports whether the stores answer: the database, short memory, and the list of revoked
// grants.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	_, _, shortErr := s.backends.sessions.Get(ctx, "readyz")
	if err := errors.Join(s.backends.sql.Ping(ctx), shortErr, s.backends.listed(s.deps.Now())); err != nil {
		httpd.Note(r.Context(), "error", err.Error())
		httpd.WriteJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready"})
		return
	}
	httpd.WriteJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}
