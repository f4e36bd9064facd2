// Command mcpserver is the resource wing alone.
package main

import (
	"context"
	"errors"
	"flag"
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

	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/config/configfile"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stderr))
}

// run serves until ctx ends. It returns 0 after a clean stop, 2 when a setting or a store must be
// mended first, 1 when serving broke.
func run(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) int {
	s, err := read(args, getenv, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = s.open(ctx, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "mcpserver: error: %s\nmcpserver: hint: mcpserver -h lists the settings; gatehouse "+
			"migrate makes the schema\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		return 2
	}
	if err := s.serve(ctx); err != nil {
		fmt.Fprintf(stderr, "mcpserver: error: %v\n", err)
		return 1
	}
	return 0
}

// settings are the program's words and what is opened from them.
type settings struct {
	config  mcpserver.Config
	listen  string
	metrics string
	level   slog.Level

	delay time.Duration // see httpd.RegisterDelay

	log    *slog.Logger
	server *mcpserver.Server
	doors  []httpd.Door
}

// read reads flags, environment (GATEHOUSE_RESOURCE for -resource) and file.
func read(args []string, getenv func(string) string, stderr io.Writer) (*settings, error) {
	s := &settings{}
	c := &s.config
	fs := flag.NewFlagSet("mcpserver", flag.ContinueOnError)
	fs.SetOutput(stderr)
	var database config.Secret
	fs.String("config", "", "YAML `file` of settings, by the names of the flags")
	fs.StringVar(&c.Resource, "resource", "", "this server's canonical `URL`, as https://mcp.example.com/mcp")
	fs.StringVar(&s.listen, "resource-listen", "127.0.0.1:8081", "`address` on which to listen")
	fs.StringVar(&c.Issuer, "issuer", "", "the issuer's `URL`, as https://auth.example.com")
	config.SecretVar(fs, &database, "database", "`where` the companion tools' data are: sqlite:PATH or postgres://…")
	config.SecretVar(fs, &c.Redis, "redis",
		"redis:// `URL` where the list of ended grants is followed, as the issuer has it, and used DPoP proofs are "+
			"remembered")
	fs.StringVar(&c.RedisPrefix, "redis-prefix", "gatehouse:", "`prefix` of every key in Redis")
	fs.StringVar(&c.ClientID, "client-id", "",
		"`client` that this server is at the issuer (gatehouse client create --server): follows the list of ended "+
			"grants there when there is no Redis")
	config.SecretVar(fs, &c.ClientSecret, "client-secret", "`secret` of that client")
	fs.DurationVar(&c.RevocationPollInterval, "revocation-poll-interval", 2*time.Second,
		"`time` between two requests to the issuer for the list of revoked grants")
	fs.Func("audit-retention", "how `long` audit lines are kept, at least 24h; 0: for ever (default 9600h)",
		func(s string) (err error) {
			if c.AuditRetention, err = time.ParseDuration(s); err == nil && c.AuditRetention == 0 {
				c.AuditRetention = -1
			}
			return err
		})
	fs.Func("call-retention", "how `long` records of tools' calls are kept, at least 24h; 0: for ever (default 2160h)",
		func(s string) (err error) {
			if c.CallRetention, err = time.ParseDuration(s); err == nil && c.CallRetention == 0 {
				c.CallRetention = -1
			}
			return err
		})
	fs.DurationVar(&c.RevocationStaleAfter, "revocation-stale-after", revocation.DefaultStaleAfter,
		"`time` for which the list of revoked grants is used after it was last known to be complete")
	fs.StringVar(&c.RevocationWhenStale, "revocation-when-stale", mcpserver.WhenStaleRefuse,
		"`what` happens then: refuse (503), or introspect (each token is introspected at the issuer)")
	algorithms := fs.String("resource-algorithm", "ES256",
		"`algorithms` of tokens' signatures, comma-separated: ES256, RS256, EdDSA")
	hosts := fs.String("allowed-hosts", "",
		"Host `names` that are answered, comma-separated (default the host of -resource)")
	origins := fs.String("allowed-origins", "", "web `origins` whose pages may call, comma-separated")
	fs.BoolVar(&c.RequireDPoP, "require-dpop", false,
		"refuse access tokens that are not bound to a key of their client's (RFC 9449)")
	config.SecretVar(fs, &c.DPoPNonceKey, "dpop-nonce-key",
		"32 random bytes in `base64`, the same at each replica, that make the nonces of DPoP proofs (default none is "+
			"offered)")
	fs.StringVar(&c.DPoPNonce, "dpop-nonce", dpop.NonceOptional,
		"`whether` DPoP proofs must have a nonce: required or optional")
	fs.DurationVar(&c.DPoPWindow, "dpop-window", dpop.Window,
		"`time` that the iat of a DPoP proof may be from now, at most 5m")
	config.SecretVar(fs, &c.ArgumentsKey, "arguments-key",
		"32 random bytes in `base64`, the same at each replica, that name the arguments of calls in records and in "+
			"the log by a keyed hash (default made once, in a file beside an SQLite database)")
	proxies := fs.String("trusted-proxies", "", "`networks` whose X-Forwarded-For is believed, comma-separated")
	fs.Int64Var(&c.CallsPerMinute, "calls-per-minute", 600,
		"`requests` of one grant in a minute, at most, at each replica; negative: no bound")
	fs.IntVar(&c.TokenCacheSize, "token-cache-size", 100_000,
		"verified `tokens` that are remembered, each until it expires, so that its signature is not checked again; "+
			"negative: none")
	fs.StringVar(&c.Registration, "registration", "open",
		"`who` may register clients at the issuer, as the issuer has it: open, token or closed; only the older card "+
			"speaks of it")
	fs.StringVar(&s.metrics, "metrics-listen", "",
		"`address` on which /metrics are, for whoever reaches it (default nowhere)")
	fs.BoolVar(&c.InsecureAllowAnonymous, "insecure-allow-anonymous", false,
		"let requests without a good token pass, as nobody, where the rollout's mode for nobody is observe: whoever "+
			"reaches the server can then do what it does for nobody")
	fs.BoolVar(&c.InsecureHTTP, "insecure-http", false,
		"allow http URLs off this machine: anyone on the way can then read tokens and put keys of their own in place "+
			"of the issuer's")
	fs.BoolVar(&c.InsecureIgnoreRevocations, "insecure-ignore-revocations", false,
		"let tokens of ended grants act until they expire")
	httpd.RegisterDelay(fs, &s.delay)
	fs.TextVar(&s.level, "log-level", slog.LevelInfo, "`level` of the log: debug, info, warn or error")
	if _, err := configfile.Load(fs, configfile.Options{Args: args, Getenv: getenv, Prefix: "GATEHOUSE_",
		FileFlag: "config"}); err != nil {
		return nil, err
	}
	c.Database = database.Reveal()
	c.Algorithms, c.AllowedHosts, c.AllowedOrigins = config.List(*algorithms), config.List(*hosts),
		config.List(*origins)
	var err error
	if c.TrustedProxies, err = config.Networks(*proxies); err != nil {
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
	s.log.Info("the MCP server is open", "resource", s.config.Resource, "listen", s.listen)
	return errors.Join(httpd.Run(ctx, s.doors, s.stop(), s.server.Run), s.server.Close())
}
