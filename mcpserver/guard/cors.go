package guard

import (
	"net/http"
	"slices"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// CORS answers preflights of the browsers whose origin is among Config.AllowedOrigins, before a token is asked for, and lets them read the challenge. It goes around
// what Enforce, Serve or Protect made.
func (g *Guard) CORS(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if origin == "" || !slices.Contains(g.config.AllowedOrigins, origin) {
			next.ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", origin)
		h.Add("Vary", "Origin")
		h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, DPoP-Nonce, X-Request-Id, Mcp-Session-Id")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", "POST, GET, DELETE")
			h.Set("Access-Control-Allow-Headers",
				"Authorization, DPoP, Content-Type, Accept, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id, Last-Event-ID")
			h.Set("Access-Control-Max-Age", "3600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// TooMany answers 429 to who asks too often, for Policy.Admit: ask again after wait.
func TooMany(w http.ResponseWriter, r *http.Request, wait time.Duration) {
	refused := oauth.TooManyRequests()
	httpd.Note(r.Context(), "refused", "too many requests")
	httpd.RetryAfter(w, wait)
	httpd.WriteJSON(w, refused.Status, map[string]string{"error": refused.Code, "error_description": refused.Description})
}
