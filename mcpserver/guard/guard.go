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

// Config is what a guard needs to know. Fields that are zero get the value that their comment
// names.
type Config struct {
	// Issuer is the issuer identifier, byte for byte. Required.
	Issuer string
	// Resource is the canonical URI of the protected server: the only audience that is accepted
	// (RFC 8707 §2). Required.
	Resource string
	// Revoked knows which grants, clients and tenants were revoked or suspended, and which signing
	// keys were withdrawn. It is asked on every request, so it should answer from memory, as a
	// revocation.Replica does. Default: none. Then a revoked grant, a suspended client or tenant is
	// not noticed until its access tokens expire (exp), and a withdrawn key not before the key set
	// is fetched again.
	Revoked revocation.Reader
	// WhenUnknown asks the issuer about a token when Revoked does not know, about 32 tokens at
	// once; a request beyond that is answered 503. Default: such a request is answered 503.
	WhenUnknown *Introspection
	// Algorithms of signatures that are believed. Default ES256.
	Algorithms []string
	// Baseline are the scopes that a 401 challenge names.
	Baseline []string
	// JWKSURL is where the issuer's keys are. Default: as the issuer's metadata say (RFC 8414 §2).
	JWKSURL string
	// AllowedHosts are the Host headers that are answered. Default: the resource's host and, on a
	// loopback host, its other names.
	AllowedHosts []string
	// AllowedOrigins are the Origin headers that are answered, beside the resource's own.
	AllowedOrigins []string
	// CacheSize bounds how many verified tokens are remembered, each until it expires. Its expiry,
	// its key and its grant are checked on every request all the same. Default 100,000, about half
	// a kilobyte each; negative: none is.
	CacheSize int
	// RequireDPoP refuses tokens that are not bound to a key of their client's (RFC 9449). Default:
	// both kinds are taken, each by its own scheme.
	RequireDPoP bool
	// DPoPNonceKey makes the nonces that are offered for DPoP proofs, and that those who have one
	// must have (RFC 9449 §9): 32 characters at least, the same at each replica. Whoever knows it
	// can make proofs ahead of time, with a key that they have. Default: none is offered.
	DPoPNonceKey config.Secret
	// DPoPNonceRequired refuses proofs without a nonce; it needs the key. Default: a nonce is
	// offered and not demanded, because clients in the field know none.
	DPoPNonceRequired bool
	// DPoPWindow is how far the iat of a proof may be from now. Default 5 minutes, and not more.
	DPoPWindow time.Duration
	// UsedProofs remembers the DPoP proofs of the last minutes, so that none counts twice; replicas
	// share one. Default: memory of this process.
	UsedProofs ttl.Store
	// PublishedKeys returns the issuer's key set (RFC 7517 section 5) where the issuer runs in this
	// process: a key that is not known is looked up there, without a request. Default: it is
	// fetched from the issuer.
	PublishedKeys func() []byte
	// HTTPClient fetches metadata and keys. Default: 5 seconds at most, no redirects.
	HTTPClient *http.Client
	Now        func() time.Time // default time.Now
	Log        *slog.Logger     // default: nothing is logged
}

// Leeway is how far apart the issuer's clock and ours may be.
const Leeway = 30 * time.Second

// Guard checks requests. It is safe for concurrent use.
type Guard struct {
	config   Config
	rules    token.Rules
	keys     *keys
	cache    *cache // nil: none
	proofs   *dpop.Checker
	asking   singleflight.Group[bool] // the issuer, about a token by its hash
	asked    *limit.InFlight          // limits those questions
	origin   string                   // of the resource, as clients know it
	hosts    httpd.Hosts
	origins  map[string]bool
	metadata string // the URL that challenges name
	baseline atomic.Pointer[[]string]
}

// New makes a guard. It fetches nothing yet.
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
	if c.UsedProofs == nil { // what is remembered begins now
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
	g.asking.Max, g.asking.Timeout = mostIntrospections, introspectTime
	g.asked = limit.NewInFlight(mostIntrospections, mostOfOne)
	if c.DPoPNonceKey != "" {
		g.proofs.Nonces = &dpop.Nonces{Key: []byte(c.DPoPNonceKey.Reveal())}
	}
	if c.CacheSize > 0 {
		g.cache = newCache(c.CacheSize, c.Now)
	}
	g.allow(uri)
	return g, nil
}

// SetBaseline puts other scopes in place of Config.Baseline, from the next request on.
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
		c.UsedProofs = ttl.NewMemory(ttl.Options{Now: c.Now, MaxEntries: mostProofs})
	}
	if c.HTTPClient == nil {
		c.HTTPClient = &http.Client{Timeout: fetchTime}
	}
	client := *c.HTTPClient // a copy: redirects are refused whoever made it
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.HTTPClient = &client
}

// allow fills the allow-lists, and says which origin proofs are made for.
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

// hostOf cuts the port off.
func hostOf(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		return host[:i]
	}
	return host
}

// Protect lets requests of known callers through to next, and answers all others.
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

// Wrap is Protect for a handler that finds its caller with CallerOf: anybody's MCP server.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return g.Protect(func(w http.ResponseWriter, r *http.Request, c mcp.Caller) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

type callerKey struct{}

// CallerOf finds the caller of a request that came through Wrap. Handlers of other libraries take
// no further argument, so the context carries it for them; our own get it as a value.
func CallerOf(ctx context.Context) (mcp.Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(mcp.Caller)
	return c, ok
}

// checkSource holds Host and Origin against the allow-lists, before anything else: a page of
// another site must not reach a server on somebody's own machine through their browser, nor by a
// name of its own that leads here.
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

// errNoToken is the answer to a request without credentials: a challenge that names no error (RFC
// 6750 §3.1).
var errNoToken = &oauth.Error{Description: "send an access token of this server's issuer as Authorization: Bearer",
	Status: http.StatusUnauthorized}

// presented is a token as a request shows it.
type presented struct {
	raw  string
	dpop bool // by the scheme that needs a proof (RFC 9449 §7.1)
}

// present reads the one token of a request (RFC 6750 §2.1, RFC 9449 §7.1). A token in the URL or in
// a body is no token; beside one in the header it is an error.
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
		if err != nil { // in what cannot be read to its end, a second token could be
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

// isToken68 says whether a text can be a bearer token (RFC 6750 §2.1, b64token). Every request asks
// it of a long one, so it reads bytes.
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

// believe believes a token, whoever shows it, or says what to answer.
func (g *Guard) authenticate(ctx context.Context, raw string) (verified, *oauth.Error) {
	v, err := g.verify(ctx, raw)
	switch {
	case errors.Is(err, token.ErrKeysUnavailable):
		httpd.Note(ctx, "error", err)
		return verified{}, oauth.TemporarilyUnavailable() // not the token's fault
	case errors.Is(err, token.ErrUnknownKey):
		httpd.Note(ctx, "error", err)
		return verified{why: g.invalidToken(err, token.Claims{})}, oauth.InvalidToken(token.ErrUnknownKey.Error())
	case err != nil:
		return verified{why: v.why}, oauth.InvalidToken(err.Error()) // one of package token's sentences
	}
	ended, withdrawn, err := g.revoked(ctx, v)
	switch {
	case ended:
		return verified{why: revokedGrant(v.caller)}, errEnded
	case withdrawn: // sooner than the key set says it
		return verified{why: g.invalidToken(token.ErrUnknownKey, token.Claims{})},
			oauth.InvalidToken(token.ErrUnknownKey.Error())
	case err != nil:
		return g.ask(ctx, raw, v, err)
	}
	return v, nil
}

// revoked asks the list about a token: whether its grant is revoked or one of its clients or its
// tenant suspended, and whether its key was withdrawn. An error means that the list does not know.
func (g *Guard) revoked(ctx context.Context, v verified) (ended, withdrawn bool, err error) {
	list := g.config.Revoked
	ended, err = list.Ended(ctx, v.caller.GrantID)
	withdrawn, keyErr := list.Ended(ctx, v.entry)
	ended = ended || list.Suspended(revocation.Tenant(v.caller.TenantID), v.issued)
	for _, id := range v.clients {
		ended = ended || list.Suspended(revocation.Client(id), v.issued)
	}
	return ended, withdrawn, cmp.Or(err, keyErr)
}

// ask asks the issuer about a token whose grant may have ended, as unknown says: once for all
// requests that show it while the question is under way, so an end counts as late as one question
// takes. Without anybody to ask, and when as many questions are under way as may be, it fails
// closed.
func (g *Guard) ask(ctx context.Context, raw string, v verified, unknown error) (verified, *oauth.Error) {
	if g.config.WhenUnknown == nil {
		httpd.Note(ctx, "error", unknown)
		return verified{}, oauth.TemporarilyUnavailable()
	}
	httpd.Note(ctx, "introspected", true)
	key := hash(raw)
	active, err := g.asking.Do(ctx, string(key[:]), func(ctx context.Context) (bool, error) {
		leave, ok := g.asked.Enter(limit.Party{Tenant: v.caller.TenantID})
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
		return verified{why: revokedGrant(v.caller)}, errEnded
	}
	return v, nil
}

var errEnded = oauth.InvalidToken("the permission behind the access token has ended")

// verified is a believed token.
type verified struct {
	caller  mcp.Caller
	jkt     string // thumbprint of the key that must be proved with it; empty: none
	keyID   string
	key     any      // the public key that verified it
	entry   string   // what the list of ended grants calls the key when it was withdrawn
	issued  int64    // Unix seconds
	expires int64    // Unix seconds
	clients []string // see token.Claims.Clients
	why     *Denial  // of one that is not believed: what the operator is told
}

// verify looks the token up, or checks it. A remembered one still needs its key to be published and
// its time not to be over.
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
		return verified{why: g.invalidToken(err, v.Claims)}, err // the claims are there when the issuer has signed them
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

// Ready says whether the issuer's keys are known, and fetches them if not.
func (g *Guard) Ready(ctx context.Context) error {
	_, err := g.keys.Key(ctx, "")
	if errors.Is(err, token.ErrUnknownKey) {
		return nil
	}
	return err
}

// Run fetches the issuer's keys anew from time to time, until ctx ends.
func (g *Guard) Run(ctx context.Context) { g.keys.run(ctx) }

// withoutToken takes access tokens out of the URL, and the whole query if one could be in what
// cannot be read of it: they are none, and nobody may send them on. Only requests of nobody's come
// so far with one.
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
