package mcpserver

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/card"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/tools"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

// Config is what the operator says. Fields that are zero get the value that their comment names.
type Config struct {
	// Resource is the canonical URI of this MCP server, which is also its URL and the only audience
	// it accepts (RFC 8707 §2). Required.
	Resource string
	// Issuer is the issuer identifier, byte for byte as the issuer publishes it. Required.
	Issuer string
	// Database holds the companion tools' data, usage and the rollout's modes: "sqlite:PATH" or
	// "postgres://…". Required.
	Database string
	// Redis holds the list of ended grants, which is followed when the issuer runs elsewhere, and
	// which DPoP proofs were used: "redis://…" or "rediss://…".
	Redis config.Secret
	// RedisPrefix begins every key in Redis; the same as the issuer's. Default "gatehouse:".
	RedisPrefix string
	// ClientID and ClientSecret are the client that this server is at the issuer (gatehouse client
	// create --server URI). With them it follows the list of ended grants over HTTP, when it shares
	// no Redis with the issuer, and may ask about tokens.
	ClientID     string
	ClientSecret config.Secret
	// RevocationPollInterval is how often the list of revoked grants is fetched from the issuer
	// over HTTP, and the longest delay until their tokens are rejected. Default 2 seconds. From
	// Redis it is read four times a second.
	RevocationPollInterval time.Duration
	// RevocationStaleAfter is how long the list of revoked grants is used after it was last known
	// to be complete. Default 10 seconds.
	RevocationStaleAfter time.Duration
	// RevocationWhenStale says what happens then: WhenStaleRefuse (503), or WhenStaleIntrospect
	// (each token is introspected at the issuer, RFC 7662). Default WhenStaleRefuse.
	RevocationWhenStale string
	// Algorithms of tokens' signatures: ES256, RS256, EdDSA. Default ES256.
	Algorithms []string
	// AllowedHosts are the Host headers that are answered. Default: the resource's host and, on a
	// loopback host, its other names.
	AllowedHosts []string
	// AllowedOrigins are the Origin headers of browsers that are answered. Default: none but the
	// resource's own.
	AllowedOrigins []string
	// TokenCacheSize bounds how many verified tokens are remembered, each until it expires, so that
	// its signature is not checked again; its expiry, its key and its grant are, on every request.
	// Default 100,000; negative: none is.
	TokenCacheSize int
	// CallsPerMinute bounds the requests of one grant, at each replica. Default 600; negative: no
	// bound.
	CallsPerMinute int64
	// DocumentsPerMinute bounds how often one address may ask for the card and the other documents,
	// at each replica. Default 600; negative: no bound.
	DocumentsPerMinute int64
	// Registration is who may register clients at the issuer, as the issuer has it: "open",
	// "token", "closed". Only the older card speaks of it. Default "open".
	Registration string
	// RequireDPoP refuses access tokens that are not bound to a key of their client's (RFC 9449).
	// Default: both kinds are taken.
	RequireDPoP bool
	// DPoPNonce says whether DPoP proofs must have a nonce: "required", which needs the key, or
	// "optional". Default optional: one is offered, if there is a key, and must be good when it
	// comes.
	DPoPNonce string
	// DPoPWindow is how far the iat of a DPoP proof may be from now. Default 5 minutes, and not
	// more.
	DPoPWindow time.Duration
	// DPoPNonceKey makes the nonces that are offered for DPoP proofs (RFC 9449 §9): at least 32
	// random characters, the same at each replica. Default: none is asked for, and what protects is
	// that each proof counts once, for a minute, at all replicas that share a Redis.
	DPoPNonceKey config.Secret
	// ArgumentsKey names the arguments of a tool's call in its record and in the log, by a keyed
	// hash; see guard.Policy. Default: made once, in a file beside a database that is one;
	// otherwise the names change with each start.
	ArgumentsKey config.Secret
	// TrustedProxies are the addresses whose X-Forwarded-For is believed. Default none.
	TrustedProxies []netip.Prefix
	// AuditRetention is how long audit lines of this wing are kept. Default 400 days, at least a
	// day; negative means for ever.
	AuditRetention time.Duration
	// CallRetention is how long records of tools' calls are kept. Default 90 days, at least a day;
	// negative: for ever.
	CallRetention time.Duration
	// InsecureHTTP allows an http resource or issuer that is not on a loopback host: then anyone on
	// the way can read tokens, and put keys of their own in place of the issuer's.
	InsecureHTTP bool
	// InsecureAllowAnonymous lets requests without a good token pass, as nobody, where the
	// rollout's mode for nobody is observe: for a server that has callers without tokens, while
	// they learn to bring them. Whoever reaches the server can then do what it does for nobody.
	InsecureAllowAnonymous bool
	// InsecureIgnoreRevocations lets tokens of ended grants act until they expire, when there is
	// neither Redis, nor a client, nor an issuer in this process.
	InsecureIgnoreRevocations bool
}

// The values of Config.RevocationWhenStale.
const (
	WhenStaleRefuse     = "refuse"
	WhenStaleIntrospect = "introspect"
)

// Check says what is wrong with a configuration, if something is, and opens nothing.
func (c Config) Check() error {
	_, err := c.resolve()
	return err
}

// Relaxations are those that the configuration has.
func (c Config) Relaxations() []config.Relaxation {
	return config.Relaxed(map[config.Relaxation]bool{
		{Setting: "insecure-http",
			Means: "http URLs off this machine are allowed: anyone on the way can read tokens, and put keys of their " +
				"own in place of the issuer's"}: c.InsecureHTTP,
		{Setting: "insecure-allow-anonymous",
			Means: "requests without a good token pass as nobody, where the mode for nobody is " +
				"observe"}: c.InsecureAllowAnonymous,
		{Setting: "insecure-ignore-revocations",
			Means: "ended grants may not be looked up: their tokens act until " +
				"they expire"}: c.InsecureIgnoreRevocations,
	})
}

// resolve fills and checks. The error names the field and what to do.
func (c Config) resolve() (Config, error) {
	uri, err := oauth.PlainResource(c.Resource)
	if err != nil {
		return c, fmt.Errorf("resource %q is %w; give it as https://mcp.example.com/mcp", c.Resource, err)
	}
	if uri != c.Resource {
		return c, fmt.Errorf("resource %q is not in its plain form (RFC 8707 section 2); give it as %s",
			c.Resource, uri)
	}
	if strings.Contains(c.Resource, "?") {
		return c, fmt.Errorf("resource %q has a query, which an MCP server's URL does not", c.Resource)
	}
	if c.Issuer == "" {
		return c, errors.New("issuer is not set; give the issuer identifier, as https://auth.example.com")
	}
	if err := oauth.CheckPlain(c.Issuer); err != nil {
		return c, fmt.Errorf("issuer %q %w", c.Issuer, err)
	}
	for name, value := range map[string]string{"resource": c.Resource, "issuer": c.Issuer} {
		u, err := url.Parse(value)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return c, fmt.Errorf("%s %q is not an http(s) URL", name, value)
		}
		if u.Scheme == "http" && !config.ThisMachine(u.Hostname()) && !c.InsecureHTTP {
			return c, fmt.Errorf("%s %q is plain http on a host that is not this machine; use https, or insecure-http",
				name, value)
		}
	}
	if c.Database == "" {
		return c, errors.New("database is not set; give sqlite:PATH or postgres://…")
	}
	if c.AuditRetention == 0 {
		c.AuditRetention = 400 * 24 * time.Hour
	}
	if c.AuditRetention >= 0 && c.AuditRetention < 24*time.Hour {
		return c, fmt.Errorf("audit retention %s is shorter than a day", c.AuditRetention)
	}
	if c.CallRetention > 0 && c.CallRetention < 24*time.Hour {
		return c, fmt.Errorf("call retention %s is shorter than a day", c.CallRetention)
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = []string{"ES256"}
	}
	for _, a := range c.Algorithms {
		if !slices.Contains([]string{"ES256", "RS256", "EdDSA"}, a) {
			return c, fmt.Errorf("algorithm %q is not believed; use ES256, RS256 or EdDSA", a)
		}
	}
	if err := c.resolveRevocation(); err != nil {
		return c, err
	}
	if c.DPoPNonce != "" && c.DPoPNonce != dpop.NonceOptional && c.DPoPNonce != dpop.NonceRequired {
		return c, fmt.Errorf("dpop-nonce is %q, expected %s or %s", c.DPoPNonce, dpop.NonceRequired, dpop.NonceOptional)
	}
	if c.CallsPerMinute == 0 {
		c.CallsPerMinute = 600
	}
	if c.DocumentsPerMinute == 0 {
		c.DocumentsPerMinute = 600
	}
	if c.RedisPrefix == "" {
		c.RedisPrefix = "gatehouse:"
	}
	return c, nil
}

// longestStale bounds how long a list may count that nobody can vouch for: an access token lives
// that long by default.
const longestStale = 10 * time.Minute

func (c *Config) resolveRevocation() error {
	if c.RevocationPollInterval == 0 {
		c.RevocationPollInterval = 2 * time.Second
	}
	if c.RevocationStaleAfter == 0 {
		c.RevocationStaleAfter = revocation.DefaultStaleAfter
	}
	if c.RevocationWhenStale == "" {
		c.RevocationWhenStale = WhenStaleRefuse
	}
	switch {
	case (c.ClientID == "") != (c.ClientSecret == ""):
		return errors.New("client-id and client-secret go together; gatehouse client create --server prints both")
	case c.RevocationStaleAfter < time.Second || c.RevocationStaleAfter > longestStale:
		return fmt.Errorf("revocation-stale-after %s is not between 1s and %s", c.RevocationStaleAfter, longestStale)
	case c.Redis == "" && c.ClientID != "" && (c.RevocationPollInterval < 100*time.Millisecond ||
		c.RevocationPollInterval >= c.RevocationStaleAfter):
		return fmt.Errorf("revocation-poll-interval %s is not between 100ms and revocation-stale-after, which is %s",
			c.RevocationPollInterval,
			c.RevocationStaleAfter)
	case c.RevocationWhenStale != WhenStaleRefuse && c.RevocationWhenStale != WhenStaleIntrospect:
		return fmt.Errorf("revocation-when-stale %q is not refuse or introspect", c.RevocationWhenStale)
	case c.RevocationWhenStale == WhenStaleIntrospect && c.ClientID == "":
		return errors.New("revocation-when-stale introspect needs client-id and client-secret, by which the " +
			"issuer knows " +
			"this server")
	}
	return nil
}

// Scope is a scope of the companion tools.
type Scope struct {
	Name        string
	Description string // in plain words, for the consent page
	Baseline    bool   // asked for when a client names no scope
	Access      string // read or write: what the tools do that it opens
}

// Scopes are the companion tools' scopes, the gentle ones first.
func Scopes() []Scope {
	return []Scope{
		{tools.ReadCustomers, "Read your customers' names and e-mail addresses", true, "read"},
		{tools.ReadKnowledge, "Search your organisation's knowledge base", true, "read"},
		{tools.WriteTickets, "Open support tickets in your organisation's name", false, "write"},
		{tools.WriteCustomers, "Change your customers' names and e-mail addresses", false, "write"},
	}
}

// facts are what the cards say.
func facts(c Config) card.Facts {
	f := card.Facts{
		Resource: c.Resource, Issuer: c.Issuer, Name: serverName, Title: serverTitle, Version: Version,
		Description: serverDescription,
		Protocols:   protocols(), CanRegister: c.Registration == "" || c.Registration == "open",
		RequireDPoP: c.RequireDPoP,
	}
	for _, s := range Scopes() {
		f.Scopes = append(f.Scopes, card.Scope{Name: s.Name, Description: s.Description, Baseline: s.Baseline})
	}
	return f
}
