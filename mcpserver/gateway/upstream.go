package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/callerassertion"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/stdio"
	httpupstream "github.com/gatehouse-mcp/gatehouse/mcpserver/internal/upstream"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// server is the connection to an upstream server.
type server interface {
	// Serve answers an authorized request of a caller.
	Serve(w http.ResponseWriter, r *http.Request, c mcp.Caller)
	// State returns the last known state of the server: "ok" or another word.
	State() string
	// Close closes the connection; requests in flight fail.
	Close() error
}

// reach returns the connection to an upstream.
func (g *Gateway) reach(m *upstream) (server, error) {
	u := &m.config
	l := u.Limits
	if len(u.Command) > 0 {
		return stdio.New(stdio.Config{
			Name: u.Name, Command: u.Command, Directory: u.Directory, StateFolder: u.State,
			Environment: u.environ(g.deps.Getenv), TenantVariable: u.TenantEnv, Trouble: m.met.meet, Now: g.deps.Now,
			Log: g.deps.Log,
			Limits: stdio.Limits{Processes: l.Processes, Pending: l.PerTenant, Line: int(l.Answer), Start: l.Start,
				Answer: l.AnswerWithin, Idle: l.IdleProcess},
		}), nil
	}
	to, err := url.Parse(u.URL)
	if err != nil {
		return nil, err
	}
	credential, err := g.credential(m)
	if err != nil {
		return nil, err
	}
	secured, err := u.tls()
	if err != nil {
		return nil, err
	}
	return httpupstream.New(httpupstream.Config{
		Name: u.Name, URL: to, TLS: secured, Credential: credential, Trouble: m.met.meet, Now: g.deps.Now,
		Log: g.deps.Log,
		Limits: httpupstream.Limits{
			InFlight: l.InFlight, PerTenant: l.PerTenant, Streams: l.Streams, Answer: l.Answer, Connect: l.Connect,
			FirstByte: l.AnswerWithin, Idle: l.Idle,
			Failures: l.Failures, Cooldown: l.Cooldown,
		},
	}), nil
}

// tls returns the TLS configuration of an upstream; nil: the default.
func (u *Upstream) tls() (*tls.Config, error) {
	if u.CA == "" && u.ClientCertificate == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if u.CA != "" {
		text, err := os.ReadFile(u.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca: %s has no certificate in PEM", u.CA)
		}
	}
	if u.ClientCertificate != "" {
		pair, err := tls.LoadX509KeyPair(u.ClientCertificate, u.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("client_certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// environ returns the environment of processes.
func (u *Upstream) environ(getenv func(string) string) []string {
	var all []string
	for _, name := range u.Environment {
		if v := getenv(name); v != "" {
			all = append(all, name+"="+v)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(u.Set)) {
		all = append(all, name+"="+u.Set[name])
	}
	return all
}

// credential returns the credential for an upstream: a secret of the gateway's own, or an assertion
// of the caller. It is never the caller's token.
func (g *Gateway) credential(m *upstream) (func(context.Context, mcp.Caller) (string, string, error), error) {
	u := &m.config
	if u.Credential.Header != "" {
		return u.Credential.show(g.deps.Getenv)
	}
	prefix := ""
	if strings.EqualFold(u.AssertionHeader, "Authorization") {
		prefix = "Bearer "
	}
	m.assertions = &callerassertion.Ahead{Signer: g.signer, From: u.Resource, To: u.Audience, Now: g.deps.Now}
	return func(ctx context.Context, c mcp.Caller) (string, string, error) {
		if c.TenantID == "" {
			return "", "", nil // an anonymous caller has no assertion
		}
		raw, id := m.assertions.Take(c)
		httpd.Note(ctx, "assertion", id)
		return u.AssertionHeader, prefix + raw, nil
	}, nil
}

// show returns a fixed credential.
func (c Credential) show(getenv func(string) string) (func(context.Context, mcp.Caller) (string, string, error),
	error) {
	if getenv == nil {
		getenv = func(string) string { return "" }
	}
	secret, err := c.Secret.read(getenv)
	if err != nil {
		return nil, fmt.Errorf("credential: %w", err)
	}
	if strings.ContainsAny(c.Prefix+secret, "\r\n\x00") {
		return nil, errors.New("credential: it has a line break in it")
	}
	return func(context.Context, mcp.Caller) (string, string, error) { return c.Header, c.Prefix + secret, nil }, nil
}
