package cli

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

// app is both servers in one process, with everything that must be closed again.
type app struct {
	*command
	started   []setting // before defaults are filled in
	log       *slog.Logger
	issuer    *authserver.Server
	resource  *mcpserver.Server
	listeners [2]net.Listener // issuer's, resource's
	metrics   [2]net.Listener // issuer's, resource's; nil: no metrics
	admin     net.Listener
	closers   []func() error // in the order of opening
}

func (c *command) serveCommand() *cobra.Command {
	cmd := c.verb("serve", "Run both servers in one process", "--data-dir /srv/gatehouse --demo=false", serve)
	cmd.GroupID = groupRun
	return cmd
}

func serve(*pflag.FlagSet) action {
	return func(ctx context.Context, c *command) error {
		h := &app{command: c, started: c.started()}
		err := h.open(ctx)
		if err == nil {
			err = h.serve(ctx)
		}
		if closing := h.close(); err == nil {
			return closing
		}
		return err
	}
}

// open does everything that can fail before the first request. It opens the ports early, because a
// port in use is the most common failure.
func (h *app) open(ctx context.Context) error {
	var err error
	if h.log, err = h.program.log(h.logLevel); err != nil {
		return err
	}
	f, err := h.lockDataDir(ctx)
	if err != nil {
		return err
	}
	h.closers = append(h.closers, f.release)
	if err := h.checkDemo(); err != nil {
		return err
	}
	h.listenAtURLs()
	if err := h.listen(); err != nil {
		return err
	}
	h.fillURLs()
	if err := h.createFiles(); err != nil {
		return err
	}
	if err := h.migrate(ctx); err != nil {
		return err
	}
	if err := h.openServers(ctx); err != nil {
		return err
	}
	if h.admin, err = authserver.ListenOperator(h.dataDir); err != nil {
		return usageError("choose another folder with --data-dir", err)
	}
	h.closers = append(h.closers, h.unlisten(h.admin))
	return nil
}

// lockDataDir locks the data directory for this process.
func (c *command) lockDataDir(ctx context.Context) (*folder, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	f, err := holdInTime(ctx, c.dataDir, c.name)
	if errors.Is(err, errHeld) {
		return nil, usageError("stop the other one, or choose another folder with --data-dir",
			fmt.Errorf("%s is in use: %w", c.dataDir, err))
	}
	return f, err
}

// listenAtURLs takes the address to listen on from a URL on this machine, when no address is given:
// on another port the issuer's keys could not be fetched. When one is given, the log warns of the
// difference.
func (h *app) listenAtURLs() {
	for _, d := range []struct {
		url, name string
		listen    *string
	}{{h.settings.issuer, "issuer", &h.issuerListen}, {h.settings.resource, "resource", &h.resourceListen}} {
		u, err := url.Parse(d.url)
		if d.url == "" || err != nil || u.Scheme != "http" || !config.ThisMachine(u.Hostname()) {
			continue
		}
		host, port := u.Hostname(), cmp.Or(u.Port(), "80")
		if host == "localhost" {
			host = "127.0.0.1"
		}
		named := net.JoinHostPort(host, port)
		if h.origin[d.name+"-listen"] == "" {
			*d.listen = named
			continue
		}
		if _, listening, err := net.SplitHostPort(*d.listen); err == nil && listening != port {
			h.log.Warn("no listener of this process is at the URL: a proxy must forward its requests",
				"setting", d.name, "url", d.url, "listen", *d.listen)
		}
	}
}

// listen opens both ports, and takes from them the settings that are still open.
func (h *app) listen() error {
	for i, d := range []struct {
		flag  string
		value *string
	}{{"issuer-listen", &h.issuerListen}, {"resource-listen", &h.resourceListen}} {
		l, err := httpd.Listen(*d.value)
		if err != nil {
			return usageError(fmt.Sprintf("choose another address with --%s, or stop what uses this one", d.flag), err)
		}
		h.listeners[i], *d.value = l, l.Addr().String()
		h.closers = append(h.closers, h.unlisten(l))
	}
	for i, d := range []struct{ flag, address string }{
		{"issuer-metrics-listen", h.issuerMetricsListen}, {"metrics-listen", h.metricsListen},
	} {
		if d.address == "" {
			continue
		}
		l, err := httpd.Listen(d.address)
		if err != nil {
			return usageError(fmt.Sprintf("choose another address with --%s, or stop what uses this one", d.flag), err)
		}
		h.metrics[i] = l
		h.closers = append(h.closers, h.unlisten(l))
	}
	return nil
}

// unlisten returns a function that closes a listener, which serving may have closed already.
func (h *app) unlisten(l net.Listener) func() error {
	return func() error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

// openServers opens both servers. In one process a revocation counts from the next request: without
// Redis they share the list of revoked grants, with it the issuer notifies the MCP server.
func (h *app) openServers(ctx context.Context) error {
	var err error
	auth := authserver.Deps{Log: h.log, Now: h.program.Now}
	tools := mcpserver.Deps{Log: h.log, Now: h.program.Now}
	auth.Ended = func(grantID string, until time.Time) { h.resource.Ended(grantID, until) }
	if h.redis == "" {
		revoked := revocation.NewMemory(h.program.Now)
		auth.Revocations, tools.Revoked = revoked, revoked
	}
	if h.keyKept {
		auth.Rekey = h.rekey
	}
	if h.issuer, err = authserver.New(ctx, h.authConfig(), auth); err != nil {
		return openError(err)
	}
	h.closers = append(h.closers, h.issuer.Close)
	if h.keyTurning {
		if _, err := h.issuer.Operator().Reseal(byServe(ctx), authserver.Resealing{}); err != nil {
			return fmt.Errorf("finishing the change of the key-encryption key: %w", err)
		}
	}
	tools.HTTPClient, tools.PublishedKeys = h.toIssuer(), h.issuer.PublishedKeys
	mcp := h.mcpConfig()
	mcp.ArgumentsKey = config.Secret(base64.StdEncoding.EncodeToString(h.issuer.ResourceArgumentsKey()))
	mcp.DPoPNonceKey = config.Secret(base64.StdEncoding.EncodeToString(h.issuer.ResourceNonceKey()))
	if h.resource, err = mcpserver.New(ctx, mcp, tools); err != nil {
		return openError(err)
	}
	h.closers = append(h.closers, h.resource.Close)
	more := toolsActs(h.resource.Operator())
	more[settingsAct] = settingsOperation(h.started)
	h.issuer.Operator().More = more
	return nil
}

// byServe is a context in which the server acts as an operator: the audit names it beside the local
// user.
func byServe(ctx context.Context) context.Context {
	return authserver.WithOperator(ctx, "gatehouse-serve")
}

// toIssuer returns the HTTP client with which the MCP server fetches the issuer's keys. It sends
// requests for the issuer's port on this machine to the listener itself: the same port of another
// loopback address may be another user's server.
func (h *app) toIssuer() *http.Client {
	listening := h.listeners[0].Addr().String()
	_, own, _ := net.SplitHostPort(listening)
	var d net.Dialer
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if ip, bad := netip.ParseAddr(host); err == nil && port == own &&
			(host == "localhost" || bad == nil && ip.IsLoopback()) {
			address = listening
		}
		return d.DialContext(ctx, network, address)
	}
	return &http.Client{Timeout: 5 * time.Second,
		Transport: &http.Transport{DialContext: dial, TLSHandshakeTimeout: 5 * time.Second,
			IdleConnTimeout: time.Minute}}
}

// openError returns the error of a server that does not open because of a setting or a store.
func openError(err error) error {
	hint := "correct the setting that it names, or the store; " + Name + " settings lists them"
	if errors.Is(err, authserver.ErrWrongKey) {
		hint = "use the key that this database was encrypted with last: restore the file key-encryption-key, or set " +
			"GATEHOUSE_KEY_ENCRYPTION_KEY; while the key is being changed, GATEHOUSE_PREVIOUS_KEY_ENCRYPTION_KEY, too"
	}
	return usageError(hint, err)
}

// serve creates the demo data if wanted, prints the addresses, and serves until ctx ends.
func (h *app) serve(ctx context.Context) error {
	w := &welcome{settings: &h.settings, fresh: false}
	if h.demo {
		var err error
		if w.fresh, err = h.seed(byServe(ctx)); err != nil {
			return err
		}
	}
	var servers []httpd.Door
	for _, d := range []struct {
		listener net.Listener
		handler  http.Handler
	}{{h.listeners[0], h.issuer.Handler()}, {h.listeners[1], h.resource.Handler()}, {h.admin, h.issuer.AdminHandler()},
		{h.metrics[0], h.issuer.Metrics()}, {h.metrics[1], h.resource.Metrics()}} {
		if d.listener == nil {
			continue
		}
		server := httpd.Server(d.handler)
		server.ErrorLog = slog.NewLogLogger(h.log.Handler(), slog.LevelDebug) // such as half-open connections
		servers = append(servers, httpd.Door{Server: server, Listener: d.listener})
	}
	if err := w.print(h.program.Stdout); err != nil {
		return fmt.Errorf("printing the addresses: %w", err)
	}
	if h.program.Ready != nil {
		h.program.Ready(h.addresses())
	}
	if err := httpd.Run(ctx, servers, httpd.NewStop(h.shutdownDelay, len(h.proxies) > 0 || h.redis != "" ||
		!h.embedded()), h.issuer.Run, h.resource.Run); err != nil {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

func (h *app) addresses() Addresses {
	a := Addresses{Issuer: h.settings.issuer, Resource: h.settings.resource, DataDir: h.dataDir}
	if h.metrics[0] != nil {
		a.IssuerMetrics = "http://" + h.metrics[0].Addr().String() + "/metrics"
	}
	if h.metrics[1] != nil {
		a.Metrics = "http://" + h.metrics[1].Addr().String() + "/metrics"
	}
	return a
}

// close closes everything that was opened, in the reverse order.
func (h *app) close() error {
	var errs []error
	for i := len(h.closers) - 1; i >= 0; i-- {
		errs = append(errs, h.closers[i]())
	}
	return errors.Join(errs...)
}
