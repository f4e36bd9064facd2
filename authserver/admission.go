package authserver

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/load"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/oauthapi"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/pages"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// admissionWait is how long a request waits for its place before it is answered 503.
const admissionWait = 500 * time.Millisecond

// admit bounds the requests served at once. Under load, what keeps running agents going is served
// first: refreshing and revoking tokens, introspection, and reading the list of revoked grants.
// Others get 503 with Retry-After within admissionWait. A request counts once its body is read, so
// that slow senders take no places.
func (s *Server) admit(next http.Handler, programs *oauthapi.API, people *pages.Handler) http.Handler {
	limiter := load.New(int(s.config.MaxInFlight), admissionWait)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isCheap(r) {
			next.ServeHTTP(w, r)
			return
		}
		body := httpd.Buffer(r)
		leave, ok := limiter.Enter(r.Context(), isUrgent(r, body))
		if !ok {
			httpd.Note(r.Context(), "refused", "too many requests in flight")
			busy := oauth.TemporarilyUnavailable()
			if oauthapi.ForPrograms(r.URL.Path) {
				programs.Refuse(w, r, busy)
			} else {
				people.ErrorPage(w, r, busy)
			}
			return
		}
		defer leave()
		next.ServeHTTP(w, r)
	})
}

// isCheap reports whether a request is for something that is ready: health, metadata, keys, style
// sheets, explanations of errors.
func isCheap(r *http.Request) bool {
	p := r.URL.Path
	return r.Method == http.MethodOptions || p == "/healthz" || p == "/readyz" || p == oauthapi.JWKSPath ||
		strings.HasPrefix(p, "/.well-known/") || strings.HasPrefix(p, "/static/") ||
		strings.HasPrefix(p, issuer.ErrorPath)
}

// isUrgent reports whether a request is served before others.
func isUrgent(r *http.Request, body []byte) bool {
	switch r.URL.Path {
	case oauthapi.RevokePath, oauthapi.IntrospectionPath, oauthapi.RevokedPath:
		return true
	case oauthapi.TokenPath:
		form, err := url.ParseQuery(string(body))
		return err == nil && len(form["grant_type"]) == 1 && form.Get("grant_type") == client.GrantRefresh
	}
	return false
}
