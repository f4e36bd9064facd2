package guard

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

// A session of an older client (MCP up to 2025-11-25) is the server's; the name that its client
// gets for it says whose it is. So nobody else can use it, at whichever replica, and nothing is
// kept here.

// sessionHeader names a session of an older client.
const sessionHeader = "Mcp-Session-Id"

// sessionMark stands between the server's name of a session and ours.
const sessionMark = "."

func (p *Policy) sessionMAC(c mcp.Caller, id string) string {
	mac := hmac.New(sha256.New, []byte(p.SessionKey.Reveal()))
	for _, part := range []string{"session", c.TenantID, c.GrantID, id} {
		mac.Write([]byte(part))
		mac.Write([]byte{0})
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// sessionOut is the name of a session that its client is told.
func (p *Policy) sessionOut(c mcp.Caller, id string) string {
	return id + sessionMark + p.sessionMAC(c, id)
}

// sessionIn puts the server's own name of a session in place of the client's, and says whether it
// is this caller's. A request without a session has nothing to say.
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
