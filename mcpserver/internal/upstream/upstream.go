// Package upstream calls a server behind the gateway over Streamable HTTP: which headers are passed
// on in each direction, and with which limits.
package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/limit"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// Limits bound requests and waits. Zero fields get the default that their comment names.
type Limits struct {
	InFlight  int           // concurrent requests; default 64
	PerTenant int           // of one tenant; default half of InFlight
	Streams   int           // open streams; default 256
	Answer    int64         // bytes of a response that is no stream; default 8 MiB
	Connect   time.Duration // default 5 seconds
	FirstByte time.Duration // until the response begins; default 60 seconds
	Idle      time.Duration // between two pieces of a response; default 5 minutes
	// consecutive failures after which no requests (of all, or of one tenant) are sent for a while;
	// default 5
	Failures int
	Cooldown time.Duration // that while; default 5 seconds
}

func (l Limits) filled() Limits {
	def := func(v *int, otherwise int) {
		if *v <= 0 {
			*v = otherwise
		}
	}
	wait := func(v *time.Duration, otherwise time.Duration) {
		if *v <= 0 {
			*v = otherwise
		}
	}
	def(&l.InFlight, 64)
	def(&l.PerTenant, max(1, l.InFlight/2))
	def(&l.Streams, 256)
	def(&l.Failures, 5)
	wait(&l.Connect, 5*time.Second)
	wait(&l.FirstByte, time.Minute)
	wait(&l.Idle, 5*time.Minute)
	wait(&l.Cooldown, 5*time.Second)
	if l.Answer <= 0 {
		l.Answer = 8 << 20
	}
	return l
}

// Config configures a server.
type Config struct {
	Name string // for the log
	URL  *url.URL
	// Credential returns a header for the server, in place of the caller's token. An empty name:
	// none.
	Credential func(ctx context.Context, c mcp.Caller) (name, value string, err error)
	Limits     Limits
	// TLS has the trusted certificates and the client certificate. Nil: those of the machine, and
	// none.
	TLS *tls.Config
	// Trouble is called with what was wrong with a response, or why there was none, for the
	// operator. May be nil.
	Trouble func(error)
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: nothing is logged
}

// Server is a server behind the gateway. It is safe for concurrent use.
type Server struct {
	Config
	transport *http.Transport
	requests  *limit.InFlight
	streams   *limit.InFlight
	breakers  breakers
}

// New returns a server without connecting to it.
func New(c Config) *Server {
	c.Limits = c.Limits.filled()
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Trouble == nil {
		c.Trouble = func(error) {}
	}
	return &Server{
		Config: c,
		// A transport follows no redirects. No proxy of the environment is used, because requests
		// are for this server only. No compression, so that responses are passed on byte for byte.
		transport: &http.Transport{
			TLSClientConfig:     c.TLS,
			DialContext:         (&net.Dialer{Timeout: c.Limits.Connect}).DialContext,
			TLSHandshakeTimeout: c.Limits.Connect, ResponseHeaderTimeout: c.Limits.FirstByte,
			MaxIdleConnsPerHost: c.Limits.InFlight, IdleConnTimeout: time.Minute, DisableCompression: true,
			MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		},
		requests: limit.NewInFlight(c.Limits.InFlight, c.Limits.PerTenant),
		streams:  limit.NewInFlight(c.Limits.Streams, max(1, c.Limits.Streams/2)),
		breakers: breakers{all: &breaker{most: c.Limits.Failures, cooldown: c.Limits.Cooldown, now: c.Now}},
	}
}

// State returns "ok", "failing" or "probing"; or "failing for some", when only some tenants or
// addresses are affected.
func (s *Server) State() string { return s.breakers.describe() }

// Close closes idle connections.
func (s *Server) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// The errors for callers when the server is not available. They do not name it or quote it.
var (
	errBusy    = errors.New("the server behind this gateway has all that it can do; try again")
	errDown    = errors.New("the server behind this gateway does not answer; try again later")
	errSlow    = errors.New("the server behind this gateway took too long")
	errBroken  = errors.New("the server behind this gateway answers with what is no message")
	errLarge   = errors.New("the server behind this gateway answers with more than is passed on; ask for less")
	errRefuses = errors.New("the server behind this gateway does not do what this gateway asks of it")
)

// Serve sends a request to the server and passes its response on. The body was checked and is one
// message.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, c mcp.Caller) {
	var body []byte
	m := &message.Message{} // a GET has none
	if r.Method == http.MethodPost {
		var err error
		if body, m, err = message.BodyOf(r); err != nil {
			refuse(w, r, http.StatusBadRequest, nil, errors.New("the message could not be read"))
			return
		}
	}
	way := s.requests
	if message.Lasts(r, m) {
		way = s.streams
	}
	p := partyOf(r.Context(), c)
	leave, ok := way.Enter(p)
	if !ok {
		httpd.RetryAfter(w, 0)
		refuse(w, r, http.StatusServiceUnavailable, m.ID, errBusy)
		return
	}
	defer leave()
	report, wait, ok := s.breakers.enter(p)
	if !ok {
		httpd.RetryAfter(w, wait)
		refuse(w, r, http.StatusServiceUnavailable, m.ID, errDown)
		return
	}
	s.exchange(w, r, c, sent{body, m.ID, r.Method == http.MethodPost && (m.ID == nil || m.Answer)}, func(o outcome) {
		all, own := report(o)
		if all != "" {
			s.Log.Warn("a server behind the gateway is found otherwise", "upstream", s.Name, "state", all)
		}
		if own != "" {
			s.Log.Warn("a server behind the gateway is found otherwise by a tenant", "upstream", s.Name, "tenant",
				p.Tenant, "address", p.Address, "state", own)
		}
	})
}

// sent is what is sent to the server.
type sent struct {
	body   []byte
	id     json.RawMessage
	silent bool // a notification or a response: it has no answer
}

// exchange sends a request and passes its response on. It reports the outcome as soon as it is
// known, because a stream may last for hours.
func (s *Server) exchange(w http.ResponseWriter, r *http.Request, c mcp.Caller, m sent, report func(outcome)) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	out, err := s.request(ctx, r, c, m.body)
	if err != nil {
		report(unknown)
		s.Trouble(err)
		httpd.Note(r.Context(), "error", err)
		refuse(w, r, http.StatusBadGateway, m.id, errDown)
		return
	}
	response, err := s.transport.RoundTrip(out)
	if err != nil {
		s.explain(w, r, m.id, err, report)
		return
	}
	defer response.Body.Close()
	idle := time.AfterFunc(s.Limits.Idle, cancel)
	defer idle.Stop()
	a := &answer{Server: s, w: w, r: r, sent: m, response: response, ctx: ctx, report: report,
		touch: func() { idle.Reset(s.Limits.Idle) }}
	a.pass()
}

// explain answers when the server did not. A timeout may be caused by the request, for example of a
// slow tool: it is no failure of the server, or one tenant could shut out all.
func (s *Server) explain(w http.ResponseWriter, r *http.Request, id json.RawMessage, err error, report func(outcome)) {
	if r.Context().Err() != nil {
		report(unknown) // the client is gone
		return
	}
	httpd.Note(r.Context(), "error", err)
	s.Trouble(fmt.Errorf("the server at %s cannot be reached: %w", s.URL.Redacted(), err))
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() && !isDial(err) {
		report(unknown)
		refuse(w, r, http.StatusGatewayTimeout, id, errSlow)
		return
	}
	found := bad
	if isDial(err) {
		found = down
	}
	report(found)
	refuse(w, r, http.StatusBadGateway, id, errDown)
}

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// refuse answers in place of the server.
func refuse(w http.ResponseWriter, r *http.Request, status int, id json.RawMessage, err error) {
	httpd.Note(r.Context(), "refused", err)
	message.Refuse(w, status, id, &message.Fault{Code: message.CodeInternal, Message: err.Error()})
}

// request returns the request for the server.
func (s *Server) request(ctx context.Context, r *http.Request, c mcp.Caller, body []byte) (*http.Request, error) {
	out := (&http.Request{
		Method: r.Method, URL: s.URL, Host: s.URL.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: requestHeader(r.Header),
	}).WithContext(ctx)
	if len(body) > 0 {
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	// no header at all would allow every coding (RFC 9110 §12.5.3)
	out.Header["Accept-Encoding"] = []string{"identity"}
	if code := httpd.SupportCode(ctx); code != "" {
		out.Header["X-Request-Id"] = []string{code}
	}
	if s.Credential == nil {
		return out, nil
	}
	name, value, err := s.Credential(ctx, c)
	if err != nil {
		return nil, err
	}
	if name != "" {
		out.Header[http.CanonicalHeaderKey(name)] = []string{value}
	}
	return out, nil
}

func contentLength(h http.Header, n int) { h.Set("Content-Length", strconv.Itoa(n)) }
