// Command authserver is the authorization server alone: the form for several replicas over
// PostgreSQL and Redis. `gatehouse migrate` makes its schema.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/config/configfile"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
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
		fmt.Fprintf(stderr, "authserver: error: %v\nauthserver: hint: authserver -h lists the settings; gatehouse "+
			"migrate makes the schema\n", err)
		return 2
	}
	if err := s.serve(ctx); err != nil {
		fmt.Fprintf(stderr, "authserver: error: %v\n", err)
		return 1
	}
	return 0
}

// settings are the program's words and what is opened from them.
type settings struct {
	config    authserver.Config
	listen    string
	resources string
	adminDir  string
	proxies   string
	hosts     string
	level     slog.Level

	delay time.Duration // see httpd.RegisterDelay

	log    *slog.Logger
	server *authserver.Server
	doors  []httpd.Door
}

// read reads flags, environment (GATEHOUSE_ISSUER for -issuer) and file.
func read(args []string, getenv func(string) string, stderr io.Writer) (*settings, error) {
	s := &settings{}
	fs := flag.NewFlagSet("authserver", flag.ContinueOnError)
	fs.SetOutput(stderr)
	var database config.Secret
	fs.String("config", "", "YAML `file` of settings, by the names of the flags")
	fs.StringVar(&s.config.Issuer, "issuer", "", "issuer `URL`, as agents and people reach it")
	fs.StringVar(&s.listen, "listen", "127.0.0.1:8080", "`address` on which to listen")
	fs.StringVar(&s.resources, "resources", "",
		"JSON `file` of the MCP servers whose tokens are issued; see deploy/resources.json")
	fs.StringVar(&s.adminDir, "admin-dir", "",
		"`folder` for the operator's socket (default none: commands then use the database)")
	config.SecretVar(fs, &database, "database",
		"`where` everything is kept that must not be lost: postgres://… or sqlite:PATH")
	config.SecretVar(fs, &s.config.Redis, "redis",
		"redis:// `URL` of short memory that replicas share (default memory of this process)")
	fs.StringVar(&s.config.RedisPrefix, "redis-prefix", "gatehouse:", "`prefix` of every key in Redis")
	config.SecretVar(fs, &s.config.KeyEncryptionKey, "key-encryption-key",
		"32 random bytes in `base64` that seal the signing keys")
	config.SecretVar(fs, &s.config.PreviousKeyEncryptionKey, "previous-key-encryption-key",
		"the `key` of before, or several, comma-separated, until gatehouse key reseal has brought everything under "+
			"the new one")
	fs.DurationVar(&s.config.AccessTokenLifetime, "access-token-lifetime", 10*time.Minute,
		"`lifetime` of an access token, at most 1h")
	s.config.RegisterFlags(fs)
	fs.StringVar(&s.proxies, "trusted-proxies", "", "`networks` whose X-Forwarded-For is believed, comma-separated")
	fs.StringVar(&s.hosts, "issuer-hosts", "",
		"Host `names` to which pages answer beside the issuer's, comma-separated (default none)")
	fs.StringVar(&s.config.Registration, "registration", "open",
		"`who` may register clients: open (anyone), token (with an initial access token) or closed")
	documents := fs.Bool("client-metadata-documents", true,
		"accept clients whose https client_id is the URL of a client metadata document, which is fetched from "+
			"public addresses only")
	hosts := fs.String("insecure-client-metadata-document-hosts", "",
		"`hosts` whose client metadata documents may be at private addresses, comma-separated: for development")
	fs.BoolVar(&s.config.InsecureHTTP, "insecure-http", false,
		"allow an http issuer off this machine: anyone on the way can then read tokens and passwords")
	httpd.RegisterDelay(fs, &s.delay)
	fs.TextVar(&s.level, "log-level", slog.LevelInfo, "`level` of the log: debug, info, warn or error")
	if _, err := configfile.Load(fs, configfile.Options{Args: args, Getenv: getenv, Prefix: "GATEHOUSE_",
		FileFlag: "config"}); err != nil {
		return nil, err
	}
	s.config.Database, s.config.RefuseClientMetadataDocuments,
		s.config.InsecureClientMetadataDocumentHosts = database.Reveal(), !*documents,
		config.List(*hosts)
	s.config.Hosts = config.List(s.hosts)
	var err error
	if s.config.TrustedProxies, err = config.Networks(s.proxies); err != nil {
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
	s.log.Info("the issuer is open", "issuer", s.config.Issuer, "listen", s.listen)
	return errors.Join(httpd.Run(ctx, s.doors, s.stop(), s.server.Run), s.server.Close())
}
