package guard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/limit"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/singleflight"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

// Config configures a Guard. Issuer and Resource are required; every other field has a default.
type Config struct {
	// Issuer is the issuer identifier of the authorization server, compared byte for byte (RFC 8414
	// section 2). Required.
	Issuer string
	// Resource is the canonical URI of the protected server, the only audience that is accepted
	// (RFC 8707 section 2). Required.
	Resource string
	// Revoked knows which grants, clients and tenants are revoked or suspended, and which signing
	// keys were withdrawn. It is asked on every request, so it should answer from memory, as a
	// revocation.Replica does. Default: none. Then a revoked grant and a suspended client or tenant
	// are not noticed until the access token expires (exp), and a withdrawn key not before the key
	// set is fetched again.
	Revoked revocation.Reader
	// WhenUnknown introspects a token at the issuer when Revoked does not know whether its grant is
	// revoked, at most 32 tokens at once. Default, and beyond that number: the request is answered
	// 503.
	WhenUnknown *Introspection
	// Algorithms are the accepted signature algorithms. Default: ES256.
	Algorithms []string
	// Baseline are the scopes that a 401 challenge names.
	Baseline []string
	// JWKSURL is the URL of the issuer's keys. Default: jwks_uri of the issuer's metadata (RFC 8414
	// section 2).
	JWKSURL string
	// AllowedHosts are the accepted Host headers. Default: the host of the resource; for a loopback
	// host, also its other names.
	AllowedHosts []string
	// AllowedOrigins are the accepted Origin headers, in addition to the origin of the resource.
	AllowedOrigins []string
	// CacheSize is the number of verified tokens that are cached, each until it expires. Expiry,
	// signing key and revocation are still checked on every request. Default 100,000, about half a
	// kilobyte each; a negative value disables the cache.
	CacheSize int
	// RequireDPoP rejects tokens that are not bound to a key of the client (RFC 9449). Default:
	// both kinds are accepted, each with its own authentication scheme.
	RequireDPoP bool
	// DPoPNonceKey is the key of the nonces for DPoP proofs (RFC 9449 section 9): at least 32
	// characters, the same for all replicas. Who knows it can prepare proofs for later use, with a
	// key of their own. Default: no nonces are offered.
	DPoPNonceKey config.Secret
	// DPoPNonceRequired rejects proofs without a nonce; it needs DPoPNonceKey. Default: a nonce is
	// offered but not required, because clients in the field do not support it.
	DPoPNonceRequired bool
	// DPoPWindow is how far the iat of a proof may be from now. Default and maximum: 5 minutes.
	DPoPWindow time.Duration
	// UsedProofs remembers the DPoP proofs of the last minutes, so that each is accepted once;
	// replicas share it. Default: the memory of this process.
	UsedProofs ttl.Store
	// PublishedKeys returns the key set of an issuer in this process (RFC 7517 section 5); unknown
	// keys are looked up there, without a request. Default: the key set is fetched.
	PublishedKeys func() []byte
	// HTTPClient sends requests to the issuer; redirects are not followed. Default: a client with a
	// timeout of 5 seconds.
	HTTPClient *http.Client
	Now        func() time.Time // default: time.Now
	Log        *slog.Logger     // default: no log
}

// Leeway is the accepted difference between the clocks of the issuer and this server.
const Leeway = 30 * time.Second

// Guard authenticates and authorizes requests. It is safe for concurrent use.
type Guard struct {
	config         Config
	rules          token.Rules
	keys           *keys
	cache          *cache // nil: disabled
	proofs         *dpop.Checker
	introspections singleflight.Group[bool] // introspection, by the hash of the token
	inFlight       *limit.InFlight          // limits introspection
	origin         string                   // of the resource, as clients see it
	hosts          httpd.Hosts
	origins        map[string]bool
	metadata       string // resource_metadata of challenges
	baseline       atomic.Pointer[[]string]
}

// New returns a guard. It does not fetch anything yet.
func New(c Config) (*Guard, error) {
	uri, err := oauth.PlainResource(c.Resource)
	if err != nil {
		return nil, fmt.Errorf("resource %q is %w", c.Resource, err)
	}
	if uri != c.Resource {
		return nil, fmt.Errorf("resource %q is not in its plain form (RFC 8707 section 2); give it as %s",
			c.Resource, uri)
	}
	if err := oauth.CheckPlain(c.Issuer); err != nil {
		return nil, fmt.Errorf("issuer %q %w", c.Issuer, err)
	}
	if n := len(c.DPoPNonceKey.Reveal()); n > 0 && n < minNonceKey {
		return nil, fmt.Errorf("the DPoP nonce key is shorter than %d characters; make one with: head -c 32 "+
			"/dev/urandom | base64", minNonceKey)
	} else if n == 0 && c.DPoPNonceRequired {
		return nil, errors.New("nonces are required of DPoP proofs and there is no DPoP nonce key to make them with")
	}
	if err := dpop.CheckWindow(c.DPoPWindow); err != nil {
		return nil, err
	}
	var since time.Time
	if c.UsedProofs == nil { // proofs from before this moment are not remembered
		since = time.Now()
		if c.Now != nil {
			since = c.Now()
		}
	}
	c.fill()
	g := &Guard{
		config: c, metadata: oauth.ResourceMetadataURL(c.Resource), hosts: httpd.Hosts{}, origins: map[string]bool{},
		rules: token.Rules{Issuer: c.Issuer, Audience: c.Resource, Algorithms: c.Algorithms, Leeway: Leeway,
			Now: c.Now},
		proofs: &dpop.Checker{Used: c.UsedProofs, Now: c.Now, NonceRequired: c.DPoPNonceRequired, Window: c.DPoPWindow,
			Since: since},
		keys: &keys{issuer: c.Issuer, url: c.JWKSURL, http: c.HTTPClient, now: c.Now, log: c.Log,
			local: c.PublishedKeys},
	}
	g.SetBaseline(c.Baseline)
	g.introspections.Max, g.introspections.Timeout = maxIntrospections, introspectTimeout
	g.inFlight = limit.NewInFlight(maxIntrospections, maxTenantIntrospections)
	if c.DPoPNonceKey != "" {
		g.proofs.Nonces = &dpop.Nonces{Key: []byte(c.DPoPNonceKey.Reveal())}
	}
	if c.CacheSize > 0 {
		g.cache = newCache(c.CacheSize, c.Now)
	}
	g.allow(uri)
	return g, nil
}

// SetBaseline replaces Config.Baseline for later requests.
func (g *Guard) SetBaseline(scopes []string) { g.baseline.Store(&scopes) }

func (c *Config) fill() {
	if len(c.Algorithms) == 0 {
		c.Algorithms = []string{"ES256"}
	}
	if c.Revoked == nil {
		c.Revoked = revocation.Ignored{}
	}
	if c.CacheSize == 0 {
		c.CacheSize = defaultCacheSize
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.UsedProofs == nil {
		c.UsedProofs = ttl.NewMemory(ttl.Options{Now: c.Now, MaxEntries: maxProofs})
	}
	if c.HTTPClient == nil {
		c.HTTPClient = &http.Client{Timeout: fetchTime}
	}
	client := *c.HTTPClient // redirects are refused for a client of the caller's, too
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.HTTPClient = &client
}

// allow fills the lists of allowed hosts and origins, and sets the origin that proofs are made for.
func (g *Guard) allow(resource string) {
	u, err := url.Parse(resource)
	if err != nil {
		return
	}
	g.origin = u.Scheme + "://" + u.Host
	names := []string{u.Host}
	if config.ThisMachine(u.Hostname()) {
		port := strings.TrimPrefix(u.Host, hostOf(u.Host))
		names = []string{"localhost" + port, "127.0.0.1" + port, "[::1]" + port}
	}
	for _, host := range names {
		g.origins[u.Scheme+"://"+host] = true
	}
	if len(g.config.AllowedHosts) > 0 {
		names = g.config.AllowedHosts
	}
	maps.Copy(g.hosts, httpd.NewHosts(names...))
	for _, origin := range g.config.AllowedOrigins {
		g.origins[origin] = true
	}
}

// hostOf removes the port.
func hostOf(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		return host[:i]
	}
	return host
}

// Protect calls next for authenticated requests, with their caller, and answers all others itself.
func (g *Guard) Protect(next func(w http.ResponseWriter, r *http.Request, c mcp.Caller)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refused := g.checkSource(r); refused != nil {
			refuse(w, r, refused)
			return
		}
		shown, refused := present(r)
		if refused != nil {
			g.challenge(w, r, refused)
			return
		}
		v, refused := g.authenticate(r.Context(), shown.raw)
		if refused != nil {
			g.challenge(w, r, refused)
			return
		}
		proof, nonce, refused, _ := g.verifyProof(r, shown, v.jkt)
		if refused == nil {
			refused, _ = g.consumeProof(r.Context(), v.caller.GrantID, proof)
		}
		if nonce != "" {
			w.Header().Set(dpop.NonceHeader, nonce)
		}
		if refused != nil {
			g.challenge(w, r, refused)
			return
		}
		caller := v.caller
		httpd.Note(r.Context(), "tenant", caller.TenantID)
		httpd.Note(r.Context(), "client", caller.ClientID)
		next(w, r, caller)
	})
}

// Wrap is Protect for an http.Handler, which gets its caller from CallerOf.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return g.Protect(func(w http.ResponseWriter, r *http.Request, c mcp.Caller) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

type callerKey struct{}

// CallerOf returns the caller of a request that passed Wrap or Enforce. Handlers of other libraries
// take no further argument, so the context carries it.
func CallerOf(ctx context.Context) (mcp.Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(mcp.Caller)
	return c, ok
}

// checkSource compares Host and Origin with the lists of allowed ones, before anything else: a page
// of another site must not reach a server on the user's own machine through their browser, nor by
// DNS rebinding.
func (g *Guard) checkSource(r *http.Request) *oauth.Error {
	if !g.hosts.Has(r.Host) {
		return &oauth.Error{Code: "invalid_request", Description: "this server does not answer to this Host",
			Status: http.StatusForbidden}
	}
	for _, origin := range r.Header["Origin"] {
		if !g.origins[origin] {
			return &oauth.Error{Code: "invalid_request", Description: "this Origin is not allowed here",
				Status: http.StatusForbidden}
		}
	}
	return nil
}

// errNoToken answers a request without credentials: a challenge without an error code (RFC 6750
// section 3.1).
var errNoToken = &oauth.Error{Description: "send an access token of this server's issuer as Authorization: Bearer",
	Status: http.StatusUnauthorized}

// presented is an access token as the request presents it.
type presented struct {
	raw  string
	dpop bool // by the DPoP scheme, which needs a proof (RFC 9449 section 7.1)
}

// present reads the one token of a request (RFC 6750 section 2.1, RFC 9449 section 7.1). A token in
// the URL or in a body is not accepted; in addition to one in the header it is an error.
func present(r *http.Request) (presented, *oauth.Error) {
	headers := r.Header["Authorization"]
	switch {
	case len(headers) == 0:
		return presented{}, errNoToken
	case len(headers) > 1:
		return presented{}, oauth.InvalidRequest("more than one Authorization header")
	}
	if r.URL.RawQuery != "" {
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil { // the part that cannot be parsed could hold a second token
			return presented{}, oauth.InvalidRequest("the query of the URL cannot be read")
		}
		if query.Has("access_token") {
			return presented{}, oauth.InvalidRequest("an access token belongs in the Authorization header alone")
		}
	}
	scheme, raw := oauth.Credentials(headers[0])
	proved := strings.EqualFold(scheme, dpop.Scheme)
	if !proved && !strings.EqualFold(scheme, "Bearer") {
		return presented{}, errNoToken
	}
	if !isToken68(raw) {
		return presented{}, oauth.InvalidRequest("the Authorization header is not a scheme and one token")
	}
	return presented{raw, proved}, nil
}

// isToken68 reports whether s has the syntax of a bearer token (RFC 6750 section 2.1, b64token). It
// runs on every request, so it reads bytes.
func isToken68(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~',
			c == '+', c == '/', c == '=':
		default:
			return false
		}
	}
	return s != ""
}

// authenticate verifies an access token and checks that its grant is not revoked, or returns the
// error to answer.
func (g *Guard) authenticate(ctx context.Context, raw string) (verified, *oauth.Error) {
	v, err := g.verify(ctx, raw)
	switch {
	case errors.Is(err, token.ErrKeysUnavailable):
		httpd.Note(ctx, "error", err)
		return verified{}, oauth.TemporarilyUnavailable() // not the fault of the token
	case errors.Is(err, token.ErrUnknownKey):
		httpd.Note(ctx, "error", err)
		return verified{why: g.invalidToken(err, token.Claims{})}, oauth.InvalidToken(token.ErrUnknownKey.Error())
	case err != nil:
		return verified{why: v.why}, oauth.InvalidToken(err.Error()) // one of the errors of package token
	}
	revoked, withdrawn, err := g.revoked(ctx, v)
	switch {
	case revoked:
		return verified{why: revokedGrant(v.caller)}, errRevoked
	case withdrawn: // before the key set shows it
		return verified{why: g.invalidToken(token.ErrUnknownKey, token.Claims{})},
			oauth.InvalidToken(token.ErrUnknownKey.Error())
	case err != nil:
		return g.introspect(ctx, raw, v, err)
	}
	return v, nil
}

// revoked asks Config.Revoked whether the token's grant is revoked, or one of its clients or its
// tenant is suspended, and whether its key was withdrawn. An error means that this is not known.
func (g *Guard) revoked(ctx context.Context, v verified) (revoked, withdrawn bool, err error) {
	list := g.config.Revoked
	revoked, err = list.Ended(ctx, v.caller.GrantID)
	withdrawn, keyErr := list.Ended(ctx, v.entry)
	revoked = revoked || list.Suspended(revocation.Tenant(v.caller.TenantID), v.issued)
	for _, id := range v.clients {
		revoked = revoked || list.Suspended(revocation.Client(id), v.issued)
	}
	return revoked, withdrawn, cmp.Or(err, keyErr)
}

// introspect asks the issuer whether a token is still active, because Config.Revoked does not know,
// for the reason unknown. Requests with the same token share one question, so a revocation is
// noticed at most one question late. It fails closed without WhenUnknown, and when too many
// questions are in flight.
func (g *Guard) introspect(ctx context.Context, raw string, v verified, unknown error) (verified, *oauth.Error) {
	if g.config.WhenUnknown == nil {
		httpd.Note(ctx, "error", unknown)
		return verified{}, oauth.TemporarilyUnavailable()
	}
	httpd.Note(ctx, "introspected", true)
	key := hash(raw)
	active, err := g.introspections.Do(ctx, string(key[:]), func(ctx context.Context) (bool, error) {
		leave, ok := g.inFlight.Enter(limit.Party{Tenant: v.caller.TenantID})
		if !ok {
			return false, singleflight.ErrFull
		}
		defer leave()
		return g.config.WhenUnknown.active(ctx, g.config.HTTPClient, raw, v.caller.GrantID)
	})
	switch {
	case err != nil:
		httpd.Note(ctx, "error", errors.Join(unknown, err))
		return verified{}, oauth.TemporarilyUnavailable()
	case !active:
		return verified{why: revokedGrant(v.caller)}, errRevoked
	}
	return v, nil
}

var errRevoked = oauth.InvalidToken("the grant of the access token is revoked")

// verified is a verified access token.
type verified struct {
	caller  mcp.Caller
	jkt     string // thumbprint of the key that a proof must be made with; empty: not bound
	keyID   string
	key     any      // the public key that verified it
	entry   string   // id of a withdrawn key in Config.Revoked
	issued  int64    // Unix seconds
	expires int64    // Unix seconds
	clients []string // see token.Claims.Clients
	why     *Denial  // of an invalid token: what the operator is told
}

// verify takes the token from the cache, or verifies it. For a cached token, expiry and the
// publication of its key are checked again.
func (g *Guard) verify(ctx context.Context, raw string) (verified, error) {
	if g.cache == nil {
		return g.check(ctx, raw)
	}
	if len(raw) > token.MaxSize {
		return verified{why: g.invalidToken(token.ErrMalformed, token.Claims{})}, token.ErrMalformed
	}
	key := hash(raw)
	if v, ok := g.cache.GetIfPresent(key); ok && g.keys.published(v.keyID, v.key) {
		if g.config.Now().Unix() >= v.expires+int64(Leeway/time.Second) {
			return verified{why: g.invalidToken(token.ErrExpired,
					token.Claims{ClientID: v.caller.ClientID, TenantID: v.caller.TenantID, Expires: v.expires})},
				token.ErrExpired
		}
		return v, nil
	}
	v, err := g.check(ctx, raw)
	if err == nil {
		g.cache.Set(key, v)
	}
	return v, err
}

func (g *Guard) check(ctx context.Context, raw string) (verified, error) {
	v, err := g.rules.VerifyKeyed(ctx, raw, g.keys)
	if err != nil {
		return verified{why: g.invalidToken(err, v.Claims)}, err // there are claims if the signature is valid
	}
	entry := revocation.KeyID(v.KeyID)
	return verified{
		caller: mcp.Caller{Subject: v.Subject, TenantID: v.TenantID, ClientID: v.ClientID, GrantID: v.GrantID,
			Scopes: slices.Clip(v.Scopes)},
		jkt:     v.Confirmation.JKT,
		keyID:   entry[len(entry)-len(v.KeyID):],
		key:     v.Key,
		entry:   entry,
		issued:  v.IssuedAt,
		expires: v.Expires,
		clients: v.Clients(),
	}, nil
}

// Ready returns nil if the issuer's keys are known, and fetches them if not.
func (g *Guard) Ready(ctx context.Context) error {
	_, err := g.keys.Key(ctx, "")
	if errors.Is(err, token.ErrUnknownKey) {
		return nil
	}
	return err
}

// Run refreshes the issuer's keys periodically until ctx is done.
func (g *Guard) Run(ctx context.Context) { g.keys.run(ctx) }

// withoutToken removes access tokens from the URL, and the whole query if it cannot be parsed, so
// that they are not sent on. Only anonymous requests come this far with one.
func withoutToken(r *http.Request) *http.Request {
	if r.URL.RawQuery == "" {
		return r
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err == nil && !query.Has("access_token") {
		return r
	}
	query.Del("access_token")
	at := *r.URL
	if at.RawQuery = query.Encode(); err != nil {
		at.RawQuery = ""
	}
	r.URL, r.RequestURI = &at, at.RequestURI()
	return r
}
