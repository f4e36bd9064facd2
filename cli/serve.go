package cli

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

// house is both wings under one roof, with everything that must be closed again.
type house struct {
	*call
	started  []setting // before any is completed
	log      *slog.Logger
	issuer   *authserver.Server
	resource *mcpserver.Server
	doors    [2]net.Listener // issuer's, resource's
	metrics  net.Listener    // nil: nowhere
	admin    net.Listener
	closers  []func() error // in the order of opening
}

func serveFlags(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		h := &house{call: c, started: c.started()}
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

// open does everything that can go wrong before the first request. The ports come early, because a
// port in use is the commonest trouble.
func (h *house) open(ctx context.Context) error {
	var err error
	if h.log, err = h.program.log(h.logLevel); err != nil {
		return err
	}
	f, err := h.enter(ctx)
	if err != nil {
		return err
	}
	h.closers = append(h.closers, f.release)
	if err := h.demoStaysHere(); err != nil {
		return err
	}
	h.listenWhereNamed()
	if err := h.listen(); err != nil {
		return err
	}
	h.locate()
	if err := h.prepare(); err != nil {
		return err
	}
	if err := h.migrate(ctx); err != nil {
		return err
	}
	if err := h.wings(ctx); err != nil {
		return err
	}
	if h.admin, err = authserver.ListenOperator(h.dataDir); err != nil {
		return misused("choose another folder with --data-dir", err)
	}
	h.closers = append(h.closers, h.unlisten(h.admin))
	return nil
}

// enter takes the data directory for this process.
func (c *call) enter(ctx context.Context) (*folder, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	f, err := holdInTime(ctx, c.dataDir, c.command.name)
	if errors.Is(err, errHeld) {
		return nil, misused("stop the other one, or choose another folder with --data-dir",
			fmt.Errorf("%s is in use: %w", c.dataDir, err))
	}
	return f, err
}

// listenWhereNamed takes the address to listen on from a URL on this machine, where none is given
// beside it: with another port the issuer's keys would be asked for where nothing listens. Where
// one is given, the log says so.
func (h *house) listenWhereNamed() {
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
			h.log.Warn("nothing of this process listens at the URL: something else must pass its requests on",
				"setting", d.name, "url", d.url, "listen", *d.listen)
		}
	}
}

// listen opens both ports and takes from them what the settings leave open.
func (h *house) listen() error {
	for i, d := range []struct {
		flag  string
		value *string
	}{{"issuer-listen", &h.issuerListen}, {"resource-listen", &h.resourceListen}} {
		l, err := httpd.Listen(*d.value)
		if err != nil {
			return misused(fmt.Sprintf("choose another address with --%s, or stop what uses this one", d.flag), err)
		}
		h.doors[i], *d.value = l, l.Addr().String()
		h.closers = append(h.closers, h.unlisten(l))
	}
	if h.metricsListen == "" {
		return nil
	}
	var err error
	if h.metrics, err = httpd.Listen(h.metricsListen); err != nil {
		return misused("choose another address with --metrics-listen, or stop what uses this one", err)
	}
	h.closers = append(h.closers, h.unlisten(h.metrics))
	return nil
}

// unlisten closes a listener that serving may have closed already.
func (h *house) unlisten(l net.Listener) func() error {
	return func() error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

// wings opens both. In one process an end of a grant counts from the very next request: without
// Redis they share the list, with it the one tells the other.
func (h *house) wings(ctx context.Context) error {
	var err error
	shared := authserver.Deps{Log: h.log, Now: h.program.Now}
	reading := mcpserver.Deps{Log: h.log, Now: h.program.Now}
	shared.Ended = func(grantID string, until time.Time) { h.resource.Ended(grantID, until) }
	if h.redis == "" {
		ended := revocation.NewMemory(h.program.Now)
		shared.Revocations, reading.Revoked = ended, ended
	}
	if h.keyKept {
		shared.Rekey = h.rekey
	}
	if h.issuer, err = authserver.New(ctx, h.issuing(), shared); err != nil {
		return opening(err)
	}
	h.closers = append(h.closers, h.issuer.Close)
	if h.keyTurning {
		if _, err := h.issuer.Operator().Reseal(byServe(ctx), authserver.Resealing{}); err != nil {
			return fmt.Errorf("finishing the change of the key-encryption key: %w", err)
		}
	}
	reading.HTTPClient, reading.PublishedKeys = h.toIssuer(), h.issuer.PublishedKeys
	serving := h.serving()
	serving.ArgumentsKey = config.Secret(base64.StdEncoding.EncodeToString(h.issuer.ResourceArgumentsKey()))
	serving.DPoPNonceKey = config.Secret(base64.StdEncoding.EncodeToString(h.issuer.ResourceNonceKey()))
	if h.resource, err = mcpserver.New(ctx, serving, reading); err != nil {
		return opening(err)
	}
	h.closers = append(h.closers, h.resource.Close)
	more := toolsActs(h.resource.Operator())
	more[settingsAct] = saySettings(h.started)
	h.issuer.Operator().More = more
	return nil
}

// byServe is a context in which the program that serves does what an operator could: the audit
// names it beside the local user.
func byServe(ctx context.Context) context.Context {
	return authserver.WithOperator(ctx, "gatehouse-serve")
}

// toIssuer is the client with which the resource wing fetches the issuer's keys. What goes to the
// issuer's own port on this machine goes to the very listener: another user's server on the same
// port of another loopback address must not be asked for keys.
func (h *house) toIssuer() *http.Client {
	listening := h.doors[0].Addr().String()
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

// opening is trouble with a wing that does not open: a setting, or a store.
func opening(err error) error {
	hint := "mend the setting that it names, or the store behind it; " + Name + " serve -h lists the settings"
	if errors.Is(err, authserver.ErrWrongKey) {
		hint = "give the key that this database was sealed with last: put back the file key-encryption-key, or set " +
			"GATEHOUSE_KEY_ENCRYPTION_KEY; and while a change is under way, GATEHOUSE_PREVIOUS_KEY_ENCRYPTION_KEY"
	}
	return misused(hint, err)
}

// serve fills the store if it is to be filled, says where things are, and serves until ctx ends.
func (h *house) serve(ctx context.Context) error {
	w := &welcome{settings: &h.settings, fresh: false}
	if h.demo {
		var err error
		if w.fresh, err = h.seed(byServe(ctx)); err != nil {
			return err
		}
	}
	var doors []httpd.Door
	for _, d := range []struct {
		listener net.Listener
		handler  http.Handler
	}{{h.doors[0], h.issuer.Handler()}, {h.doors[1], h.resource.Handler()}, {h.admin, h.issuer.AdminHandler()},
		{h.metrics, h.resource.Metrics()}} {
		if d.listener == nil {
			continue
		}
		server := httpd.Server(d.handler)
		server.ErrorLog = slog.NewLogLogger(h.log.Handler(), slog.LevelDebug) // half-open connections and the like
		doors = append(doors, httpd.Door{Server: server, Listener: d.listener})
	}
	if err := w.print(h.program.Stdout); err != nil {
		return fmt.Errorf("saying where things are: %w", err)
	}
	if h.program.Ready != nil {
		h.program.Ready(h.addresses())
	}
	if err := httpd.Run(ctx, doors, httpd.NewStop(h.shutdownDelay, len(h.proxies) > 0 || h.redis != "" ||
		!h.embedded()), h.issuer.Run, h.resource.Run); err != nil {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

func (h *house) addresses() Addresses {
	a := Addresses{Issuer: h.settings.issuer, Resource: h.settings.resource, DataDir: h.dataDir}
	if h.metrics != nil {
		a.Metrics = "http://" + h.metrics.Addr().String() + "/metrics"
	}
	return a
}

// close closes what was opened, last first.
func (h *house) close() error {
	var errs []error
	for i := len(h.closers) - 1; i >= 0; i-- {
		errs = append(errs, h.closers[i]())
	}
	return errors.Join(errs...)
}
