package guard

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// CORS answers preflights of the browsers whose origin is among Config.AllowedOrigins, before a
// token is asked for, and lets them read the challenge. It goes around what Enforce, Serve or
// Protect made.
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

// allowedHeaders are what a page may send beside what every page may.
var allowedHeaders = [...]string{"Authorization", "DPoP", "Content-Type", "Accept", "MCP-Protocol-Version",
	"Mcp-Method", "Mcp-Name", "Mcp-Session-Id", "Last-Event-ID"}

// mirrored are the headers that a preflight asks for and that mirror arguments of tools: their
// names are the server's (MCP 2026-07-28, "x-mcp-header").
func mirrored(r *http.Request) (names []string) {
	const prefix = message.ParameterHeader
	for _, asked := range r.Header["Access-Control-Request-Headers"] {
		for name := range strings.SplitSeq(asked, ",") {
			if name = strings.TrimSpace(name); len(name) > len(prefix) && len(names) < mostMirrored &&
				strings.EqualFold(name[:len(prefix)], prefix) && message.IsName(name) {
				names = append(names, name)
			}
		}
	}
	return names
}

const mostMirrored = 64
