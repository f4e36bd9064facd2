package cli

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/flags"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// settings are read by every command, so that one file serves them all.
type settings struct {
	dataDir               string
	issuer                string
	issuerListen          string
	resource              string
	resourceListen        string
	database              config.Secret // may have a password
	redis                 config.Secret
	redisPrefix           string
	keyEncryptionKey      config.Secret
	keyKept               bool // in the data folder, and not given
	keyTurning            bool // an earlier change of it was interrupted
	algorithm             string
	accessTokenLifetime   time.Duration
	trustedProxies        []string
	issuerHosts           []string
	allowedHosts          []string
	allowedOrigins        []string
	revocationStaleAfter  time.Duration
	requireDPoP           bool
	metricsListen         string
	issuerMetricsListen   string
	callsPerMinute        int64
	tokenCacheSize        int
	callRetention         time.Duration
	allowAnonymous        bool
	insecureHTTP          bool
	resourcesFile         string
	registration          string
	metadataDocuments     bool
	metadataDocumentHosts []string
	demo                  bool
	logLevel              string
	shutdownDelay         time.Duration // see flags.ShutdownDelayVar

	auth      authserver.Config     // lifetimes and limits
	proxies   []netip.Prefix        // trustedProxies, parsed by validate
	resources []authserver.Resource // resourcesFile, read by validate; empty: the built-in tools alone
}

// register defines the settings as flags.
func (s *settings) register(fs *pflag.FlagSet) {
	fs.String("config", "", "YAML file of settings with the names of the flags; flags and environment win over it")
	fs.StringVar(&s.dataDir, "data-dir", "./data", "folder with the data of the program; it is created if missing")
	flags.URLVar(fs, &s.issuer, "issuer",
		"issuer identifier, as agents and people reach it; it is in every token and must not change (default "+
			"http://localhost and the port of --issuer-listen)")
	fs.StringVar(&s.issuerListen, "issuer-listen", "127.0.0.1:8080",
		"address on which the authorization server listens; without it that of --issuer, where that is http on this "+
			"machine")
	flags.URLVar(fs, &s.resource, "resource",
		"URL of the MCP server, as agents reach it; the aud of tokens (default http://localhost, the port of "+
			"--resource-listen, /mcp)")
	fs.StringVar(&s.resourceListen, "resource-listen", "127.0.0.1:8081",
		"address on which the MCP server listens; without it that of --resource, where that is http on this machine")
	flags.SecretVar(fs, &s.database, "database",
		"database, as postgres://… or sqlite:PATH (default gatehouse.db in the data folder)")
	flags.SecretVar(fs, &s.redis, "redis",
		"redis:// or rediss:// URL, which several replicas need to share (default memory of this process)")
	fs.StringVar(&s.redisPrefix, "redis-prefix", "gatehouse:", "prefix of every key in Redis")
	flags.SecretVar(fs, &s.keyEncryptionKey, "key-encryption-key",
		"32 random bytes in base64 that encrypt the signing keys; required with PostgreSQL (default a file in "+
			"the data folder, created once)")
	flags.SecretVar(fs, &s.auth.PreviousKeyEncryptionKey, "previous-key-encryption-key",
		"the previous key, or several, comma-separated, until "+Name+" key reseal has re-encrypted everything")
	fs.StringVar(&s.algorithm, "resource-algorithm", "ES256",
		"signing algorithm of access tokens: ES256, RS256 or EdDSA")
	fs.DurationVar(&s.accessTokenLifetime, "access-token-lifetime", 10*time.Minute,
		"lifetime of an access token, at most 1h")
	s.auth.RegisterFlags(fs)
	flags.ListVar(fs, &s.trustedProxies, "trusted-proxies",
		"networks whose X-Forwarded-For is trusted, comma-separated (default none)")
	flags.ListVar(fs, &s.issuerHosts, "issuer-hosts",
		"Host names that the issuer's pages accept beside the host of --issuer, comma-separated (default none)")
	flags.ListVar(fs, &s.allowedHosts, "allowed-hosts",
		"Host names that the MCP server accepts, comma-separated (default the host of --resource)")
	flags.ListVar(fs, &s.allowedOrigins, "allowed-origins",
		"web origins whose pages may call the MCP server, comma-separated (default none)")
	fs.DurationVar(&s.revocationStaleAfter, "revocation-stale-after", 10*time.Second,
		"time for which the list of revoked grants in Redis is used after it was last known to be complete; then "+
			"the MCP server answers 503")
	fs.Int64Var(&s.callsPerMinute, "calls-per-minute", 600,
		"number of requests of one grant that the MCP server accepts in a minute, at each replica; negative: no limit")
	s.callRetention = 90 * 24 * time.Hour
	flags.OptionalDurationVar(fs, &s.callRetention, "call-retention",
		"how long records of tool calls are kept, at least 24h; 0: forever")
	fs.IntVar(&s.tokenCacheSize, "token-cache-size", 100_000,
		"number of verified tokens that the MCP server caches until they expire, so that their signatures are "+
			"verified once; negative: none")
	fs.BoolVar(&s.requireDPoP, "require-dpop", false,
		"the MCP server rejects access tokens that are not bound to a key of their client (RFC 9449)")
	fs.StringVar(&s.metricsListen, "metrics-listen", "",
		"address of the MCP server's /metrics, which need no authentication (default none)")
	fs.StringVar(&s.issuerMetricsListen, "issuer-metrics-listen", "",
		"address of the authorization server's /metrics, which need no authentication (default none)")
	fs.BoolVar(&s.allowAnonymous, "insecure-allow-anonymous", false,
		"accept requests without a valid token where the rollout mode of anonymous requests is observe: everyone who "+
			"reaches the MCP server can then call the tools that are open to anonymous requests")
	fs.BoolVar(&s.insecureHTTP, "insecure-http", false,
		"allow http URLs off this machine: tokens and passwords can then be read on the network")
	fs.StringVar(&s.resourcesFile, "resources", "",
		"JSON file of all MCP servers for which tokens are issued, as for authserver (default the one at --resource)")
	fs.StringVar(&s.registration, "registration", "open",
		"who may register clients: open (anyone), token (with an initial access token) or closed")
	fs.BoolVar(&s.metadataDocuments, "client-metadata-documents", true,
		"accept clients whose https client_id is the URL of a client metadata document, which is fetched from public "+
			"addresses only")
	flags.ListVar(fs, &s.metadataDocumentHosts, "insecure-client-metadata-document-hosts",
		"hosts whose client metadata documents may be at private addresses, comma-separated: for development")
	fs.BoolVar(&s.demo, "demo", true,
		"fill an empty store with two tenants, people and data to try out; needs to be given when --issuer or "+
			"--resource is off this machine")
	flags.ShutdownDelayVar(fs, &s.shutdownDelay)
	fs.StringVar(&s.logLevel, "log-level", "info", "level of the log: debug, info, warn or error")
}

// embedded reports whether the database is an SQLite file.
func (s *settings) embedded() bool {
	return s.database == "" || strings.HasPrefix(s.database.Reveal(), "sqlite:")
}

// validate checks the settings, and parses those that have a form of their own.
func (s *settings) validate() error {
	dir, err := filepath.Abs(s.dataDir)
	if err != nil {
		return usageError("name it with --data-dir", fmt.Errorf("finding the data directory: %w", err))
	}
	s.dataDir = dir
	database := s.database.Reveal()
	if !s.embedded() && !strings.HasPrefix(database, "postgres://") && !strings.HasPrefix(database, "postgresql://") {
		return usageError("give it as postgres://user@host/name or sqlite:PATH",
			errors.New("database is of an unknown kind"))
	}
	if s.proxies, err = config.Networks(strings.Join(s.trustedProxies, ",")); err != nil {
		return usageError("correct --trusted-proxies", fmt.Errorf("trusted-proxies: %w", err))
	}
	if s.resourcesFile != "" {
		if s.resources, err = authserver.ReadResources(s.resourcesFile); err != nil {
			return usageError("correct the file that --resources names", err)
		}
	}
	if err := s.checkURL("issuer", s.issuer); err != nil {
		return err
	}
	return s.checkURL("resource", s.resource)
}

// fillURLs derives the URLs that are not set from the addresses on which the servers listen.
func (s *settings) fillURLs() {
	if s.issuer == "" {
		s.issuer = localURL(s.issuerListen, "")
	}
	if s.resource == "" {
		s.resource = localURL(s.resourceListen, "/mcp")
	}
}

// localURL returns the URL of a listening address for a person at this machine.
func localURL(listen, path string) string {
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		port = "0"
	}
	return "http://localhost:" + port + path
}

func (s *settings) checkURL(name, value string) error {
	if value == "" {
		return nil
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return usageError("give it as https://mcp.example.com/mcp",
			fmt.Errorf("%s %q is not an http(s) URL", name, value))
	}
	if err := oauth.CheckPlain(value); err != nil {
		return usageError("clients compare it byte for byte", fmt.Errorf("%s %q %w", name, value, err))
	}
	host := u.Hostname()
	if ip, err := netip.ParseAddr(host); u.Scheme == "http" && host != "localhost" &&
		(err != nil || !ip.IsLoopback()) && !s.insecureHTTP {
		return usageError("use https; --insecure-http allows it, and then tokens and passwords can be read on the "+
			"network",
			fmt.Errorf("%s %q is plain http on a host that is not this machine", name, value))
	}
	return nil
}

// issuerDatabase is the authorization server's database, and toolsDatabase the MCP server's. In
// PostgreSQL they are one.
func (s *settings) issuerDatabase() string {
	if s.database == "" {
		return "sqlite:" + s.issuerPath()
	}
	return s.database.Reveal()
}

func (s *settings) toolsDatabase() string {
	if s.embedded() {
		return "sqlite:" + s.toolsPath()
	}
	return s.database.Reveal()
}

// issuerPath is the file of the authorization server's SQLite database, and toolsPath that of the
// MCP server's.
func (s *settings) issuerPath() string {
	if path, ok := strings.CutPrefix(s.database.Reveal(), "sqlite:"); ok {
		return path
	}
	return filepath.Join(s.dataDir, "gatehouse.db")
}

func (s *settings) toolsPath() string { return filepath.Join(s.dataDir, "companion.db") }

// authConfig is the authorization server's configuration.
func (s *settings) authConfig() authserver.Config {
	resource := authserver.Resource{URI: s.resource, Name: "Gatehouse companion tools", Algorithm: s.algorithm,
		AccessTokenLifetime: s.accessTokenLifetime}
	// It is the only MCP server here: clients that leave its path away, or add a slash, mean it.
	if u, err := url.Parse(s.resource); err == nil && strings.Trim(u.Path, "/") != "" {
		resource.Aliases = []string{u.Scheme + "://" + u.Host, s.resource + "/"}
	}
	for _, scope := range mcpserver.Scopes() {
		resource.Scopes = append(resource.Scopes, authserver.Scope{Name: scope.Name, Description: scope.Description,
			Baseline: scope.Baseline, Access: scope.Access})
	}
	resources := s.resources
	if len(resources) == 0 {
		resources = []authserver.Resource{resource}
	}
	c := s.auth
	c.Issuer, c.Database, c.Redis, c.RedisPrefix = s.issuer, s.issuerDatabase(), s.redis, s.redisPrefix
	c.KeyEncryptionKey, c.Resources, c.AccessTokenLifetime = s.keyEncryptionKey, resources, s.accessTokenLifetime
	c.TrustedProxies, c.InsecureHTTP, c.Hosts = s.proxies, s.insecureHTTP, s.issuerHosts
	c.Registration, c.RefuseClientMetadataDocuments = s.registration, !s.metadataDocuments
	c.InsecureClientMetadataDocumentHosts = s.metadataDocumentHosts
	return c
}

// mcpConfig is the MCP server's configuration.
func (s *settings) mcpConfig() mcpserver.Config {
	return mcpserver.Config{
		Resource: s.resource, Issuer: s.issuer, Database: s.toolsDatabase(), Redis: s.redis, RedisPrefix: s.redisPrefix,
		Algorithms: []string{s.algorithm}, AllowedHosts: s.allowedHosts, AllowedOrigins: s.allowedOrigins,
		TrustedProxies: s.proxies, InsecureHTTP: s.insecureHTTP, RequireDPoP: s.requireDPoP,
		DPoPNonce: s.auth.DPoPNonce, DPoPWindow: s.auth.DPoPWindow, Registration: s.registration,
		RevocationStaleAfter: s.revocationStaleAfter, InsecureAllowAnonymous: s.allowAnonymous,
		AuditRetention: s.auth.AuditRetention, CallsPerMinute: s.callsPerMinute, TokenCacheSize: s.tokenCacheSize,
		CallRetention: s.callRetention,
	}
}

// scopeNames are the scopes of the built-in tools.
func (s *settings) scopeNames() []string {
	var names []string
	for _, scope := range mcpserver.Scopes() {
		names = append(names, scope.Name)
	}
	return names
}
