// Package httpd is what all HTTP handlers share: limits, one log event per request, and graceful
// shutdown.
package httpd

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/outage"
	"github.com/gatehouse-mcp/gatehouse/shared/text"
)

// Options configure Handler.
type Options struct {
	Log            *slog.Logger   // nil: nothing is logged
	MaxBody        int64          // bytes; 0: 1 MiB
	Timeout        time.Duration  // how long a request may wait for stores or hashing; 0: 20 s
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is trusted
}

// RetryAfter sets Retry-After in whole seconds, at least one, rounded up (RFC 9110 §10.2.3).
func RetryAfter(w http.ResponseWriter, wait time.Duration) {
	w.Header().Set("Retry-After", strconv.FormatInt(max(int64((wait+time.Second-1)/time.Second), 1), 10))
}

// event is a request's log event.
type event struct {
	support string
	client  netip.Addr
	mu      sync.Mutex
	notes   []slog.Attr
	space   [8]slog.Attr // for the notes of most requests
	failing *outage.Log

	response *recorder
}

type eventKey struct{}

// maxValue bounds a logged value, in bytes.
const maxValue = 1024

// Handler wraps a handler: it bounds body and time, gives the request its support code, turns a
// panic into a plain 500 and writes one log event at the end. Internal failures share one ERROR
// line with a count (see package outage); a panic has its own. Query, headers and bodies are never
// logged, because they carry secrets.
func Handler(next http.Handler, o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxBody == 0 {
		o.MaxBody = 1 << 20
	}
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	failing := outage.New(o.Log)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		e := &event{failing: failing, support: strings.ToLower(rand.Text()[:12]),
			client: clientAddr(r, o.TrustedProxies)}
		e.notes = e.space[:0]
		w.Header().Set("X-Request-Id", e.support)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if len(r.TransferEncoding) > 0 {
			// net/http does not tell whether Content-Length was also present, in which case two
			// readers could see two requests: nothing follows on this connection (RFC 9112 §6.3).
			w.Header().Set("Connection", "close")
		}
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), eventKey{}, e), o.Timeout)
		defer cancel()
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(w, r.Body, o.MaxBody)
		rec := &recorder{ResponseWriter: w}
		e.response = rec
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler { // an aborted response is logged too
					e.note("aborted", true)
					e.log(o.Log, r, rec, time.Since(start))
					panic(p)
				}
				e.note("panic", p)
				e.note("stack", string(debug.Stack()))
				if rec.status == 0 {
					WriteJSON(rec, http.StatusInternalServerError, map[string]string{
						"error":             "server_error",
						"error_description": "Something went wrong on our side (support code " + e.support + ").",
					})
				}
			}
			e.log(o.Log, r, rec, time.Since(start))
		}()
		next.ServeHTTP(rec, r)
	})
}

// Paths serves the few escaped paths of nearly all requests without a router, and passes the others
// to rest.
func Paths(at map[string]http.Handler, rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := at[r.URL.EscapedPath()]; h != nil {
			h.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}

func (e *event) log(log *slog.Logger, r *http.Request, rec *recorder, took time.Duration) {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	level := slog.LevelInfo
	switch why, panicked := e.failure(); {
	case panicked:
		level = slog.LevelError
	case rec.status >= http.StatusInternalServerError:
		e.failing.Failed("requests", errors.New(why))
	}
	if !log.Enabled(r.Context(), level) {
		return
	}
	attrs := append([]slog.Attr{
		slog.String("method", clean(r.Method)), slog.String("path", clean(r.URL.Path)), slog.Int("status", rec.status),
		slog.Int64("bytes", rec.bytes), slog.Duration("took", took), slog.String("from", e.client.String()),
		slog.String("support", e.support),
	}, e.notes...)
	log.LogAttrs(context.WithoutCancel(r.Context()), level, "request", attrs...)
}

// failure returns why a request failed. e.mu is held.
func (e *event) failure() (why string, panicked bool) {
	why = "no reason was noted"
	for _, key := range []string{"refused", "error", "panic"} { // the last one is the most specific
		for _, a := range e.notes {
			if a.Key == key {
				why, panicked = a.Value.String(), key == "panic"
			}
		}
	}
	return why, panicked
}

func (e *event) note(key string, value any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch v := value.(type) {
	case string:
		e.notes = append(e.notes, slog.String(key, clean(v)))
	case error:
		e.notes = append(e.notes, slog.String(key, clean(v.Error())))
	default:
		e.notes = append(e.notes, slog.Any(key, v))
	}
}

// clean keeps a value within bounds and on one line, except for stack traces.
func clean(s string) string { return text.Marked(s, maxValue, "\n\t") }

// Note adds to the request's log event. Never note a secret.
func Note(ctx context.Context, key string, value any) {
	if e, ok := ctx.Value(eventKey{}).(*event); ok {
		e.note(key, value)
	}
}

// Noted returns what was noted last for a key in the request's log event, as text; empty for
// nothing.
func Noted(ctx context.Context, key string) string {
	e, ok := ctx.Value(eventKey{}).(*event)
	if !ok {
		return ""
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := len(e.notes) - 1; i >= 0; i-- {
		if e.notes[i].Key == key {
			return e.notes[i].Value.String()
		}
	}
	return ""
}

// Status is the status of the response to the request; 0 as long as none is written.
func Status(ctx context.Context) int {
	if e, ok := ctx.Value(eventKey{}).(*event); ok {
		return e.response.status
	}
	return 0
}

// SupportCode returns the request's id in the log, to be shown with an error. Empty outside
// Handler.
func SupportCode(ctx context.Context) string {
	if e, ok := ctx.Value(eventKey{}).(*event); ok {
		return e.support
	}
	return ""
}

// ClientAddr returns the address that the request came from, as far as trusted proxies tell. The
// zero Addr outside Handler.
func ClientAddr(ctx context.Context) netip.Addr {
	if e, ok := ctx.Value(eventKey{}).(*event); ok {
		return e.client
	}
	return netip.Addr{}
}

// Source returns whom to count a request against: its address, or the /64 of an IPv6 address.
func Source(ctx context.Context) string {
	a := ClientAddr(ctx)
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// clientAddr reads X-Forwarded-For from its end, as long as the hop that wrote it is trusted.
func clientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	addr = addr.Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && isTrusted(addr, trusted); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = hop.Unmap()
	}
	return addr
}

func isTrusted(a netip.Addr, trusted []netip.Prefix) bool {
	for _, p := range trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// recorder remembers the response's status.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// WriteJSON responds with v as JSON.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic("httpd: a value that is no JSON: " + err.Error()) // a programming error
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}
