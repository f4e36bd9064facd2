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

// Config configures the MCP server. A zero field gets the default that its comment names.
type Config struct {
	// Resource is the canonical URI of this MCP server, which is also its URL and the only accepted
	// audience (RFC 8707 section 2). Required.
	Resource string
	// Issuer is the issuer identifier, byte for byte as the issuer publishes it. Required.
	Issuer string
	// Database holds the data of the demo tools, usage and the rollout modes: "sqlite:PATH" or
	// "postgres://…". Required.
	Database string
	// Redis holds the list of revocations of an issuer in another process, and the used DPoP
	// proofs: "redis://…" or "rediss://…".
	Redis config.Secret
	// RedisPrefix is the prefix of all keys in Redis, the same as the issuer's. Default
	// "gatehouse:".
	RedisPrefix string
	// ClientID and ClientSecret are this server's client at the issuer (gatehouse client create
	// --server URI). With them it reads the list of revocations over HTTP, if it shares no Redis
	// with the issuer, and may introspect tokens.
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
	// Algorithms are the accepted signature algorithms: ES256, RS256, EdDSA. Default ES256.
	Algorithms []string
	// AllowedHosts are the accepted Host headers. Default: the host of the resource; for a loopback
	// host, also its other names.
	AllowedHosts []string
	// AllowedOrigins are the accepted Origin headers. Default: only the resource's own.
	AllowedOrigins []string
	// TokenCacheSize is the number of verified tokens that are cached, each until it expires.
	// Expiry, signing key and revocation are still checked on every request. Default 100,000;
	// negative: none.
	TokenCacheSize int
	// CallsPerMinute limits the requests of one grant at each replica. Default 600; negative: no
	// limit.
	CallsPerMinute int64
	// DocumentsPerMinute limits the requests of one address for the public documents at each
	// replica. Default 600; negative: no limit.
	DocumentsPerMinute int64
	// Registration says who may register clients at the issuer, as configured there: "open",
	// "token" or "closed". The server card shows it. Default "open".
	Registration string
	// RequireDPoP rejects access tokens that are not bound to a key of the client (RFC 9449).
	// Default: both kinds are accepted.
	RequireDPoP bool
	// DPoPNonce says whether DPoP proofs must have a nonce: "required", which needs DPoPNonceKey,
	// or "optional". Default "optional": with a key a nonce is offered, and must be valid if it is
	// sent.
	DPoPNonce string
	// DPoPWindow is how far the iat of a DPoP proof may be from now. Default and maximum: 5
	// minutes.
	DPoPWindow time.Duration
	// DPoPNonceKey is the key of the nonces for DPoP proofs (RFC 9449 section 9): at least 32
	// random characters, the same for all replicas. Default: no nonces; then a proof is protected
	// by being accepted once, at all replicas that share a Redis.
	DPoPNonceKey config.Secret
	// ArgumentsKey is the key of the hash that stands for a call's arguments in records and in the
	// log; see guard.Policy. Default: a key in a file beside an SQLite database; otherwise a random
	// one at each start.
	ArgumentsKey config.Secret
	// TrustedProxies are the networks whose X-Forwarded-For is used. Default: none.
	TrustedProxies []netip.Prefix
	// AuditRetention is how long audit records of this server are kept. Default 400 days, at least
	// a day; negative: forever.
	AuditRetention time.Duration
	// CallRetention is how long records of tool calls are kept. Default 90 days, at least a day;
	// negative: forever.
	CallRetention time.Duration
	// InsecureHTTP allows an http resource or issuer that is not on a loopback host. Then anyone on
	// the network path can read tokens, and replace the issuer's keys.
	InsecureHTTP bool
	// InsecureAllowAnonymous allows requests without a valid token as anonymous, where the rollout
	// mode for anonymous requests is observe: for a server whose clients do not send tokens yet.
	// Everyone who reaches the server can then do what it does for anonymous callers.
	InsecureAllowAnonymous bool
	// InsecureIgnoreRevocations accepts tokens of revoked grants until they expire, if there is
	// neither Redis, nor a client, nor an issuer in this process.
	InsecureIgnoreRevocations bool
}

// The values of Config.RevocationWhenStale.
const (
	WhenStaleRefuse     = "refuse"
	WhenStaleIntrospect = "introspect"
)

// Check returns what is wrong with a configuration, without opening anything.
func (c Config) Check() error {
	_, err := c.resolve()
	return err
}

// InsecureSettings returns the insecure settings that are on.
func (c Config) InsecureSettings() []config.InsecureSetting {
	return config.EnabledSettings(map[config.InsecureSetting]bool{
		{Setting: "insecure-http",
			Risk: "http URLs off this machine are allowed: anyone on the way can read tokens, and put keys of their " +
				"own in place of the issuer's"}: c.InsecureHTTP,
		{Setting: "insecure-allow-anonymous",
			Risk: "requests without a valid token are allowed as anonymous, where the mode for " +
				"anonymous requests is observe"}: c.InsecureAllowAnonymous,
		{Setting: "insecure-ignore-revocations",
			Risk: "tokens of revoked grants may be accepted until they expire"}: c.InsecureIgnoreRevocations,
	})
}

// resolve sets defaults and checks. Its errors name the field and say what to do.
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
			return c, fmt.Errorf("algorithm %q is not supported; use ES256, RS256 or EdDSA", a)
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

// longestStale is the maximum of RevocationStaleAfter: the default lifetime of an access token.
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
			"issuer knows this server")
	}
	return nil
}

// Scope is a scope of the demo tools.
type Scope struct {
	Name        string
	Description string // for the consent page
	Baseline    bool   // requested when a client names no scope
	Access      string // read or write: what the tools with this scope do
}

// Scopes returns the scopes of the demo tools, reading ones first.
func Scopes() []Scope {
	return []Scope{
		{tools.ReadCustomers, "Read your customers' names and e-mail addresses", true, "read"},
		{tools.ReadKnowledge, "Search your organisation's knowledge base", true, "read"},
		{tools.WriteTickets, "Open support tickets in your organisation's name", false, "write"},
		{tools.WriteCustomers, "Change your customers' names and e-mail addresses", false, "write"},
	}
}

// facts are the content of the server card and the metadata.
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
