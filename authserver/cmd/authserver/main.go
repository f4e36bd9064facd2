// Command authserver runs the authorization server alone, for several replicas over PostgreSQL and
// Redis. `gatehouse migrate` creates its schema.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/config/configfile"
	"github.com/gatehouse-mcp/gatehouse/shared/flags"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
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
		fmt.Fprintf(stderr, "authserver: error: %v\nauthserver: hint: authserver -h lists the settings; gatehouse "+
			"migrate creates the schema\n", err)
		return 2
	}
	if err := s.serve(ctx); err != nil {
		fmt.Fprintf(stderr, "authserver: error: %v\n", err)
		return 1
	}
	return 0
}

// settings are the settings of the program and what is opened from them.
type settings struct {
	config    authserver.Config
	listen    string
	metrics   string
	resources string
	adminDir  string
	level     slog.Level

	delay time.Duration // see flags.ShutdownDelayVar

	log    *slog.Logger
	server *authserver.Server
	doors  []httpd.Door
}

// read reads the settings from flags, environment (GATEHOUSE_ISSUER for --issuer) and file.
func read(args []string, getenv func(string) string, stderr io.Writer) (*settings, error) {
	s := &settings{}
	fs := pflag.NewFlagSet("authserver", pflag.ContinueOnError)
	fs.SetOutput(stderr)
	var database config.Secret
	var proxies []string
	fs.String("config", "", "YAML file of settings, by the names of the flags")
	flags.URLVar(fs, &s.config.Issuer, "issuer", "issuer identifier, as agents and people reach it")
	fs.StringVar(&s.listen, "listen", "127.0.0.1:8080", "address on which to listen")
	fs.StringVar(&s.metrics, "metrics-listen", "",
		"address of /metrics, which need no authentication (default none)")
	fs.StringVar(&s.resources, "resources", "",
		"JSON file of the MCP servers for which tokens are issued; see deploy/resources.json")
	fs.StringVar(&s.adminDir, "admin-dir", "",
		"folder for the operator's socket (default none: commands then use the database)")
	flags.SecretVar(fs, &database, "database", "database, as postgres://… or sqlite:PATH")
	flags.SecretVar(fs, &s.config.Redis, "redis",
		"redis:// or rediss:// URL, which several replicas need to share (default memory of this process)")
	fs.StringVar(&s.config.RedisPrefix, "redis-prefix", "gatehouse:", "prefix of every key in Redis")
	flags.SecretVar(fs, &s.config.KeyEncryptionKey, "key-encryption-key",
		"32 random bytes in base64 that encrypt the signing keys")
	flags.SecretVar(fs, &s.config.PreviousKeyEncryptionKey, "previous-key-encryption-key",
		"the previous key, or several, comma-separated, until gatehouse key reseal has re-encrypted everything")
	fs.DurationVar(&s.config.AccessTokenLifetime, "access-token-lifetime", 10*time.Minute,
		"lifetime of an access token, at most 1h")
	s.config.RegisterFlags(fs)
	flags.ListVar(fs, &proxies, "trusted-proxies", "networks whose X-Forwarded-For is trusted, comma-separated")
	flags.ListVar(fs, &s.config.Hosts, "issuer-hosts",
		"Host names that pages accept beside the issuer's, comma-separated (default none)")
	fs.StringVar(&s.config.Registration, "registration", "open",
		"who may register clients: open (anyone), token (with an initial access token) or closed")
	documents := fs.Bool("client-metadata-documents", true,
		"accept clients whose https client_id is the URL of a client metadata document, which is fetched from public "+
			"addresses only")
	flags.ListVar(fs, &s.config.InsecureClientMetadataDocumentHosts, "insecure-client-metadata-document-hosts",
		"hosts whose client metadata documents may be at private addresses, comma-separated: for development")
	fs.BoolVar(&s.config.InsecureHTTP, "insecure-http", false,
		"allow an http issuer off this machine: tokens and passwords can then be read on the network")
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
	s.config.Database, s.config.RefuseClientMetadataDocuments = database.Reveal(), !*documents
	if s.config.TrustedProxies, err = config.Networks(strings.Join(proxies, ",")); err != nil {
		return nil, fmt.Errorf("trusted-proxies: %w", err)
	}
	s.config.Resources, err = authserver.ReadResources(s.resources)
	return s, err
}

// open opens the port and the stores.
func (s *settings) open(ctx context.Context, stderr io.Writer) error {
	s.log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: s.level}))
	l, err := httpd.Listen(s.listen)
	if err != nil {
		return err
	}
	if s.server, err = authserver.New(ctx, s.config, authserver.Deps{Log: s.log}); err != nil {
		return errors.Join(err, l.Close())
	}
	s.doors = []httpd.Door{{Server: httpd.Server(s.server.Handler()), Listener: l}}
	if s.metrics != "" {
		m, err := httpd.Listen(s.metrics)
		if err != nil {
			return errors.Join(err, l.Close(), s.server.Close())
		}
		s.doors = append(s.doors, httpd.Door{Server: httpd.Server(s.server.Metrics()), Listener: m})
	}
	if s.adminDir == "" {
		return nil
	}
	admin, err := authserver.ListenOperator(s.adminDir)
	if err != nil {
		return errors.Join(err, l.Close(), s.server.Close())
	}
	s.doors = append(s.doors, httpd.Door{Server: httpd.Server(s.server.AdminHandler()), Listener: admin})
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
	s.log.Info("the authorization server accepts connections", "issuer", s.config.Issuer, "listen", s.listen)
	return errors.Join(httpd.Run(ctx, s.doors, s.stop(), s.server.Run), s.server.Close())
}
