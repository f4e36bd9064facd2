package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/card"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/limit"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// KeysPath is the path of the keys of caller assertions.
const KeysPath = "/.well-known/gatehouse-caller-keys"

const (
	longest     = 24 * time.Hour   // of a request: a stream ends with its token long before
	writeWithin = 30 * time.Second // for a client to read a part of a response
)

// routes returns the routes of the gateway.
func (g *Gateway) routes(protected map[string]http.Handler) (http.Handler, error) {
	proxies, err := config.Networks(strings.Join(g.file.TrustedProxies, ","))
	if err != nil {
		return nil, err
	}
	// nothing redirects: a path is exactly one of these or is not found
	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
	r.NotFoundHandler = http.HandlerFunc(httpd.NotFound)
	r.HandleFunc("/healthz", g.healthz).Methods("GET", "HEAD")
	r.HandleFunc("/readyz", g.readyz).Methods("GET", "HEAD")
	documents := limit.Documents(g.file.DocumentsPerMinute, g.deps.Now)
	r.Handle(KeysPath, documents(http.HandlerFunc(g.keys))).Methods("GET", "HEAD")
	cards, err := card.Routes(g.file.facts()...)
	if err != nil {
		return nil, err
	}
	g.cards.Store(&cards)
	for at := range cards { // a reload changes the documents, not the paths
		r.Handle(at,
			documents(http.HandlerFunc(func(w http.ResponseWriter,
				r *http.Request) {
				(*g.cards.Load())[at].ServeHTTP(w, r)
			})))
	}
	var most int64 = 1 << 20
	upstreams := map[string]http.Handler{}
	for _, m := range g.upstreams {
		upstreams[pathOf(m.config.Resource)] = m.guard.CORS(lasting(protected[m.config.Name]))
		most = max(most, m.config.Limits.Body)
	}
	return httpd.Handler(httpd.Paths(upstreams, r), httpd.Options{Log: g.deps.Log, TrustedProxies: proxies,
		MaxBody: most, Timeout: longest}), nil
}

// facts are the content of the metadata and server cards.
func (f *File) facts() []card.Facts {
	var all []card.Facts
	for _, u := range f.Upstreams {
		of := card.Facts{
			Resource: u.Resource, Issuer: f.Issuer, Name: cardName(u), Title: u.Title, Version: Version,
			Description: "An MCP server behind a Gatehouse gateway", Protocols: mcp.Versions(), CanRegister: true,
			RequireDPoP: f.RequireDPoP,
		}
		for _, s := range u.Scopes {
			of.Scopes = append(of.Scopes, card.Scope{Name: s.Name, Description: s.Description, Baseline: s.Baseline})
		}
		all = append(all, of)
	}
	return all
}

// Version is the version that the gateway reports.
const Version = "0.1.0"

// cardName returns an upstream's name as server cards have it: the reversed host and its own name.
func cardName(u Upstream) string {
	parsed, err := url.Parse(u.Resource)
	if err != nil {
		return u.Name
	}
	labels := strings.Split(parsed.Hostname(), ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".") + "/" + u.Name
}

// lasting extends the write deadline as long as the client reads: one deadline for the whole
// response would end every stream.
func lasting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&pacedWriter{w, http.NewResponseController(w)}, r)
	})
}

// pacedWriter gives each part of a response its own write deadline.
type pacedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (w *pacedWriter) WriteHeader(status int) {
	w.extend()
	w.ResponseWriter.WriteHeader(status)
}

func (w *pacedWriter) Write(p []byte) (int, error) {
	w.extend()
	return w.ResponseWriter.Write(p)
}

// FlushError implements what http.ResponseController looks for.
func (w *pacedWriter) FlushError() error {
	w.extend()
	return w.control.Flush()
}

// extend extends the deadline. An error means that there is none.
func (w *pacedWriter) extend() {
	_ = w.control.SetWriteDeadline(time.Now().Add(writeWithin))
}

// Unwrap implements what http.ResponseController looks for.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// healthz answers 200 while the process serves.
func (g *Gateway) healthz(w http.ResponseWriter, _ *http.Request) {
	httpd.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz answers 200 if a request with a valid token can be decided: the issuer's keys and the list
// of revocations are known. The states of the upstreams are in the body alone: one that is down
// must not affect the others.
func (g *Gateway) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	_, err := g.revoked.Ended(ctx, "readyz")
	found := map[string]string{}
	for _, m := range g.upstreams {
		err = errors.Join(err, m.guard.Ready(ctx))
		found[m.config.Name] = m.server.State()
	}
	status, word := http.StatusOK, "ready"
	if err != nil {
		httpd.Note(r.Context(), "error", err)
		status, word = http.StatusServiceUnavailable, "not ready"
	}
	httpd.WriteJSON(w, status, struct {
		Status    string            `json:"status"`
		Upstreams map[string]string `json:"upstreams"`
	}{word, found})
}

// keys serves the key of caller assertions (RFC 7517 section 5).
func (g *Gateway) keys(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Write(g.signer.KeySet())
}
