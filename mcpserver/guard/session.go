package guard

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

// A session of an older client (MCP up to 2025-11-25) belongs to the server. The session id that
// the client gets also says whose it is, so that no other caller can use it at any replica, without
// state here.

// sessionHeader is the session id of an older client.
const sessionHeader = "Mcp-Session-Id"

// sessionMark separates the server's session id from the MAC.
const sessionMark = "."

// mac binds an id of the given kind to the tenant and grant of a caller.
func (p *Policy) mac(kind string, c mcp.Caller, id string) []byte {
	mac := hmac.New(sha256.New, []byte(p.SessionKey.Reveal()))
	for _, part := range []string{kind, c.TenantID, c.GrantID, id} {
		mac.Write([]byte(part))
		mac.Write([]byte{0})
	}
	return mac.Sum(nil)
}

func (p *Policy) sessionMAC(c mcp.Caller, id string) string {
	return base64.RawURLEncoding.EncodeToString(p.mac("session", c, id))
}

// sessionOut returns the session id for the client.
func (p *Policy) sessionOut(c mcp.Caller, id string) string {
	return id + sessionMark + p.sessionMAC(c, id)
}

// sessionIn replaces the client's session id with the server's, and reports whether the session is
// the caller's. A request without a session is fine.
func (p *Policy) sessionIn(r *http.Request, c mcp.Caller) bool {
	shown := r.Header[sessionHeader]
	if len(shown) == 0 {
		return true
	}
	at := strings.LastIndex(shown[0], sessionMark)
	if len(shown) != 1 || at < 0 {
		return false
	}
	id, mac := shown[0][:at], shown[0][at+1:]
	if !hmac.Equal([]byte(mac), []byte(p.sessionMAC(c, id))) {
		return false
	}
	r.Header.Set(sessionHeader, id)
	return true
}
