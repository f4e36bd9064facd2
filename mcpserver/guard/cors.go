package guard

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// CORS answers preflight requests from Config.AllowedOrigins, which have no token, and lets these
// origins read the challenge. Wrap it around the handler that Enforce, Serve or Protect returns.
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
			h.Add("Vary", "Access-Control-Request-Headers")
			h.Set("Access-Control-Allow-Headers", strings.Join(slices.Concat(allowedHeaders[:], mirrored(r)), ", "))
			h.Set("Access-Control-Max-Age", "3600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// allowedHeaders are the request headers that a page may send.
var allowedHeaders = [...]string{"Authorization", "DPoP", "Content-Type", "Accept", "MCP-Protocol-Version",
	"Mcp-Method", "Mcp-Name", "Mcp-Session-Id", "Last-Event-ID"}

// mirrored returns the requested headers that mirror arguments of tools; the server chooses their
// names (MCP 2026-07-28, "x-mcp-header").
func mirrored(r *http.Request) (names []string) {
	const prefix = message.ParameterHeader
	for _, asked := range r.Header["Access-Control-Request-Headers"] {
		for name := range strings.SplitSeq(asked, ",") {
			if name = strings.TrimSpace(name); len(name) > len(prefix) && len(names) < maxMirrored &&
				strings.EqualFold(name[:len(prefix)], prefix) && message.IsName(name) {
				names = append(names, name)
			}
		}
	}
	return names
}

const maxMirrored = 64
