package cli

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// settings are the words that every command reads, so that one file serves them all.
type settings struct {
	dataDir               string
	issuer                string
	issuerListen          string
	resource              string
	resourceListen        string
	database              config.Secret // may hold a password
	redis                 config.Secret
	redisPrefix           string
	keyEncryptionKey      config.Secret
	keyKept               bool // in the data folder, and not given
	keyTurning            bool // a change of it was cut short
	algorithm             string
	accessTokenLifetime   time.Duration
	trustedProxies        string
	issuerHosts           string
	allowedHosts          string
	allowedOrigins        string
	revocationStaleAfter  time.Duration
	requireDPoP           bool
	metricsListen         string
	callsPerMinute        int64
	tokenCacheSize        int
	callRetention         time.Duration
	allowAnonymous        bool
	insecureHTTP          bool
	resourcesFile         string
	registration          string
	metadataDocuments     bool
	metadataDocumentHosts string
	demo                  bool
	logLevel              string
	shutdownDelay         time.Duration // see httpd.RegisterDelay

	lives     authserver.Config     // how long things live, and how many there may be
	proxies   []netip.Prefix        // trustedProxies, read by check
	resources []authserver.Resource // resourcesFile, read by check; empty: the companion tools alone
}

// register says what may be said. The table in docs/reference/settings.md is these lines.
func (s *settings) register(fs *flag.FlagSet) {
	fs.String("config", "", "YAML `file` of settings, by the names of the flags; flags and environment win over it")
	fs.StringVar(&s.dataDir, "data-dir", "./data",
		"`folder` of everything that the program keeps; made when it is not there")
	fs.StringVar(&s.issuer, "issuer", "",
		"issuer `URL`, as agents and people reach it (default http://localhost and the port of --issuer-listen)")
	fs.StringVar(&s.issuerListen, "issuer-listen", "127.0.0.1:8080", "`address` on which the issuer listens")
	fs.StringVar(&s.resource, "resource", "",
		"MCP `URL`, as agents reach it (default http://localhost, the port of --resource-listen, /mcp)")
	fs.StringVar(&s.resourceListen, "resource-listen", "127.0.0.1:8081", "`address` on which the MCP server listens")
	config.SecretVar(fs, &s.database, "database",
		"`where` everything is kept that must not be lost: postgres://… or sqlite:PATH (default gatehouse.db in the "+
			"data folder)")
	config.SecretVar(fs, &s.redis, "redis",
		"redis:// or rediss:// `URL` of short memory that several replicas share (default memory of this process)")
	fs.StringVar(&s.redisPrefix, "redis-prefix", "gatehouse:", "`prefix` of every key in Redis")
	config.SecretVar(fs, &s.keyEncryptionKey, "key-encryption-key",
		"32 random bytes in `base64` that seal the signing keys; required with PostgreSQL (default a file in the "+
			"data folder, made once)")
	config.SecretVar(fs, &s.lives.PreviousKeyEncryptionKey, "previous-key-encryption-key",
		"the `key` of before, or several, comma-separated, until "+Name+
			" key reseal has brought everything under the new one")
	fs.StringVar(&s.algorithm, "resource-algorithm", "ES256", "`algorithm` of access tokens: ES256, RS256 or EdDSA")
	fs.DurationVar(&s.accessTokenLifetime, "access-token-lifetime", 10*time.Minute,
		"`lifetime` of an access token, at most 1h")
	s.lives.RegisterFlags(fs)
	fs.StringVar(&s.trustedProxies, "trusted-proxies", "",
		"`networks` whose X-Forwarded-For is believed, comma-separated (default none)")
	fs.StringVar(&s.issuerHosts, "issuer-hosts", "",
		"Host `names` to which the issuer's pages answer beside the host of --issuer, comma-separated (default none)")
	fs.StringVar(&s.allowedHosts, "allowed-hosts", "",
		"Host `names` that the MCP server answers to, comma-separated (default the host of --resource)")
	fs.StringVar(&s.allowedOrigins, "allowed-origins", "",
		"web `origins` whose pages may call the MCP server, comma-separated")
	fs.DurationVar(&s.revocationStaleAfter, "revocation-stale-after", 10*time.Second,
		"`time` for which the list of revoked grants in Redis is used after it was last known to be complete; then "+
			"the MCP server answers 503")
	fs.Int64Var(&s.callsPerMinute, "calls-per-minute", 600,
		"how `many` requests of one grant the MCP server takes in a minute, at each replica; negative: no bound")
	fs.Var((*lasting)(&s.callRetention), "call-retention",
		"how `long` records of tools' calls are kept, at least 24h; 0: for ever")
	fs.IntVar(&s.tokenCacheSize, "token-cache-size", 100_000,
		"how many verified `tokens` the MCP server remembers, each until it expires, so that its signature is not "+
			"checked again; negative: none")
	fs.BoolVar(&s.requireDPoP, "require-dpop", false,
		"let the MCP server refuse access tokens that are not bound to a key of their client's (RFC 9449)")
	fs.StringVar(&s.metricsListen, "metrics-listen", "",
		"`address` on which the MCP server's /metrics are, for whoever reaches it (default nowhere)")
	fs.BoolVar(&s.allowAnonymous, "insecure-allow-anonymous", false,
		"let requests without a good token pass, as nobody, where the rollout's mode for nobody is observe: whoever "+
			"reaches the MCP server can then do what it does for nobody")
	fs.BoolVar(&s.insecureHTTP, "insecure-http", false,
		"allow http URLs off this machine: anyone on the way can then read tokens and passwords")
	fs.StringVar(&s.resourcesFile, "resources", "",
		"JSON `file` of all MCP servers whose tokens are issued, as authserver reads it (default the one at "+
			"--resource)")
	fs.StringVar(&s.registration, "registration", "open",
		"`who` may register clients: open (whoever asks), token (whoever shows an initial access token) or closed")
	fs.BoolVar(&s.metadataDocuments, "client-metadata-documents", true,
		"accept clients whose https client_id is the URL of a client metadata document, which is fetched from "+
			"public addresses only")
	fs.StringVar(&s.metadataDocumentHosts, "insecure-client-metadata-document-hosts", "",
		"`hosts` whose client metadata documents may be at private addresses, comma-separated: for development")
	fs.BoolVar(&s.demo, "demo", true, "fill an empty store with two tenants, people and data to try things out")
	httpd.RegisterDelay(fs, &s.shutdownDelay)
	fs.StringVar(&s.logLevel, "log-level", "info", "`level` of the log: debug, info, warn or error")
}

// lasting is how long something is kept, of which 0 means for ever and is kept as a negative one.
// The zero value is the default of 90 days.
type lasting time.Duration

func (l *lasting) String() string {
	switch d := time.Duration(*l); {
	case d == 0:
		return (90 * 24 * time.Hour).String()
	case d < 0:
		return "0s"
	default:
		return d.String()
	}
}

// Set implements flag.Value.
func (l *lasting) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not a length of time such as 720h", s)
	}
	if d == 0 {
		d = -1
	}
	*l = lasting(d)
	return nil
}

// embedded says whether the database is a file of ours.
func (s *settings) embedded() bool {
	return s.database == "" || strings.HasPrefix(s.database.Reveal(), "sqlite:")
}

// check holds the words against what the wings cannot know.
func (s *settings) check() error {
	dir, err := filepath.Abs(s.dataDir)
	if err != nil {
		return misused("name it with --data-dir", fmt.Errorf("finding the data directory: %w", err))
	}
	s.dataDir = dir
	database := s.database.Reveal()
	if !s.embedded() && !strings.HasPrefix(database, "postgres://") && !strings.HasPrefix(database, "postgresql://") {
		return misused("give it as postgres://user@host/name or sqlite:PATH",
			errors.New("database is of no kind that is known here"))
	}
	if s.proxies, err = config.Networks(s.trustedProxies); err != nil {
		return misused("mend --trusted-proxies", fmt.Errorf("trusted-proxies: %w", err))
	}
	if s.resourcesFile != "" {
		if s.resources, err = authserver.ReadResources(s.resourcesFile); err != nil {
			return misused("mend the file that --resources names", err)
		}
	}
	if err := s.checkURL("issuer", s.issuer); err != nil {
		return err
	}
	return s.checkURL("resource", s.resource)
}

// locate fills the URLs that nobody gave, from where the doors are.
func (s *settings) locate() {
	if s.issuer == "" {
		s.issuer = onThisMachine(s.issuerListen, "")
	}
	if s.resource == "" {
		s.resource = onThisMachine(s.resourceListen, "/mcp")
	}
}

// onThisMachine is the URL of a listening address, for a person at this machine.
func onThisMachine(listen, path string) string {
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
		return misused("give it as https://mcp.example.com/mcp", fmt.Errorf("%s %q is not an http(s) URL", name, value))
	}
	if err := oauth.CheckPlain(value); err != nil {
		return misused("clients compare it byte for byte", fmt.Errorf("%s %q %w", name, value, err))
	}
	host := u.Hostname()
	if ip, err := netip.ParseAddr(host); u.Scheme == "http" && host != "localhost" &&
		(err != nil || !ip.IsLoopback()) && !s.insecureHTTP {
		return misused("use https; --insecure-http allows it all the same, and then anyone on the way can read "+
			"tokens and passwords",
			fmt.Errorf("%s %q is plain http on a host that is not this machine", name, value))
	}
	return nil
}

// ledger is the database of the issuing wing, and companion that of the tools' data. In PostgreSQL
// they are one.
func (s *settings) ledger() string {
	if s.database == "" {
		return "sqlite:" + s.ledgerPath()
	}
	return s.database.Reveal()
}

func (s *settings) companion() string {
	if s.embedded() {
		return "sqlite:" + filepath.Join(s.dataDir, "companion.db")
	}
	return s.database.Reveal()
}

// ledgerPath is the file of the issuing wing's database in the embedded form.
func (s *settings) ledgerPath() string {
	if path, ok := strings.CutPrefix(s.database.Reveal(), "sqlite:"); ok {
		return path
	}
	return filepath.Join(s.dataDir, "gatehouse.db")
}

// issuing is the issuing wing's configuration.
func (s *settings) issuing() authserver.Config {
	resource := authserver.Resource{URI: s.resource, Name: "Gatehouse companion tools", Algorithm: s.algorithm,
		AccessTokenLifetime: s.accessTokenLifetime}
	// The only MCP server here: clients that leave its path away, or add a slash, mean it all the
	// same.
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
	c := s.lives
	c.Issuer, c.Database, c.Redis, c.RedisPrefix, c.KeyEncryptionKey = s.issuer, s.ledger(), s.redis, s.redisPrefix,
		s.keyEncryptionKey
	c.Resources, c.AccessTokenLifetime, c.TrustedProxies, c.InsecureHTTP = resources, s.accessTokenLifetime, s.proxies,
		s.insecureHTTP
	c.Hosts = config.List(s.issuerHosts)
	c.Registration, c.RefuseClientMetadataDocuments, c.InsecureClientMetadataDocumentHosts = s.registration,
		!s.metadataDocuments,
		config.List(s.metadataDocumentHosts)
	return c
}

// serving is the resource wing's configuration.
func (s *settings) serving() mcpserver.Config {
	return mcpserver.Config{
		Resource: s.resource, Issuer: s.issuer, Database: s.companion(), Redis: s.redis, RedisPrefix: s.redisPrefix,
		Algorithms: []string{s.algorithm}, AllowedHosts: config.List(s.allowedHosts),
		AllowedOrigins: config.List(s.allowedOrigins), TrustedProxies: s.proxies,
		InsecureHTTP: s.insecureHTTP, RequireDPoP: s.requireDPoP, DPoPNonce: s.lives.DPoPNonce,
		DPoPWindow: s.lives.DPoPWindow, Registration: s.registration, RevocationStaleAfter: s.revocationStaleAfter,
		InsecureAllowAnonymous: s.allowAnonymous,
		AuditRetention:         s.lives.AuditRetention, CallsPerMinute: s.callsPerMinute,
		TokenCacheSize: s.tokenCacheSize,
		CallRetention:  s.callRetention,
	}
}

// scopeNames are the companion tools' scopes.
func (s *settings) scopeNames() []string {
	var names []string
	for _, scope := range mcpserver.Scopes() {
		names = append(names, scope.Name)
	}
	return names
}
