package mcp

import (
	"net/http"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// Endpoint is the MCP endpoint: Streamable HTTP, one JSON answer to one POST, no session, no
// stream.
type Endpoint struct {
	Catalog *Catalog
	Info    Info
	// Deny answers a call that the caller's scopes do not open; scopes are those that the call
	// needs, with those that the caller has. Required: see guard.Challenge.
	Deny func(w http.ResponseWriter, r *http.Request, scopes []string)
	// MaxBody bounds a message, in bytes; 0: 1 MiB.
	MaxBody int64
	// CallTime bounds a tool's run; 0: 20 seconds.
	CallTime time.Duration
}

const (
	defaultMaxBody  = 1 << 20
	defaultCallTime = 20 * time.Second
)

// Serve answers one request of a caller, to whom its scopes open the tools.
func (e *Endpoint) Serve(w http.ResponseWriter, r *http.Request, caller Caller) {
	h := w.Header()
	h.Set("Cache-Control", "no-store") // what is listed depends on who asks
	h.Add("Vary", "Authorization")
	most := e.MaxBody
	if most == 0 {
		most = defaultMaxBody
	}
	body, refused := message.Read(w, r, most)
	if refused != nil {
		httpd.Note(r.Context(), "refused", refused.Message)
		if refused.Status == http.StatusMethodNotAllowed {
			h.Set("Allow", "POST") // neither a stream nor a session to delete
		}
		message.Refuse(w, refused.Status, nil, message.Invalid(refused.Message))
		return
	}
	m, f := message.Parse(body)
	if f == nil && !m.Answer {
		f = message.CheckEra(&m, r.Header)
	}
	x := &exchange{Endpoint: e, m: &m, w: w, r: r}
	if f == nil {
		httpd.Note(r.Context(), "mcp", m.Method)
		x.server = e.Catalog.For(caller)
	}
	x.finish(f)
}

// ServeMessage answers one message that a guard has read and decided on: what it calls may be
// called.
func (e *Endpoint) ServeMessage(w http.ResponseWriter, r *http.Request, m *message.Message, v View) {
	x := &exchange{Endpoint: e, m: m, w: w, r: r, decided: true, server: Server{caller: v.Caller}}
	if m.Method == "tools/list" {
		x.server = e.Catalog.see(v)
	}
	x.finish(nil)
}
