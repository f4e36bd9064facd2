package guard

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// recordBegin calls Policy.Begin, and answers 503 if the call cannot be recorded.
func (x *request) recordBegin() bool {
	if x.policy.Begin == nil {
		return true
	}
	x.record.CallID = rand.Text()
	err := x.policy.Begin(x.r.Context(), &x.record)
	if err == nil {
		return true
	}
	httpd.Note(x.r.Context(), "error", err)
	x.record.Refused = RefusedUnrecorded
	httpd.RetryAfter(x.w, 0)
	message.Refuse(x.w, http.StatusServiceUnavailable, x.m.ID, &message.Fault{
		Code:    message.CodeInternal,
		Message: "this call changes something and cannot be recorded now; nothing was done, try again later",
	})
	return false
}

// hashArguments sets the keyed hash of the arguments.
func (x *request) hashArguments() {
	if len(x.arguments) == 0 || len(x.m.Arguments) == 0 {
		return
	}
	mac := hmac.New(sha256.New, x.arguments)
	for _, s := range []string{x.v.caller.TenantID, x.m.Name} {
		io.WriteString(mac, s)
		mac.Write([]byte{0})
	}
	mac.Write(x.m.Arguments)
	x.record.Arguments = base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:argumentsName])
	if x.policy.ArgumentsKey != "" && x.record.Decision.Rule != "" {
		httpd.Note(x.r.Context(), "arguments", x.record.Arguments)
	}
}

// argumentsName is the length of the hash, in bytes: collisions are practically impossible.
const argumentsName = 16
