// Command mcpserver runs the built-in MCP server alone.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/config/configfile"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/flags"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stderr))
}

// run serves until ctx ends. It returns 0 after a clean shutdown, 2 when a setting or a store must
// be corrected first, and 1 when serving failed.
func run(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) int {
	s, err := read(args, getenv, stderr)
	if errors.Is(err, pflag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = s.open(ctx, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "mcpserver: error: %s\nmcpserver: hint: mcpserver -h lists the settings; gatehouse "+
			"migrate creates the schema\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		return 2
	}
	if err := s.serve(ctx); err != nil {
		fmt.Fprintf(stderr, "mcpserver: error: %v\n", err)
		return 1
	}
	return 0
}

// settings are the settings of the program and what is opened from them.
type settings struct {
	config  mcpserver.Config
	listen  string
	metrics string
	level   slog.Level

	delay time.Duration // see flags.ShutdownDelayVar

	log    *slog.Logger
	server *mcpserver.Server
	doors  []httpd.Door
}

// read reads the settings from flags, environment (GATEHOUSE_RESOURCE for --resource) and file.
func read(args []string, getenv func(string) string, stderr io.Writer) (*settings, error) {
	s := &settings{}
	c := &s.config
	fs := pflag.NewFlagSet("mcpserver", pflag.ContinueOnError)
	fs.SetOutput(stderr)
	var database config.Secret
	var proxies []string
	fs.String("config", "", "YAML file of settings, by the names of the flags")
	flags.URLVar(fs, &c.Resource, "resource", "this server's canonical URL, as https://mcp.example.com/mcp")
	fs.StringVar(&s.listen, "resource-listen", "127.0.0.1:8081", "address on which to listen")
	flags.URLVar(fs, &c.Issuer, "issuer", "issuer identifier, as https://auth.example.com")
	flags.SecretVar(fs, &database, "database", "database of the tools' data, as sqlite:PATH or postgres://…")
	flags.SecretVar(fs, &c.Redis, "redis",
		"redis:// or rediss:// URL, the same as the issuer's, for the list of revoked grants and used DPoP proofs")
	fs.StringVar(&c.RedisPrefix, "redis-prefix", "gatehouse:", "prefix of every key in Redis")
	fs.StringVar(&c.ClientID, "client-id", "",
		"client_id of this server at the issuer (gatehouse client create --server), to fetch the list of revoked "+
			"grants when there is no Redis")
	flags.SecretVar(fs, &c.ClientSecret, "client-secret", "secret of that client")
	fs.DurationVar(&c.RevocationPollInterval, "revocation-poll-interval", 2*time.Second,
		"time between two requests to the issuer for the list of revoked grants")
	c.AuditRetention, c.CallRetention = 400*24*time.Hour, 90*24*time.Hour
	flags.OptionalDurationVar(fs, &c.AuditRetention, "audit-retention",
		"how long audit records are kept, at least 24h; 0: forever")
	flags.OptionalDurationVar(fs, &c.CallRetention, "call-retention",
		"how long records of tool calls are kept, at least 24h; 0: forever")
	fs.DurationVar(&c.RevocationStaleAfter, "revocation-stale-after", revocation.DefaultStaleAfter,
		"time for which the list of revoked grants is used after it was last known to be complete")
	fs.StringVar(&c.RevocationWhenStale, "revocation-when-stale", mcpserver.WhenStaleRefuse,
		"what happens then: refuse (503), or introspect (each token is introspected at the issuer)")
	flags.ListVar(fs, &c.Algorithms, "resource-algorithm",
		"signing algorithms of tokens, comma-separated: ES256, RS256, EdDSA (default ES256)")
	flags.ListVar(fs, &c.AllowedHosts, "allowed-hosts",
		"Host names that are accepted, comma-separated (default the host of --resource)")
	flags.ListVar(fs, &c.AllowedOrigins, "allowed-origins", "web origins whose pages may call, comma-separated")
	fs.BoolVar(&c.RequireDPoP, "require-dpop", false,
		"reject access tokens that are not bound to a key of their client (RFC 9449)")
	flags.SecretVar(fs, &c.DPoPNonceKey, "dpop-nonce-key",
		"32 random bytes in base64, the same at each replica, for the nonces of DPoP proofs (default none is offered)")
	fs.StringVar(&c.DPoPNonce, "dpop-nonce", dpop.NonceOptional,
		"whether DPoP proofs must have a nonce: required or optional")
	fs.DurationVar(&c.DPoPWindow, "dpop-window", dpop.Window,
		"time by which the iat of a DPoP proof may differ from the clock, at most 5m")
	flags.SecretVar(fs, &c.ArgumentsKey, "arguments-key",
		"32 random bytes in base64, the same at each replica, for the keyed hash of call arguments in records and "+
			"in the log (default created once, in a file beside an SQLite database)")
	flags.ListVar(fs, &proxies, "trusted-proxies", "networks whose X-Forwarded-For is trusted, comma-separated")
	fs.Int64Var(&c.CallsPerMinute, "calls-per-minute", 600,
		"number of requests of one grant in a minute, at each replica; negative: no limit")
	fs.IntVar(&c.TokenCacheSize, "token-cache-size", 100_000,
		"number of verified tokens that are cached until they expire, so that their signatures are verified once; "+
			"negative: none")
	fs.StringVar(&c.Registration, "registration", "open",
		"who may register clients at the issuer, as the issuer has it: open, token or closed; shown in the older "+
			"server card only")
	fs.StringVar(&s.metrics, "metrics-listen", "",
		"address of /metrics, which need no authentication (default none)")
	fs.BoolVar(&c.InsecureAllowAnonymous, "insecure-allow-anonymous", false,
		"accept requests without a valid token where the rollout mode of anonymous requests is observe: everyone who "+
			"reaches the server can then call the tools that are open to anonymous requests")
	fs.BoolVar(&c.InsecureHTTP, "insecure-http", false,
		"allow http URLs off this machine: tokens can then be read, and the issuer's keys replaced, on the network")
	fs.BoolVar(&c.InsecureIgnoreRevocations, "insecure-ignore-revocations", false,
		"accept tokens of revoked grants until they expire")
	flags.ShutdownDelayVar(fs, &s.delay)
	fs.TextVar(&s.level, "log-level", slog.LevelInfo, "level of the log: debug, info, warn or error")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	_, err := configfile.Load(fs, configfile.Options{Getenv: getenv, Prefix: "GATEHOUSE_", FileFlag: "config"})
	if err != nil {
		return nil, err
	}
	c.Database = database.Reveal()
	if c.TrustedProxies, err = config.Networks(strings.Join(proxies, ",")); err != nil {
		return nil, fmt.Errorf("trusted-proxies: %w", err)
	}
	return s, nil
}

// open opens the ports and the stores.
func (s *settings) open(ctx context.Context, stderr io.Writer) (err error) {
	s.log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: s.level}))
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			if err != nil {
				err = errors.Join(err, l.Close())
			}
		}
	}()
	for i, address := range []string{s.listen, s.metrics} {
		if i > 0 && address == "" {
			continue
		}
		l, err := httpd.Listen(address)
		if err != nil {
			return err
		}
		listeners = append(listeners, l)
	}
	if s.server, err = mcpserver.New(ctx, s.config, mcpserver.Deps{Log: s.log}); err != nil {
		return err
	}
	for i, l := range listeners {
		s.doors = append(s.doors,
			httpd.Door{Server: httpd.Server([]http.Handler{s.server.Handler(), s.server.Metrics()}[i]), Listener: l})
	}
	return nil
}

// stop says how the program stops.
func (s *settings) stop() httpd.Stop {
	c := &s.config
	return httpd.NewStop(s.delay, len(c.TrustedProxies) > 0 || c.Redis != "" ||
		strings.HasPrefix(c.Database, "postgres"))
}

// serve serves until ctx ends, and lets requests under way finish.
func (s *settings) serve(ctx context.Context) error {
	s.log.Info("the MCP server accepts connections", "resource", s.config.Resource, "listen", s.listen)
	return errors.Join(httpd.Run(ctx, s.doors, s.stop(), s.server.Run), s.server.Close())
}
