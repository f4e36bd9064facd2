package httpd

import (
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

// OpenToPages lets pages of any origin read the response for these methods, without credentials
// (Fetch Standard, CORS protocol). It returns true when the request was a preflight and is
// answered.
func OpenToPages(w http.ResponseWriter, r *http.Request, methods string) (answered bool) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, ETag, Retry-After, X-Request-Id, DPoP-Nonce")
	if r.Method != http.MethodOptions {
		return false
	}
	h.Set("Access-Control-Allow-Methods", methods)
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, DPoP, MCP-Protocol-Version")
	h.Set("Access-Control-Max-Age", "3600")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// NotFound responds 404. Below /.well-known/ pages of any origin may read it: a client in a browser
// tries several URLs there.
func NotFound(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/.well-known/") && OpenToPages(w, r, "GET, HEAD") {
		return
	}
	http.NotFound(w, r)
}

// IsText reports whether a path or a name is UTF-8 without control characters.
func IsText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
