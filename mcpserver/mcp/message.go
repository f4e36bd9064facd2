package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
)

// The error codes of JSON-RPC 2.0 and of MCP 2026-07-28.
const (
	codeParse       = -32700
	codeInvalid     = -32600
	codeNoMethod    = -32601
	codeParams      = -32602
	codeInternal    = -32603
	codeHeaders     = -32020 // HeaderMismatch
	codeUnsupported = -32022 // UnsupportedProtocolVersion
)

// The members of _meta that a modern request says everything in.
const (
	metaVersion      = "io.modelcontextprotocol/protocolVersion"
	metaCapabilities = "io.modelcontextprotocol/clientCapabilities"
	metaServerInfo   = "io.modelcontextprotocol/serverInfo"
)

// message is one JSON-RPC message, taken apart once. Values are as they were written.
type message struct {
	id     json.RawMessage // nil: a notification
	method string

	// of params
	name         string // tools/call
	named        bool
	arguments    json.RawMessage
	cursor       json.RawMessage
	version      string // initialize
	meta         bool   // a version is in _meta: the modern era
	metaVersion  string
	capabilities bool // of the client, an object
}

// fault is what is wrong with a message.
type fault struct {
	code    int
	message string
	data    any // JSON; nil: none
}

func (f *fault) Error() string { return f.message }

func invalid(message string) *fault { return &fault{code: codeInvalid, message: message} }

func badParams(message string) *fault { return &fault{code: codeParams, message: message} }

// parse takes a message apart. Only the exact spelling of a member counts, and one that differs from it only by case is refused: somebody else
// down the line might fold it.
func parse(body []byte) (message, *fault) {
	var m message
	body = bytes.Trim(body, " \t\r\n")
	if len(body) > 0 && body[0] == '[' {
		return m, invalid("batches are not taken: send one message a request")
	}
	envelope, err := members(body)
	if err != nil {
		return m, unreadable(err)
	}
	var version, params json.RawMessage
	answer := false
	for _, e := range envelope {
		switch string(e.name) {
		case "jsonrpc":
			version = e.value
		case "id":
			m.id = e.value
		case "method":
			if m.method = text(e.value); m.method == "" {
				return m, invalid("method is not a string")
			}
		case "params":
			params = e.value
		case "result", "error":
			answer = true
		default:
			if folds(e.name, "jsonrpc", "id", "method", "params") {
				return m, invalid("a member is spelled in the wrong case")
			}
		}
	}
	switch {
	case string(version) != `"2.0"`:
		return m, invalid(`jsonrpc must be "2.0"`)
	case m.id != nil && !identifies(m.id):
		m.id = nil
		return m, invalid("id must be a string or an integer")
	case answer || m.method == "":
		return m, invalid("only requests and notifications are taken: nothing was asked of you that this could answer")
	}
	return m, m.parseParams(params)
}

func unreadable(err error) *fault {
	if errors.Is(err, errSyntax) {
		return &fault{code: codeParse, message: err.Error()}
	}
	return invalid(err.Error())
}

func (m *message) parseParams(params json.RawMessage) *fault {
	if params == nil || string(params) == "null" {
		return nil
	}
	if params[0] != '{' {
		return badParams("params must be an object")
	}
	found, err := members(params)
	if err != nil {
		return unreadable(err)
	}
	for _, p := range found {
		switch string(p.name) {
		case "name":
			m.name, m.named = text(p.value), p.value[0] == '"'
		case "arguments":
			m.arguments = p.value
		case "cursor":
			m.cursor = p.value
		case "protocolVersion":
			m.version = text(p.value)
		case "_meta":
			if f := m.parseMeta(p.value); f != nil {
				return f
			}
		default:
			if folds(p.name, "name", "arguments", "cursor", "_meta") {
				return invalid("a member of params is spelled in the wrong case")
			}
		}
	}
	return nil
}

func (m *message) parseMeta(meta json.RawMessage) *fault {
	if meta[0] != '{' {
		return badParams("_meta must be an object")
	}
	found, err := members(meta)
	if err != nil {
		return unreadable(err)
	}
	for _, p := range found {
		switch string(p.name) {
		case metaVersion:
			m.meta, m.metaVersion = true, text(p.value)
		case metaCapabilities:
			m.capabilities = p.value[0] == '{'
		}
	}
	return nil
}

// text is the string that a value is, or "".
func text(value json.RawMessage) string {
	if value[0] != '"' {
		return ""
	}
	if inner := value[1 : len(value)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return ""
	}
	return s
}

// maxID bounds a request's id, in bytes.
const maxID = 1024

// identifies says whether a value can be a request's id: a string or an integer, never null (MCP basic, "Requests").
func identifies(id json.RawMessage) bool {
	return len(id) <= maxID && (id[0] == '"' || (id[0] == '-' || id[0] >= '0' && id[0] <= '9') && !bytes.ContainsAny(id, ".eE"))
}

// folds says whether a name is one of the known ones but for its case.
func folds(name []byte, known ...string) bool {
	for _, k := range known {
		if bytes.EqualFold(name, []byte(k)) {
			return true
		}
	}
	return false
}
