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

// begin has a call recorded before it goes on.
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

// nameArguments says which arguments they were, to those who know the key.
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

// argumentsName is how much of the hash names arguments, in bytes: enough that no two have one
// name.
const argumentsName = 16
