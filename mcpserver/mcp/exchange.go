package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// How long clients may cache lists, in milliseconds. Lists change with the scopes of the token, and
// clients cache them by server: after a step-up an old list would hide the new tool.
const (
	listTTL     = "0"
	discoverTTL = "3600000"
)

// exchange is one message and its response.
type exchange struct {
	*Endpoint
	server  Server
	m       *message.Message
	w       http.ResponseWriter
	r       *http.Request
	modern  bool
	decided bool // by a guard, which has also logged it
}

// finish answers a message, or sends the error.
func (x *exchange) finish(f *message.Fault) {
	x.modern = message.IsModern(x.m, x.r.Header)
	if f == nil {
		f = x.serve()
	}
	if f == nil {
		return
	}
	httpd.Note(x.r.Context(), "refused", f.Message)
	message.Refuse(x.w, message.Status(x.m, f, x.modern), x.m.ID, f)
}

// serve answers, or returns the error.
func (x *exchange) serve() *message.Fault {
	if x.m.Answer {
		return message.Invalid("only requests and notifications are taken: nothing was asked of you that this " +
			"could answer")
	}
	if x.m.ID == nil {
		x.w.WriteHeader(http.StatusAccepted) // a notification; none needs an action
		return nil
	}
	switch x.m.Method {
	case "tools/list":
		return x.list()
	case "tools/call":
		return x.call()
	case "server/discover":
		if x.modern {
			return x.discover()
		}
	case "initialize":
		if !x.modern {
			return x.initialize()
		}
	case "ping":
		if !x.modern {
			x.answer([]byte(`{}`))
			return nil
		}
	}
	return &message.Fault{Code: message.CodeNoMethod, Message: "there is no such method here; this server speaks " +
		fmt.Sprint(Versions())}
}

// initialize answers initialize of a legacy client (MCP 2025-11-25, lifecycle). There is no
// session: each request has its own token.
func (x *exchange) initialize() *message.Fault {
	if x.m.Version == "" {
		return message.BadParams("protocolVersion is missing")
	}
	version := x.m.Version
	if !message.IsLegacy(version) {
		version = NewestLegacy
	}
	x.answer(mustJSON(struct {
		Version      string       `json:"protocolVersion"`
		Capabilities capabilities `json:"capabilities"`
		Info         Info         `json:"serverInfo"`
		Instructions string       `json:"instructions,omitempty"`
	}{version, capabilities{}, x.Info, x.Info.Instructions}))
	return nil
}

// discover answers server/discover (MCP 2026-07-28).
func (x *exchange) discover() *message.Fault {
	x.answer(mustJSON(struct {
		Type         string          `json:"resultType"`
		Versions     []string        `json:"supportedVersions"`
		Capabilities capabilities    `json:"capabilities"`
		Instructions string          `json:"instructions,omitempty"`
		TTL          json.RawMessage `json:"ttlMs"`
		Scope        string          `json:"cacheScope"`
		Meta         json.RawMessage `json:"_meta"`
	}{"complete", Versions(), capabilities{}, x.Info.Instructions, json.RawMessage(discoverTTL), "private",
		x.serverMeta()}))
	return nil
}

// capabilities are those of this server: tools, whose list changes only with the token.
type capabilities struct {
	Tools struct {
		ListChanged bool `json:"listChanged"`
	} `json:"tools"`
}

func (x *exchange) serverMeta() json.RawMessage {
	return mustJSON(map[string]Info{message.MetaServerInfo: x.Info})
}

func (x *exchange) list() *message.Fault {
	if x.m.Cursor != nil && string(x.m.Cursor) != "null" {
		return message.BadParams("the cursor is not one of ours: the list has one page")
	}
	end := []byte{'}'}
	if x.modern {
		end = append([]byte(`,"resultType":"complete","ttlMs":`+listTTL+`,"cacheScope":"private","_meta":`),
			x.serverMeta()...)
		end = append(end, '}')
	}
	x.answer([]byte{'{'}, x.server.set.list, end)
	return nil
}

// call runs a tool. If the caller's scopes are not enough, it answers with a challenge before
// anything runs.
func (x *exchange) call() *message.Fault {
	if !x.m.Named {
		return message.BadParams("name is missing: which tool?")
	}
	t, in, place := x.Catalog.tool(x.m.Name)
	if t == nil {
		return message.BadParams("unknown tool: see tools/list")
	}
	if !x.decided {
		httpd.Note(x.r.Context(), "tool", t.Name)
	}
	if !x.decided && !x.server.set.mask.has(place) {
		httpd.Note(x.r.Context(), "refused", "insufficient_scope")
		x.Deny(x.w, x.r, append(slices.Clone(x.server.caller.Scopes), t.Scope))
		return nil
	}
	arguments := x.m.Arguments
	if arguments == nil || string(arguments) == "null" {
		arguments = json.RawMessage(`{}`)
	}
	if arguments[0] != '{' {
		return message.BadParams("arguments must be an object")
	}
	var result Result
	err := in.check(arguments)
	if err == nil {
		result, err = x.run(t, arguments)
	}
	if err != nil {
		result = Result{Text: x.explain(err)}
	}
	x.answer(x.result(result, err != nil))
	return nil
}

// run runs a tool with its time limit; a panic becomes an error.
func (x *exchange) run(t *Tool, arguments json.RawMessage) (result Result, err error) {
	limit := x.CallTime
	if limit == 0 {
		limit = defaultCallTime
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), limit)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			httpd.Note(x.r.Context(), "stack", string(debug.Stack()))
			err = fmt.Errorf("the tool panicked: %v", p)
		}
	}()
	return t.Bind(x.server.caller)(ctx, arguments)
}

// explain returns what the agent reads of an error. Internal errors are only logged.
func (x *exchange) explain(err error) string {
	var told ToolError
	var arguments InvalidArguments
	switch {
	case errors.As(err, &told):
		return told.Message
	case errors.As(err, &arguments):
		return arguments.Error()
	case errors.Is(err, context.DeadlineExceeded):
		httpd.Note(x.r.Context(), "error", err)
		return "The tool took too long and was stopped. Try again, or ask for less."
	}
	httpd.Note(x.r.Context(), "error", err)
	return "Something went wrong on the server's side. Try again; if it persists, give the operator the support code " +
		httpd.SupportCode(x.r.Context()) + "."
}

// result encodes the result of a tool (MCP, "Tool Result").
func (x *exchange) result(r Result, failed bool) []byte {
	b := make([]byte, 0, 2*len(r.Text)+len(r.Structured)+256)
	b = append(b, `{"content":[{"type":"text","text":`...)
	b = append(append(b, mustJSON(r.Text)...), `}],"isError":`...)
	b = strconv.AppendBool(b, failed)
	if len(r.Structured) > 0 && !failed {
		b = append(append(b, `,"structuredContent":`...), r.Structured...)
	}
	if x.modern {
		b = append(append(b, `,"resultType":"complete","_meta":`...), x.serverMeta()...)
	}
	return append(b, '}')
}

// answer writes a result, in parts so that a long list is copied once.
func (x *exchange) answer(result ...[]byte) {
	size := len(x.m.ID) + 40
	for _, part := range result {
		size += len(part)
	}
	b := make([]byte, 0, size)
	b = append(append(b, `{"jsonrpc":"2.0","id":`...), x.m.ID...)
	b = append(b, `,"result":`...)
	for _, part := range result {
		b = append(b, part...)
	}
	message.Write(x.w, http.StatusOK, append(b, '}'))
}

func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("mcp: a value that is no JSON: " + err.Error()) // programming error
	}
	return b
}
