package mcp

import (
	"net/http"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// Endpoint is an MCP endpoint for Streamable HTTP: each POST has one JSON response, without
// sessions or streams.
type Endpoint struct {
	Catalog *Catalog
	Info    Info
	// Deny answers a call for which the caller's scopes are not enough; scopes are those that the
	// call needs and those that the caller has. Required: see guard.Challenge.
	Deny func(w http.ResponseWriter, r *http.Request, scopes []string)
	// MaxBody is the size limit of a message, in bytes; 0: 1 MiB.
	MaxBody int64
	// CallTime is the time limit of a tool; 0: 20 seconds.
	CallTime time.Duration
}

const (
	defaultMaxBody  = 1 << 20
	defaultCallTime = 20 * time.Second
)

// Serve answers one request of a caller, by its scopes.
func (e *Endpoint) Serve(w http.ResponseWriter, r *http.Request, caller Caller) {
	h := w.Header()
	h.Set("Cache-Control", "no-store") // lists depend on the caller
	h.Add("Vary", "Authorization")
	most := e.MaxBody
	if most == 0 {
		most = defaultMaxBody
	}
	body, refused := message.Read(w, r, most)
	if refused != nil {
		httpd.Note(r.Context(), "refused", refused.Message)
		if refused.Status == http.StatusMethodNotAllowed {
			h.Set("Allow", "POST") // there is neither a stream nor a session
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

// ServeMessage answers a message that a guard has parsed and allowed.
func (e *Endpoint) ServeMessage(w http.ResponseWriter, r *http.Request, m *message.Message, v View) {
	x := &exchange{Endpoint: e, m: m, w: w, r: r, decided: true, server: Server{caller: v.Caller}}
	if m.Method == "tools/list" {
		x.server = e.Catalog.see(v)
	}
	x.finish(nil)
}
