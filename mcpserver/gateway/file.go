package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/config/configfile"
)

// File is the configuration file. A setting that is left out has the default that its comment
// names.
type File struct {
	// Listen is the address on which the gateway listens. Default 127.0.0.1:8090.
	Listen string `yaml:"listen"`
	// Issuer is the issuer identifier, byte for byte as the issuer publishes it. Required.
	Issuer string `yaml:"issuer"`
	// JWKSURL is the URL of the issuer's keys. Default: jwks_uri of the issuer's metadata.
	JWKSURL string `yaml:"jwks_url"`
	// Algorithms are the accepted signature algorithms: ES256, RS256, EdDSA. Default ES256.
	Algorithms []string `yaml:"algorithms"`
	// Redis is the URL of the issuer's Redis, which holds the list of revocations, used DPoP proofs
	// and counted calls: from the environment or a file.
	Redis Secret `yaml:"redis"`
	// RedisPrefix is the prefix of all keys in Redis, as at the issuer. Default "gatehouse:".
	RedisPrefix string `yaml:"redis_prefix"`
	// ClientID and ClientSecret are the gateway's client at the issuer (gatehouse client create
	// --server RESOURCE, of any of its resources). Without Redis the gateway reads the list of
	// revocations from the issuer every two seconds. Default of ClientID, with a ClientSecret:
	// GATEHOUSE_CLIENT_ID of the environment.
	ClientID     string `yaml:"client_id"`
	ClientSecret Secret `yaml:"client_secret"`
	// InsecureIgnoreRevocations accepts tokens of revoked grants until they expire, if there is
	// neither Redis nor a client.
	InsecureIgnoreRevocations bool `yaml:"insecure_ignore_revocations"`
	// InsecureHTTP allows http URLs off this machine for the issuer, resources and upstreams.
	InsecureHTTP bool `yaml:"insecure_http"`
	// AssertionKey is the key of caller assertions: at least 32 random characters, the same for all
	// replicas. Default: a random key.
	AssertionKey Secret `yaml:"assertion_key"`
	// SessionKey is the key that binds sessions of older clients and the events of their streams to
	// their grant: at least 32 random characters, the same for all replicas. Default: a random key.
	SessionKey Secret `yaml:"session_key"`
	// ArgumentsKey is the key of the hash that stands for a call's arguments in records and in the
	// log, so that calls with the same arguments can be found without storing them: at least 32
	// random characters, the same for all replicas. Default: a key in a file beside an SQLite
	// database; otherwise a random one at each start.
	ArgumentsKey Secret `yaml:"arguments_key"`
	// AllowedHosts are the accepted Host headers. Default: the hosts of the resources.
	AllowedHosts []string `yaml:"allowed_hosts"`
	// AllowedOrigins are the web origins whose pages may send requests.
	AllowedOrigins []string `yaml:"allowed_origins"`
	// TrustedProxies are the networks whose X-Forwarded-For is used.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// RequireDPoP rejects access tokens that are not bound to a key of the client.
	RequireDPoP bool `yaml:"require_dpop"`
	// DPoPNonce says whether DPoP proofs must have a nonce: "required", or "optional", the default.
	// Nonces are offered only without Redis: then this process makes them.
	DPoPNonce string `yaml:"dpop_nonce"`
	// DPoPWindow is how far the iat of a DPoP proof may be from now. Default and maximum: 5m.
	DPoPWindow time.Duration `yaml:"dpop_window"`
	// CallsPerMinute limits the requests of one grant at each replica. Default 600; negative: no
	// limit.
	CallsPerMinute int64 `yaml:"calls_per_minute"`
	// TokenCacheSize is the number of verified tokens that are cached for each upstream, each until
	// it expires. Default 100000; negative: none.
	TokenCacheSize int `yaml:"token_cache_size"`
	// CallTimeout is the time limit of the response to a call, whenever its token expires. Streams
	// that answer no call, and subscriptions, end with their token. Default 1h.
	CallTimeout time.Duration `yaml:"call_timeout"`
	// KeepAlive is how long a stream may be silent before the client gets a comment, so that no
	// proxy closes it. Default 20s; negative: none.
	KeepAlive time.Duration `yaml:"keep_alive"`
	// DocumentsPerMinute limits the requests of one address for the public documents (metadata,
	// cards, keys) at each replica. Default 600; negative: no limit.
	DocumentsPerMinute int64 `yaml:"documents_per_minute"`
	// Database holds the rollout modes and usage: sqlite:PATH or postgres://…, from the environment
	// or a file. Default: gateway.db beside the configuration file.
	Database Secret `yaml:"database"`
	// CallRetention is how long records of tool calls are kept. Default 2160h (90 days), at least
	// 24h; negative: forever.
	CallRetention time.Duration `yaml:"call_retention"`
	// MetricsListen is the listen address of /metrics, which have no authentication. Default: none.
	MetricsListen string `yaml:"metrics_listen"`
	// ShutdownDelay is how long connections are still accepted after /readyz begins to answer 503
	// at shutdown. Default 2s with trusted proxies or Redis, otherwise 0s.
	ShutdownDelay *time.Duration `yaml:"shutdown_delay"`
	// InsecureAllowAnonymous allows requests without a valid token to servers at a URL, as
	// anonymous, where the rollout mode for anonymous requests is observe. Everyone who reaches the
	// gateway can then do what these servers do for anonymous callers.
	InsecureAllowAnonymous bool `yaml:"insecure_allow_anonymous"`
	// Upstreams are the protected servers. At least one.
	Upstreams []Upstream `yaml:"upstreams"`
}

// Upstream is one protected server.
type Upstream struct {
	// Name is a short name for the log and the lock file: a-z, 0-9 and hyphens. Required.
	Name string `yaml:"name"`
	// Title is the name for people. Default: the name.
	Title string `yaml:"title"`
	// Resource is the canonical URI for clients; its path is the upstream's path on the gateway's
	// listener. Required.
	Resource string `yaml:"resource"`
	// URL is the server's URL for Streamable HTTP. Either this or Command.
	URL string `yaml:"url"`
	// CA is a PEM file of the certificates that are trusted for an https URL, in place of the
	// machine's. Default: the machine's.
	CA string `yaml:"ca"`
	// ClientCertificate and ClientKey are PEM files of the client certificate and its key. Default:
	// none.
	ClientCertificate string `yaml:"client_certificate"`
	ClientKey         string `yaml:"client_key"`
	// Command is a program that speaks MCP on standard input and output, and its arguments; there
	// is no shell. One process is started for each tenant; {tenant} in arguments and Directory is
	// its id.
	Command []string `yaml:"command"`
	// State is a folder with a folder for each tenant's process, {state} in arguments, Directory
	// and Set. The process works there and has its HOME and TMPDIR there, unless Directory,
	// Environment or Set say otherwise. It is created when needed. A relative path begins at the
	// configuration file. Default: none, and tenants share what the program stores.
	State string `yaml:"state"`
	// Directory is the working directory of the processes. Default: the tenant's folder below
	// State, or the gateway's.
	Directory string `yaml:"directory"`
	// Environment are the names of the gateway's environment variables that the processes get, as
	// PATH. Default: none.
	Environment []string `yaml:"environment"`
	// Set are further environment variables; {tenant} is the tenant's id, {state} its folder.
	Set map[string]string `yaml:"set"`
	// TenantEnv is the environment variable with the tenant's id. Default GATEHOUSE_TENANT.
	TenantEnv string `yaml:"tenant_env"`
	// Audience is the aud of caller assertions. Default: the URL.
	Audience string `yaml:"audience"`
	// AssertionHeader is the header of caller assertions; in Authorization the scheme is Bearer.
	// Default Gatehouse-Caller.
	AssertionHeader string `yaml:"assertion_header"`
	// Credential replaces caller assertions.
	Credential Credential `yaml:"credential"`
	// Scopes are the scopes of this resource, for its metadata and for the issuer's list of
	// resources.
	Scopes []Scope `yaml:"scopes"`
	// Tools, Prompts and Resources say which scopes are needed; the first rule that matches
	// decides, and what no rule names is denied.
	Tools     []Rule `yaml:"tools"`
	Prompts   []Rule `yaml:"prompts"`
	Resources []Rule `yaml:"resources"`
	// Methods are other allowed requests of MCP, as completion/complete.
	Methods []Rule `yaml:"methods"`
	// Implies says which other scopes a scope includes.
	Implies map[string][]string `yaml:"implies"`
	// Hold holds tools for approval: those that are not in the lock file as they are now are
	// neither listed nor called.
	Hold bool `yaml:"hold"`
	// Tenants change tools for a tenant, by its id; "*" is every tenant that is not named.
	Tenants map[string][]TenantTool `yaml:"tenants"`
	// Limits are the limits of requests to the server.
	Limits Limits `yaml:"limits"`
}

// Credential is a fixed header of the gateway's own.
type Credential struct {
	Header string `yaml:"header"`
	// Prefix precedes the secret, as "Bearer ".
	Prefix string `yaml:"prefix"`
	Secret Secret `yaml:"secret"`
}

// Secret says where a secret is. It is never in the file itself.
type Secret struct {
	Env  string `yaml:"env"`
	File string `yaml:"file"` // a relative path begins at the configuration file
}

// Scope is a scope with its description for people.
type Scope struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	Baseline    bool   `yaml:"baseline"` // requested when a client names no scope
}

// Rule says which scopes the things with a name need; see guard.Rule.
type Rule struct {
	Name   string   `yaml:"name"`
	Exact  bool     `yaml:"exact"`
	Scopes []string `yaml:"scopes"`
	Hidden bool     `yaml:"hide"`
	Write  bool     `yaml:"write"`
}

// Limits are the limits of an upstream. One that is left out has the default that its comment
// names.
type Limits struct {
	InFlight        int           `yaml:"in_flight"`         // requests in flight; default 64
	PerTenant       int           `yaml:"per_tenant"`        // of one tenant; default half of it
	Streams         int           `yaml:"streams"`           // open streams; default 256
	StreamsPerGrant int           `yaml:"streams_per_grant"` // default 16
	Body            int64         `yaml:"body"`              // bytes of a request; default 1 MiB
	Answer          int64         `yaml:"answer"`            // bytes of a response that is not a stream; default 8 MiB
	Connect         time.Duration `yaml:"connect"`           // default 5s
	// until a server at a URL begins its response, and until a program has sent its response or the
	// last progress; default 60s
	AnswerWithin time.Duration `yaml:"answer_within"`
	Idle         time.Duration `yaml:"idle"` // between two parts of a response; default 5m
	// consecutive failures until requests are rejected for a while, for all or for one tenant;
	// default 5
	Failures    int           `yaml:"failures"`
	Cooldown    time.Duration `yaml:"cooldown"`     // how long; default 5s
	Processes   int           `yaml:"processes"`    // of a command, for all tenants; default 16
	Start       time.Duration `yaml:"start"`        // of a process; default 30s
	IdleProcess time.Duration `yaml:"idle_process"` // after which an idle process is stopped; default 10m
}

// maxFile is the size limit of the configuration file, in bytes.
const maxFile = 4 << 20

// ReadFile reads and checks a configuration file. Its errors name the line if possible.
func ReadFile(path string) (File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return File{}, fmt.Errorf("read configuration: %w", err)
	}
	if len(text) > maxFile {
		return File{}, fmt.Errorf("read configuration: %s is larger than %d bytes", path, maxFile)
	}
	f, err := parse(text)
	if err != nil {
		return File{}, fmt.Errorf("%s: %w", path, err)
	}
	// a process with the working directory {state} would resolve a relative path below it
	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return File{}, fmt.Errorf("%s: %w", path, err)
	}
	f.locate(folder)
	if err := f.check(); err != nil {
		return File{}, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// parse decodes the YAML strictly: an unknown setting is an error, because a misspelt one would
// have no effect.
func parse(text []byte) (File, error) {
	var f File
	if err := configfile.CheckNesting(text); err != nil {
		return f, err
	}
	err := yaml.NewDecoder(bytes.NewReader(text), yaml.DisallowUnknownField()).Decode(&f)
	var unknown *yaml.UnknownFieldError
	var other yaml.Error
	switch {
	case errors.As(err, &unknown):
		at := unknown.GetToken()
		if now := renamed[at.Value]; now != "" {
			return f, fmt.Errorf("line %d: %q is now %q", at.Position.Line, at.Value, now)
		}
		return f, fmt.Errorf("line %d: there is no %q; is it %q?", at.Position.Line, at.Value,
			config.Nearest(at.Value, words()))
	case errors.As(err, &other) && other.GetToken() != nil:
		return f, fmt.Errorf("line %d: %s", other.GetToken().Position.Line, other.GetMessage())
	case err != nil:
		return f, fmt.Errorf("not valid YAML, or empty: %w", err)
	}
	return f, nil
}

// renamed are settings of earlier releases and their names now.
var renamed = map[string]string{"first_byte": "answer_within"}

// words returns all settings.
func words() []string {
	return []string{
		"listen", "issuer", "jwks_url", "algorithms", "redis", "redis_prefix", "client_id", "client_secret",
		"insecure_ignore_revocations", "insecure_http", "assertion_key", "session_key", "arguments_key",
		"allowed_hosts", "allowed_origins", "trusted_proxies", "require_dpop", "dpop_nonce", "dpop_window",
		"calls_per_minute", "token_cache_size", "call_timeout", "keep_alive", "call_retention", "documents_per_minute",
		"database", "metrics_listen", "shutdown_delay", "insecure_allow_anonymous", "upstreams",
		"name", "title", "resource", "url", "audience", "assertion_header", "credential", "scopes", "tools", "prompts",
		"resources", "methods", "implies", "limits",
		"header", "prefix", "secret", "env", "file", "description", "baseline", "hide", "write", "exact",
		"in_flight", "per_tenant", "streams", "streams_per_grant", "body", "answer", "connect", "answer_within", "idle",
		"failures", "cooldown",
		"command", "ca", "client_certificate", "client_key", "state", "directory", "environment", "set", "tenant_env",
		"processes", "start", "idle_process",
		"hold", "tenants", "off", "rename", "describe", "arguments", "calls_per_hour", "const", "enum", "minimum",
		"maximum", "maxLength", "pattern",
	}
}

// locate makes relative paths of secrets, certificates and state folders absolute, from the file's
// folder.
func (f *File) locate(folder string) {
	all := []*Secret{&f.Redis, &f.ClientSecret, &f.AssertionKey, &f.SessionKey, &f.ArgumentsKey, &f.Database}
	for i := range f.Upstreams {
		all = append(all, &f.Upstreams[i].Credential.Secret)
	}
	for i := range f.Upstreams {
		u := &f.Upstreams[i]
		for _, path := range []*string{&u.State, &u.CA, &u.ClientCertificate, &u.ClientKey} {
			if *path != "" && !filepath.IsAbs(*path) {
				*path = filepath.Join(folder, *path)
			}
		}
	}
	for _, s := range all {
		if s.File != "" && !filepath.IsAbs(s.File) {
			s.File = filepath.Join(folder, s.File)
		}
	}
}

// read reads a secret; it is "" if none is configured.
func (s Secret) read(getenv func(string) string) (string, error) {
	switch {
	case s.Env != "" && s.File != "":
		return "", errors.New("a secret is either in the environment or in a file")
	case s.Env != "":
		v := getenv(s.Env)
		if v == "" {
			return "", fmt.Errorf("the environment has no %s", s.Env)
		}
		return v, nil
	case s.File != "":
		text, err := os.ReadFile(s.File)
		if err != nil {
			return "", fmt.Errorf("read secret: %w", err)
		}
		v := strings.TrimSpace(string(text))
		if v == "" {
			return "", fmt.Errorf("%s is empty", s.File)
		}
		return v, nil
	}
	return "", nil
}
