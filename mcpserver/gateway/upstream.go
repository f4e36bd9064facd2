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
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/upstream"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// server is a server behind, however it is reached.
type server interface {
	// Serve answers one request that was decided on, for a caller.
	Serve(w http.ResponseWriter, r *http.Request, c mcp.Caller)
	// State says in a word how the server was found last: "ok" or what else.
	State() string
	// Close lets go of the server; what is under way fails.
	Close() error
}

// reach makes the way to an upstream.
func (g *Gateway) reach(m *member) (server, error) {
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
	return upstream.New(upstream.Config{
		Name: u.Name, URL: to, TLS: secured, Credential: credential, Trouble: m.met.meet, Now: g.deps.Now,
		Log: g.deps.Log,
		Limits: upstream.Limits{
			InFlight: l.InFlight, PerTenant: l.PerTenant, Streams: l.Streams, Answer: l.Answer, Connect: l.Connect,
			FirstByte: l.AnswerWithin, Idle: l.Idle,
			Failures: l.Failures, Cooldown: l.Cooldown,
		},
	}), nil
}

// tls is how the server is trusted, and what it is shown; nil: as the machine has it.
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

// environ is what processes get of the gateway's environment, and beside it.
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

// credential is what an upstream is shown: a secret of the gateway's own, or a voucher for the
// caller. Never what the caller showed.
func (g *Gateway) credential(m *member) (func(context.Context, mcp.Caller) (string, string, error), error) {
	u := &m.config
	if u.Credential.Header != "" {
		return u.Credential.show(g.deps.Getenv)
	}
	prefix := ""
	if strings.EqualFold(u.AssertionHeader, "Authorization") {
		prefix = "Bearer "
	}
	m.vouchers = &callerassertion.Ahead{Signer: g.signer, From: u.Resource, To: u.Audience, Now: g.deps.Now}
	return func(ctx context.Context, c mcp.Caller) (string, string, error) {
		if c.TenantID == "" {
			return "", "", nil // nobody is vouched for
		}
		raw, id := m.vouchers.Take(c)
		httpd.Note(ctx, "assertion", id)
		return u.AssertionHeader, prefix + raw, nil
	}, nil
}

// show reads the secret once, and shows it for whoever calls.
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
