package stdio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// exchange is one message and its answer.
type exchange struct {
	*Pool
	w       http.ResponseWriter
	r       *http.Request
	c       mcp.Caller
	m       message.Message
	params  json.RawMessage
	modern  bool
	streams bool // the answer has begun as a stream
}

// Serve answers a caller's request by its tenant's process. The body was checked and is one
// message. There are no sessions, and no streams except a request's own answer, which is one
// message, or a stream when the process reports progress first.
func (p *Pool) Serve(w http.ResponseWriter, r *http.Request, c mcp.Caller) {
	x := &exchange{Pool: p, w: w, r: r, c: c}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		x.refuse(http.StatusMethodNotAllowed, message.Invalid("this server has no streams and no sessions"))
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		x.refuse(http.StatusBadRequest, message.Invalid("the message could not be read"))
		return
	}
	var f *message.Fault
	if x.m, f = message.Parse(body); f != nil {
		x.refuse(message.Status(&x.m, f, false), f)
		return
	}
	x.modern = message.IsModern(&x.m, r.Header)
	x.params = message.Value(body, "params")
	x.serve()
}

func (x *exchange) serve() {
	switch {
	case x.m.Answer:
		x.refuse(http.StatusBadRequest, message.Invalid("nothing was asked of you that this could answer"))
	case x.m.ID == nil:
		x.notified()
	case x.m.Method == "ping" && !x.modern:
		x.answer([]byte(`{}`))
	case x.m.Method == "initialize" && !x.modern:
		x.about((*exchange).initialized)
	case x.m.Method == "server/discover" && x.modern:
		x.about((*exchange).discovered)
	case own(x.m.Method):
		x.refuse(0, &message.Fault{Code: message.CodeNoMethod, Message: "there is no such method here"})
	default:
		x.forward()
	}
}

// own reports methods that would affect all clients of a tenant's process, or that have a stream of
// their own: they are not passed on.
func own(method string) bool {
	switch method {
	case "initialize", "server/discover", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe",
		"subscriptions/listen":
		return true
	}
	return false
}

// notified handles a notification. A cancellation is passed on under the id that the process knows;
// all others concern the gateway and the client only.
func (x *exchange) notified() {
	if x.m.Method == "notifications/cancelled" && len(x.params) > 0 {
		if p, id := x.running(x.c.TenantID), message.Value(x.params, "requestId"); p != nil && id != nil {
			p.withdraw(x.c.GrantID, string(id))
		}
	}
	x.w.WriteHeader(http.StatusAccepted)
}

// process returns the process of the caller's tenant, to be released, or nil after an error was
// answered.
func (x *exchange) process(ctx context.Context) *process {
	p, wait, err := x.find(ctx, x.c.TenantID)
	if err != nil {
		x.explain(err, wait)
		return nil
	}
	return p
}

// explain answers when the process did not.
func (x *exchange) explain(err error, wait time.Duration) {
	status := http.StatusBadGateway
	switch {
	case errors.Is(err, errTenant):
		status = http.StatusForbidden
	case errors.Is(err, errFull), errors.Is(err, errDown), errors.Is(err, errBusy):
		status = http.StatusServiceUnavailable
		httpd.RetryAfter(x.w, wait)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, errSlow):
		status, err = http.StatusGatewayTimeout, errSlow
	case errors.Is(err, context.Canceled):
		err = errSlow // the process does not read
	}
	x.refuse(status, &message.Fault{Code: message.CodeInternal, Message: err.Error()})
}

// about answers with what the process said of itself when it was opened.
func (x *exchange) about(say func(*exchange, *hello)) {
	ctx, cancel := context.WithTimeout(x.r.Context(), x.Limits.Start)
	defer cancel()
	if p := x.process(ctx); p != nil {
		defer p.release()
		say(x, &p.hello)
	}
}

// forward sends the request to the process and answers with its response. Progress goes to the
// requesting client.
func (x *exchange) forward() {
	ctx, cancel := context.WithCancelCause(x.r.Context())
	defer cancel(nil)
	slow := time.AfterFunc(x.Limits.Answer, func() { cancel(errSlow) })
	defer slow.Stop()
	p := x.process(ctx)
	if p == nil {
		return
	}
	defer p.release()
	who := &pending{grant: x.c.GrantID, id: string(x.m.ID)}
	params, shown := bare(x.params, &who.token)
	who.told = func(about []byte) {
		slow.Reset(x.Limits.Answer)
		x.progress(shown, about)
	}
	r, err := p.ask(ctx, x.m.Method, params, who)
	switch {
	case err != nil:
		x.explain(err, 0)
	case r.fault != nil:
		x.fault(r.fault)
	case x.modern:
		x.answer(modernized(x.m.Method, r.result, p.hello.Info))
	default:
		x.answer(r.result)
	}
}

// progress sends progress to the caller under its own token (MCP, "Progress"). The answer is a
// stream from then on.
func (x *exchange) progress(shown json.RawMessage, about []byte) {
	if !x.streams {
		x.streams = true
		x.w.Header().Set("Content-Type", "text/event-stream")
		x.w.WriteHeader(http.StatusOK)
	}
	b := append([]byte(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":`), shown...)
	x.event(append(append(append(b, ','), about[1:]...), '}'))
}

// event sends a message on the stream. Whether it is read is known by the request's context.
func (x *exchange) event(m []byte) {
	_, _ = x.w.Write(message.Event(oneLine(m)))
	_ = http.NewResponseController(x.w).Flush() // not every writer can flush
}

// fault passes on an error of the process, unchanged except for a code that the modern era does not
// have.
func (x *exchange) fault(raw json.RawMessage) {
	members, err := message.Members(raw)
	code := 0
	if text := message.Find(members, "code"); err != nil || text != nil && strictjson.Unmarshal(text, &code) != nil {
		x.explain(errBroken, 0)
		return
	}
	if x.modern && code == codeNoResource {
		code, raw = message.CodeParams, bytes.Replace(raw, []byte("-32002"), []byte("-32602"), 1)
	}
	x.write(message.Status(&x.m, &message.Fault{Code: code}, x.modern), "error", raw, code)
}

// codeNoResource is "resource not found" up to 2025-11-25; later it is an invalid parameter.
const codeNoResource = -32002

func (x *exchange) answer(result json.RawMessage) { x.write(http.StatusOK, "result", result, 0) }

// write answers under the client's own id.
func (x *exchange) write(status int, name string, value json.RawMessage, code int) {
	if code != 0 && code != message.CodeNoMethod && code != message.CodeParams && !x.modern {
		status = http.StatusOK // older clients expect JSON-RPC errors in a 200
	}
	b := make([]byte, 0, len(value)+len(x.m.ID)+40)
	b = append(append(b, `{"jsonrpc":"2.0","id":`...), x.m.ID...)
	b = append(append(append(b, `,"`...), name...), `":`...)
	b = append(append(b, value...), '}')
	if x.streams {
		x.event(b)
		return
	}
	message.Write(x.w, status, b)
}

// refuse answers in place of the process; status 0 is that of the fault.
func (x *exchange) refuse(status int, f *message.Fault) {
	httpd.Note(x.r.Context(), "refused", f.Message)
	if x.streams {
		x.event(message.ErrorTo(x.m.ID, f))
		return
	}
	if status == 0 {
		status = message.Status(&x.m, f, x.modern)
	}
	message.Refuse(x.w, status, x.m.ID, f)
}
