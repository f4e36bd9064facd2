// Package gateway protects existing MCP servers with the guard, as a configuration file says.
//
// The guard authenticates and authorizes a request; the gateway then forwards it to the upstream
// server, with a credential of the gateway's own in place of the caller's. The response goes back
// through the guard, which filters lists to what the caller may use.
package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/callerassertion"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/calls"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/limit"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation/redislist"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl/redisttl"
)

// Deps are the dependencies of a Gateway.
type Deps struct {
	Log        *slog.Logger
	Now        func() time.Time    // nil: time.Now
	Getenv     func(string) string // nil: an empty environment
	Revoked    revocation.Reader   // nil: as configured in the file
	HTTPClient *http.Client        // for requests to the issuer; nil: a client with a timeout
	// CallTimeout replaces the value in the file, unless it is 0.
	CallTimeout time.Duration
	// Database holds the rollout modes and usage: sqlite:PATH or postgres://…, migrated. Empty: all
	// rules are enforced, and nothing is counted. See Database.
	Database string
}

func (d *Deps) fill() {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Getenv == nil {
		d.Getenv = func(string) string { return "" }
	}
}

// GCPercent is the recommended GOGC of a process that runs a gateway alone. It keeps little memory
// but allocates for each request; with Go's default of 100 it collects many times a second, and the
// slowest requests are those that wait for it. Set a memory limit, too.
const GCPercent = 400

// Gateway is a running gateway.
type Gateway struct {
	path      string
	file      File
	deps      Deps
	redis     redis.UniversalClient                                             // nil: none
	admit     func(w http.ResponseWriter, r *http.Request, grantID string) bool // limits requests
	revoked   revocation.Reader
	replica   *revocation.Replica // revoked, if it follows a feed; otherwise nil
	proofs    ttl.Store           // used DPoP proofs; nil: in the memory of the guards
	nonces    config.Secret       // key of DPoP nonces; empty: no nonces
	signer    *callerassertion.Signer
	upstreams []*upstream
	handler   http.Handler
	cards     atomic.Pointer[map[string]http.Handler] // public documents by path
	counts    ttl.Store                               // counts calls of limited tools
	names     names
	registry  *operator.Registry // nil: no database

	reloading sync.Mutex
}

// upstream is one upstream server.
type upstream struct {
	config     Upstream
	guard      *guard.Guard
	server     server
	assertions *callerassertion.Ahead // nil: no caller assertions
	rules      atomic.Pointer[policy] // in effect; see Reload
	handler    *guard.Handler
	seen       views
	met        trouble // on the connection to the server
}

// New reads the file at path and returns its gateway. It sends nothing to the upstream servers yet.
// Close it after use.
func New(ctx context.Context, path string, d Deps) (*Gateway, error) {
	d.fill()
	f, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	g := &Gateway{path: path, file: f, deps: d}
	if err := g.wire(ctx); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	config.WarnInsecure(d.Log, f.insecureSettings())
	for _, u := range f.Upstreams {
		if u.shares() {
			d.Log.Warn("the processes of all tenants share one folder and HOME, and what the program stores "+
				"there; set state, or name a place with {tenant} in it", "upstream", u.Name)
		}
	}
	return g, nil
}

func (g *Gateway) wire(ctx context.Context) error {
	if err := g.open(ctx); err != nil {
		return err
	}
	key, err := g.file.AssertionKey.read(g.deps.Getenv)
	if err != nil {
		return fmt.Errorf("assertion_key: %w", err)
	}
	if g.signer, err = callerassertion.New(config.Secret(key)); err != nil {
		return err
	}
	var keys policyKeys
	for name, key := range map[string]struct {
		from Secret
		to   *config.Secret
	}{"session_key": {g.file.SessionKey, &keys.session}, "arguments_key": {g.file.ArgumentsKey, &keys.arguments}} {
		read, err := key.from.read(g.deps.Getenv)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*key.to = config.Secret(read)
	}
	if keys.arguments == "" && g.deps.Database != "" {
		if keys.arguments, err = calls.KeyOf(g.deps.Database, g.deps.Log); err != nil {
			return err
		}
	}
	for _, u := range g.file.Upstreams {
		g.upstreams = append(g.upstreams, &upstream{config: u})
	}
	rules, err := g.policies(&g.file)
	if err != nil {
		return err
	}
	if g.registry, err = g.file.openRegistry(ctx, g.deps, true); err != nil {
		return err
	}
	protected := map[string]http.Handler{}
	for i, u := range g.file.Upstreams {
		m := g.upstreams[i]
		m.seen.reading.Max, m.seen.reading.Timeout = maxViews, lookTimeout
		m.rules.Store(rules[i])
		if m.server, err = g.reach(m); err != nil {
			return fmt.Errorf("upstream %q: %w", u.Name, err)
		}
		if m.handler, err = g.enforce(m, keys); err != nil {
			return fmt.Errorf("upstream %q: %w", u.Name, err)
		}
		protected[u.Name] = m.handler
		if g.registry != nil {
			g.registry.Add(m.seenBy(m.guard.Inspect))
		}
	}
	g.handler, err = g.routes(protected)
	return err
}

// open opens the stores. Where revocations are read is decided here.
func (g *Gateway) open(ctx context.Context) error {
	address, err := g.file.Redis.read(g.deps.Getenv)
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	if address != "" {
		if g.redis, err = redisttl.Open(ctx, address); err != nil {
			return err
		}
		g.proofs = redisttl.New(g.redis, g.file.RedisPrefix+"gateway:proofs:", maxProofs)
		g.counts = redisttl.New(g.redis, g.file.RedisPrefix+"gateway:", limit.MaxCounted)
	} else {
		g.counts = ttl.NewMemory(ttl.Options{Now: g.deps.Now})
		// used proofs and nonces are both lost with the process, so that a lost proof cannot be
		// replayed
		g.nonces = config.Secret(rand.Text() + rand.Text())
	}
	g.admit = limit.Requests(g.file.CallsPerMinute, g.deps.Now)
	switch {
	case g.deps.Revoked != nil:
		g.revoked = g.deps.Revoked
	case g.redis != nil:
		g.follow(ctx, revocation.ReplicaOptions{Feed: redislist.New(g.redis, g.file.RedisPrefix, g.deps.Now)})
	case g.file.ClientSecret != (Secret{}):
		id := cmp.Or(g.file.ClientID, g.deps.Getenv(clientIDVariable))
		secret, err := g.file.ClientSecret.read(g.deps.Getenv)
		switch {
		case err != nil:
			return fmt.Errorf("client_secret: %w; gatehouse client create --server %s makes a client that may ask "+
				"which grants are revoked", err, g.file.Upstreams[0].Resource)
		case id == "":
			return fmt.Errorf("client_id is not set, and the environment has no %s: gatehouse client create --server "+
				"%s makes both", clientIDVariable, g.file.Upstreams[0].Resource)
		}
		g.follow(ctx, revocation.ReplicaOptions{Every: revocationPollInterval, Feed: &revocation.HTTP{
			URL: g.file.Issuer + revocation.Path, ClientID: id, ClientSecret: config.Secret(secret),
			Client: g.deps.HTTPClient,
		}})
	case g.file.InsecureIgnoreRevocations:
		g.revoked = revocation.Ignored{}
	default:
		return errors.New("revocations cannot be read; set redis as the issuer has it, client_id and " +
			"client_secret (gatehouse client create --server), or insecure_ignore_revocations")
	}
	return nil
}

// clientIDVariable is the environment variable of the client id, if it is not in the file.
const clientIDVariable = "GATEHOUSE_CLIENT_ID"

// endedPoll is the interval of reading the list of revocations over HTTP.
const revocationPollInterval = 2 * time.Second

// follow keeps the list of revocations in memory.
func (g *Gateway) follow(ctx context.Context, o revocation.ReplicaOptions) {
	o.Now, o.Log = g.deps.Now, g.deps.Log
	g.replica = revocation.Follow(ctx, o)
	g.revoked = g.replica
}

// check returns the guard of an upstream.
func (g *Gateway) check(m *upstream) (*guard.Guard, error) {
	return guard.New(guard.Config{
		Issuer: g.file.Issuer, Resource: m.config.Resource, Revoked: g.revoked, Algorithms: g.file.Algorithms,
		Baseline: m.config.baseline(), JWKSURL: g.file.JWKSURL,
		AllowedHosts: g.file.AllowedHosts, AllowedOrigins: g.file.AllowedOrigins, RequireDPoP: g.file.RequireDPoP,
		UsedProofs:   g.proofs,
		DPoPNonceKey: g.nonces, DPoPNonceRequired: g.file.DPoPNonce == dpop.NonceRequired,
		DPoPWindow: g.file.DPoPWindow, HTTPClient: g.deps.HTTPClient, Now: g.deps.Now, Log: g.deps.Log,
		CacheSize: g.file.TokenCacheSize,
	})
}

// policyKeys are the keys that the guards of all upstreams share.
type policyKeys struct{ session, arguments config.Secret }

// enforce returns the guard's handler of an upstream.
func (g *Gateway) enforce(m *upstream, keys policyKeys) (*guard.Handler, error) {
	var err error
	if m.guard, err = g.check(m); err != nil {
		return nil, err
	}
	policy := guard.Policy{
		// the only place that reads the policy in effect; see tenantView
		Tables:     func(tenant string) *guard.Table { return m.rules.Load().of(tenant).table },
		Admit:      func(w http.ResponseWriter, r *http.Request, c mcp.Caller) bool { return g.admit(w, r, c.GrantID) },
		SessionKey: keys.session, ArgumentsKey: keys.arguments, MaxBody: m.config.Limits.Body,
		MaxAnswer: m.config.Limits.Answer, CallTimeout: cmp.Or(g.deps.CallTimeout, g.file.CallTimeout),
		KeepAlive: g.file.KeepAlive, MaxStreams: m.config.Limits.StreamsPerGrant,
	}
	if g.registry != nil {
		policy.Rollout, policy.Record = g.registry.Rollout(m.config.Name), g.registry.Record(m.config.Name)
		policy.Begin = g.registry.Begin(m.config.Name)
		// a process belongs to a tenant, and an anonymous caller has none
		policy.AllowAnonymous = g.file.InsecureAllowAnonymous && m.config.URL != ""
	}
	return m.guard.Enforce(nil, policy) // each table has its view
}

// mostProofs limits the DPoP proofs that are remembered in Redis.
const maxProofs = 500_000

// Handler serves the upstreams and the public documents.
func (g *Gateway) Handler() http.Handler { return g.handler }

// Listen returns the listen address of the file.
func (g *Gateway) Listen() string { return g.file.Listen }

// Upstreams returns the upstreams of the file.
func (g *Gateway) Upstreams() []Upstream { return g.file.Upstreams }

// Close closes the upstreams and the stores.
func (g *Gateway) Close() error {
	var errs []error
	for _, m := range g.upstreams {
		if m.server != nil {
			errs = append(errs, m.server.Close())
		}
	}
	if g.registry != nil {
		errs = append(errs, g.registry.Close())
	}
	if g.redis != nil {
		errs = append(errs, g.redis.Close())
	}
	return errors.Join(errs...)
}
