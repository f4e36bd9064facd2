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

// File is the configuration file. Words that are left away get the value that their comment names.
type File struct {
	// Listen is the address on which the gateway listens. Default 127.0.0.1:8090.
	Listen string `yaml:"listen"`
	// Issuer is the issuer identifier, byte for byte as the issuer publishes it. Required.
	Issuer string `yaml:"issuer"`
	// JWKSURL is where the issuer's keys are. Default: as the issuer's metadata say.
	JWKSURL string `yaml:"jwks_url"`
	// Algorithms of tokens' signatures: ES256, RS256, EdDSA. Default ES256.
	Algorithms []string `yaml:"algorithms"`
	// Redis is where ended grants are read, as the issuer has it, and used DPoP proofs and counted
	// calls are remembered: a URL, from the environment or a file.
	Redis Secret `yaml:"redis"`
	// RedisPrefix begins every key in Redis, as at the issuer. Default "gatehouse:".
	RedisPrefix string `yaml:"redis_prefix"`
	// ClientID and ClientSecret are the gateway's at the issuer (gatehouse client create --server
	// RESOURCE, of any of its resources): without Redis it asks the issuer every two seconds which
	// grants have ended. Default of ClientID, where there is a ClientSecret: GATEHOUSE_CLIENT_ID of
	// the environment.
	ClientID     string `yaml:"client_id"`
	ClientSecret Secret `yaml:"client_secret"`
	// InsecureIgnoreRevocations lets tokens of ended grants act until they expire, where there is
	// neither Redis nor a client.
	InsecureIgnoreRevocations bool `yaml:"insecure_ignore_revocations"`
	// InsecureHTTP allows http URLs off this machine, of the issuer, of resources and of upstreams.
	InsecureHTTP bool `yaml:"insecure_http"`
	// AssertionKey makes the key of caller assertions: 32 random characters at least, the same at
	// each replica. Default: made at the start.
	AssertionKey Secret `yaml:"assertion_key"`
	// SessionKey binds sessions of older clients, and the events of their streams, to their grant:
	// 32 random characters at least, the same at each replica. Default: made at the start.
	SessionKey Secret `yaml:"session_key"`
	// ArgumentsKey names the arguments of a tool's call in its record and in the log by a keyed
	// hash, so that calls with the same ones can be found and nothing of them is kept: 32 random
	// characters at least, the same at each replica. Default: made once, in a file beside a
	// database that is one; otherwise the names change with each start.
	ArgumentsKey Secret `yaml:"arguments_key"`
	// AllowedHosts are the Host headers that are answered. Default: the resources' hosts.
	AllowedHosts []string `yaml:"allowed_hosts"`
	// AllowedOrigins are the web origins whose pages may call.
	AllowedOrigins []string `yaml:"allowed_origins"`
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// RequireDPoP refuses access tokens that are not bound to a key of their client's.
	RequireDPoP bool `yaml:"require_dpop"`
	// DPoPNonce says whether DPoP proofs must have a nonce: "required", or "optional", the default.
	// Nonces are offered without Redis alone: then this process makes them.
	DPoPNonce string `yaml:"dpop_nonce"`
	// DPoPWindow is how far the iat of a DPoP proof may be from now. Default 5m, and not more.
	DPoPWindow time.Duration `yaml:"dpop_window"`
	// CallsPerMinute bounds the requests of one grant, at each replica. Default 600; negative: no
	// bound.
	CallsPerMinute int64 `yaml:"calls_per_minute"`
	// TokenCacheSize bounds how many verified tokens are remembered of each upstream, each until it
	// expires, so that its signature is not checked again. Default 100000; negative: none.
	TokenCacheSize int `yaml:"token_cache_size"`
	// CallTimeout is how long the answer to a call that was admitted may take, whenever its token
	// expires. Streams that answer no call, and subscriptions, end with their token. Default 1h.
	CallTimeout time.Duration `yaml:"call_timeout"`
	// KeepAlive is how long a stream may be silent until its client gets a comment, so that no
	// proxy on the way closes it. Default 20s; negative: it gets none.
	KeepAlive time.Duration `yaml:"keep_alive"`
	// DocumentsPerMinute bounds how often one address may ask for the documents that need no token
	// (metadata, cards, keys), at each replica. Default 600; negative: no bound.
	DocumentsPerMinute int64 `yaml:"documents_per_minute"`
	// Database keeps the rollout's modes and usage: sqlite:PATH or postgres://…, from the
	// environment or a file. Default: gateway.db beside the configuration file.
	Database Secret `yaml:"database"`
	// CallRetention is how long records of tools' calls are kept. Default 2160h (90 days), at least
	// 24h; negative: for ever.
	CallRetention time.Duration `yaml:"call_retention"`
	// MetricsListen is the address on which /metrics are, for whoever reaches it. Default: nowhere.
	MetricsListen string `yaml:"metrics_listen"`
	// ShutdownDelay is how long connections are still accepted after /readyz has begun to answer
	// 503, when the gateway is told to stop. Default 2s with trusted proxies or Redis, otherwise
	// 0s.
	ShutdownDelay *time.Duration `yaml:"shutdown_delay"`
	// InsecureAllowAnonymous lets requests without a good token pass to servers at a URL, as
	// nobody, where the rollout's mode for nobody is observe. Whoever reaches the gateway can then
	// do what these servers do for nobody.
	InsecureAllowAnonymous bool `yaml:"insecure_allow_anonymous"`
	// Upstreams are the servers behind. At least one.
	Upstreams []Upstream `yaml:"upstreams"`
}

// Upstream is one server behind the gateway.
type Upstream struct {
	// Name is a short word for the log and the lock file: a-z, 0-9 and hyphens. Required.
	Name string `yaml:"name"`
	// Title is the name that people read. Default the name.
	Title string `yaml:"title"`
	// Resource is the canonical URI under which clients reach it: its path is its own on the
	// gateway's listener. Required.
	Resource string `yaml:"resource"`
	// URL is where the server speaks Streamable HTTP. Either this or Command.
	URL string `yaml:"url"`
	// CA is a file of the certificates (PEM) by which the server at an https URL is trusted, in
	// place of the machine's. Default: the machine's.
	CA string `yaml:"ca"`
	// ClientCertificate and ClientKey are files (PEM) of the certificate that the server is shown,
	// and of its key. Default: none.
	ClientCertificate string `yaml:"client_certificate"`
	ClientKey         string `yaml:"client_key"`
	// Command is a program that speaks MCP on standard input and output, and its arguments; there
	// is no shell. One process is started for each tenant, whose id stands for {tenant} in
	// arguments and Directory.
	Command []string `yaml:"command"`
	// State is a folder in which each tenant's process has a folder of its own, {state} in
	// arguments, Directory and Set: it works there, and has its HOME and its TMPDIR there, unless
	// Directory, Environment or Set say otherwise. It is made when it is needed. Relative: to the
	// configuration file. Default: none, and tenants share what the program keeps.
	State string `yaml:"state"`
	// Directory is where the processes work. Default: the tenant's folder below State, or where the
	// gateway does.
	Directory string `yaml:"directory"`
	// Environment are the names of the gateway's own variables that the processes get, as PATH.
	// Default: none.
	Environment []string `yaml:"environment"`
	// Set are further variables of theirs; {tenant} stands for the tenant's id, {state} for its
	// folder.
	Set map[string]string `yaml:"set"`
	// TenantEnv is the variable in which they get the tenant's id. Default GATEHOUSE_TENANT.
	TenantEnv string `yaml:"tenant_env"`
	// Audience is the aud of caller assertions. Default the URL.
	Audience string `yaml:"audience"`
	// AssertionHeader is the header that the caller assertion comes in; in Authorization it comes
	// as Bearer. Default Gatehouse-Caller.
	AssertionHeader string `yaml:"assertion_header"`
	// Credential is what the server gets in place of a caller assertion.
	Credential Credential `yaml:"credential"`
	// Scopes are what this resource's tokens may hold, for its metadata and for the issuer's list
	// of resources.
	Scopes []Scope `yaml:"scopes"`
	// Tools, Prompts and Resources say which scopes open what; the first rule that fits decides,
	// and what no rule names is open to nobody.
	Tools     []Rule `yaml:"tools"`
	Prompts   []Rule `yaml:"prompts"`
	Resources []Rule `yaml:"resources"`
	// Methods are other requests of MCP that may pass, as completion/complete.
	Methods []Rule `yaml:"methods"`
	// Implies says which scopes a scope counts for beside itself.
	Implies map[string][]string `yaml:"implies"`
	// Hold keeps back what nobody has approved: tools that are not in the lock file as they are now
	// are neither listed nor called.
	Hold bool `yaml:"hold"`
	// Tenants say what is otherwise about tools for a tenant, by its id; "*" is every tenant that
	// is not named.
	Tenants map[string][]TenantTool `yaml:"tenants"`
	// Limits bound what is asked of the server and waited for.
	Limits Limits `yaml:"limits"`
}

// Credential is a header of the gateway's own.
type Credential struct {
	Header string `yaml:"header"`
	// Prefix stands before the secret, as "Bearer ".
	Prefix string `yaml:"prefix"`
	Secret Secret `yaml:"secret"`
}

// Secret is where a secret is. It is never in the file itself.
type Secret struct {
	Env  string `yaml:"env"`
	File string `yaml:"file"` // relative: to the configuration file
}

// Scope is a scope with its description in plain words.
type Scope struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	Baseline    bool   `yaml:"baseline"` // asked for when a client names no scope
}

// Rule says what opens the things of a name; see guard.Rule.
type Rule struct {
	Name   string   `yaml:"name"`
	Exact  bool     `yaml:"exact"`
	Scopes []string `yaml:"scopes"`
	Hidden bool     `yaml:"hide"`
	Write  bool     `yaml:"write"`
}

// Limits are an upstream's. Words that are left away get the value that their comment names.
type Limits struct {
	InFlight        int           `yaml:"in_flight"`         // requests at once; default 64
	PerTenant       int           `yaml:"per_tenant"`        // of one tenant; default half of it
	Streams         int           `yaml:"streams"`           // open streams; default 256
	StreamsPerGrant int           `yaml:"streams_per_grant"` // default 16
	Body            int64         `yaml:"body"`              // bytes of a request; default 1 MiB
	Answer          int64         `yaml:"answer"`            // bytes of an answer that is no stream; default 8 MiB
	Connect         time.Duration `yaml:"connect"`           // default 5s
	AnswerWithin    time.Duration `yaml:"answer_within"`     // until a server at a URL begins to answer, and until a program has answered in whole, or since it last told of progress; default 60s
	Idle            time.Duration `yaml:"idle"`              // between two pieces of an answer; default 5m
	Failures        int           `yaml:"failures"`          // in a row, until the server is left alone for a while, by all or by one tenant; default 5
	Cooldown        time.Duration `yaml:"cooldown"`          // the while; default 5s
	Processes       int           `yaml:"processes"`         // of a command, of all tenants; default 16
	Start           time.Duration `yaml:"start"`             // until a process is opened; default 30s
	IdleProcess     time.Duration `yaml:"idle_process"`      // after which one is stopped that nobody needs; default 10m
}

// maxFile bounds the configuration file, in bytes.
const maxFile = 4 << 20

// ReadFile reads and checks a configuration file. The error names the line where it can.
func ReadFile(path string) (File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return File{}, fmt.Errorf("reading the configuration: %w", err)
	}
	if len(text) > maxFile {
		return File{}, fmt.Errorf("reading the configuration: %s is larger than %d bytes", path, maxFile)
	}
	f, err := parse(text)
	if err != nil {
		return File{}, fmt.Errorf("%s: %w", path, err)
	}
	// a process that works in {state} would look for a relative one below itself
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

// parse reads the YAML strictly. A word that is not known is an error: one that is misspelt would
// otherwise count for nothing.
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
			return f, fmt.Errorf("line %d: %q is called %q now", at.Position.Line, at.Value, now)
		}
		return f, fmt.Errorf("line %d: there is no %q; is it %q?", at.Position.Line, at.Value,
			config.Nearest(at.Value, words()))
	case errors.As(err, &other) && other.GetToken() != nil:
		return f, fmt.Errorf("line %d: %s", other.GetToken().Position.Line, other.GetMessage())
	case err != nil:
		return f, fmt.Errorf("it is no YAML, or empty: %w", err)
	}
	return f, nil
}

// renamed are words of earlier releases, and what they are called now.
var renamed = map[string]string{"first_byte": "answer_within"}

// words are all that a configuration file may say.
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

// locate makes relative paths of secrets, certificates and processes' state folders absolute, from
// the file's folder.
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

// read finds a secret, or "" when nothing names one.
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
			return "", fmt.Errorf("reading a secret: %w", err)
		}
		v := strings.TrimSpace(string(text))
		if v == "" {
			return "", fmt.Errorf("%s is empty", s.File)
		}
		return v, nil
	}
	return "", nil
}
