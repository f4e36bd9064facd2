// Command mcpserver is the resource wing alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

const drain = 10 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return
	}
	fmt.Fprintln(os.Stderr, "mcpserver: error:", strings.ReplaceAll(err.Error(), "\n", "; "))
	fmt.Fprintln(os.Stderr, "mcpserver: hint: mcpserver -h lists the settings; `gatehouse migrate` makes the database's schema")
	os.Exit(2)
}

func run(ctx context.Context) error {
	fs := flag.NewFlagSet("mcpserver", flag.ContinueOnError)
	var c mcpserver.Config
	fs.StringVar(&c.Resource, "resource", "", "this server's canonical `URL`, as https://mcp.example.com/mcp")
	fs.StringVar(&c.Issuer, "issuer", "", "the issuer's `URL`, as https://auth.example.com")
	fs.StringVar(&c.Database, "database", "", "the companion tools' data: sqlite:PATH or postgres://…")
	config.SecretVar(fs, &c.Redis, "redis", "where ended grants are read: redis://… as the issuer has it")
	fs.StringVar(&c.RedisPrefix, "redis-prefix", "gatehouse:", "what begins every key in Redis")
	algorithms := fs.String("resource-algorithm", "ES256", "algorithms of tokens' signatures, by commas: ES256, RS256, EdDSA")
	hosts := fs.String("allowed-hosts", "", "Host headers that are answered, by commas (default the resource's)")
	origins := fs.String("allowed-origins", "", "Origin headers of browsers that are answered, by commas")
	proxies := fs.String("trusted-proxies", "", "networks whose X-Forwarded-For is believed, by commas")
	fs.BoolVar(&c.InsecureIgnoreRevocations, "insecure-ignore-revocations", false, "let tokens of ended grants act until they expire")
	listen := fs.String("resource-listen", "127.0.0.1:8081", "the `address` to listen on")
	fs.String("config", "", "a JSON `file` with these settings")
	if err := config.Load(fs, config.LoadOptions{Args: os.Args[1:], Prefix: "GATEHOUSE_", FileFlag: "config"}); err != nil {
		return err
	}
	c.Algorithms, c.AllowedHosts, c.AllowedOrigins = config.List(*algorithms), config.List(*hosts), config.List(*origins)
	var err error
	if c.TrustedProxies, err = config.Networks(*proxies); err != nil {
		return err
	}
	l, err := httpd.Listen(*listen)
	if err != nil {
		return err
	}
	s, err := mcpserver.New(ctx, c, mcpserver.Deps{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer s.Close()
	go s.Run(ctx)
	fmt.Fprintf(os.Stderr, "mcpserver: %s is at %s\n", c.Resource, l.Addr())
	return httpd.Run(ctx, []httpd.Door{{Server: httpd.Server(s.Handler()), Listener: l}}, drain)
}
