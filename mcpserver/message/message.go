// Package message parses MCP messages over HTTP, once and strictly.
//
// If two parsers read a message differently, one decides and the other acts. So a message that
// another parser could read differently is rejected (CVE-2026-27896 and similar): what package
// strictjson rejects, a name that differs from a known one only by case, a batch.
package message

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// Error codes of JSON-RPC 2.0 and MCP 2026-07-28.
const (
	CodeParse       = -32700
	CodeInvalid     = -32600
	CodeNoMethod    = -32601
	CodeParams      = -32602
	CodeInternal    = -32603
	CodeHeaders     = -32020 // HeaderMismatch
	CodeUnsupported = -32022 // UnsupportedProtocolVersion
)

// Members of _meta of a modern request.
const (
	MetaVersion      = "io.modelcontextprotocol/protocolVersion"
	MetaCapabilities = "io.modelcontextprotocol/clientCapabilities"
	MetaServerInfo   = "io.modelcontextprotocol/serverInfo"
)

// Supported protocol revisions.
const (
	Modern       = "2026-07-28"
	NewestLegacy = "2025-11-25"
)

// Legacy returns the revisions that start with initialize, newest first.
func Legacy() []string { return []string{NewestLegacy, "2025-06-18", "2025-03-26", "2024-11-05"} }

// IsLegacy reports whether a revision is one of those.
func IsLegacy(version string) bool {
	switch version {
	case NewestLegacy, "2025-06-18", "2025-03-26", "2024-11-05":
		return true
	}
	return false
}

// Versions returns the supported protocol revisions, newest first.
func Versions() []string { return append([]string{Modern}, Legacy()...) }

// Message is a parsed JSON-RPC message. Values are as they were written.
type Message struct {
	ID     json.RawMessage // nil: a notification
	Method string
	Answer bool // a response to a request of the server; it has no method

	// of params
	Name         string // of a tool or prompt
	Named        bool
	URI          string // of a resource
	Arguments    json.RawMessage
	RefType      string // of completion/complete: the type of the reference
	Ref          string // and its value: the name of a prompt, a resource URI or URI template
	Cursor       json.RawMessage
	Version      string // of initialize
	Meta         bool   // _meta has a version: the modern era
	MetaVersion  string
	Capabilities bool // of the client, an object
}

// Fault is what is wrong with a message.
type Fault struct {
	Code    int
	Message string
	Data    any // JSON; nil: none
}

func (f *Fault) Error() string { return f.Message }

// Invalid returns the fault of an invalid message (JSON-RPC 2.0 section 5.1).
func Invalid(what string) *Fault { return &Fault{Code: CodeInvalid, Message: what} }

// BadParams returns the fault of invalid parameters.
func BadParams(what string) *Fault { return &Fault{Code: CodeParams, Message: what} }

// Parse parses a message. Members must have their exact names; one that differs only by case is
// rejected, because another parser might fold it. A response to a request of the server is a
// message, too; who sends no requests rejects it.
func Parse(body []byte) (Message, *Fault) { return parse(body, asked) }

// ParseServer is Parse for messages of a server, which may have cut a text within a character.
func ParseServer(body []byte) (Message, *Fault) { return parse(body, told) }

func parse(body []byte, rules strictjson.Rules) (Message, *Fault) {
	var m Message
	body = bytes.Trim(body, " \t\r\n")
	if len(body) > 0 && body[0] == '[' {
		return m, Invalid("batches are not taken: send one message a request")
	}
	envelope, err := rules.Members(body)
	if err != nil {
		return m, unreadable(err)
	}
	var version, params json.RawMessage
	method := false
	for _, e := range envelope {
		switch string(e.Name) {
		case "jsonrpc":
			version = e.Value
		case "id":
			m.ID = e.Value
		case "method":
			if m.Method = Text(e.Value); m.Method == "" {
				return m, Invalid("method is not a string")
			}
			method = true
		case "params":
			params = e.Value
		case "result", "error":
			m.Answer = true
		default:
			if Folds(e.Name, "jsonrpc", "id", "method", "params", "result", "error") {
				return m, Invalid("a member is spelled in the wrong case")
			}
		}
	}
	switch {
	case string(version) != `"2.0"`:
		return m, Invalid(`jsonrpc must be "2.0"`)
	case m.ID != nil && !identifies(m.ID):
		m.ID = nil
		return m, Invalid("id must be a string or an integer")
	case m.Answer == method || m.Answer && m.ID == nil:
		m.Answer = false
		return m, Invalid("a message asks with a method, or answers with a result or an error and an id")
	}
	return m, m.parseParams(params)
}

func (m *Message) parseParams(params json.RawMessage) *Fault {
	if params == nil || string(params) == "null" {
		return nil
	}
	if params[0] != '{' {
		return BadParams("params must be an object")
	}
	found, err := Members(params)
	if err != nil {
		return unreadable(err)
	}
	for _, p := range found {
		switch string(p.Name) {
		case "name":
			m.Name, m.Named = Text(p.Value), p.Value[0] == '"'
			if !m.Named && (m.Method == "tools/call" || m.Method == "prompts/get") {
				return BadParams("name must be a string") // another parser could convert it
			}
		case "uri":
			m.URI = Text(p.Value)
			if p.Value[0] != '"' && (m.Method == "resources/read" || m.Method == "resources/subscribe" ||
				m.Method == "resources/unsubscribe") {
				return BadParams("uri must be a string")
			}
		case "arguments":
			m.Arguments = p.Value
		case "cursor":
			m.Cursor = p.Value
		case "protocolVersion":
			m.Version = Text(p.Value)
		case "ref":
			if m.Method != "completion/complete" {
				continue
			}
			if f := m.parseRef(p.Value); f != nil {
				return f
			}
		case "_meta":
			if f := m.parseMeta(p.Value); f != nil {
				return f
			}
		default:
			if Folds(p.Name, "name", "uri", "arguments", "cursor", "protocolVersion", "_meta", "ref") {
				return Invalid("a member of params is spelled in the wrong case")
			}
		}
	}
	return nil
}

// parseRef parses the reference of a completion (MCP, "Completion"): one thing, by the name that
// its type has.
func (m *Message) parseRef(ref json.RawMessage) *Fault {
	if ref[0] != '{' {
		return BadParams("ref must be an object")
	}
	found, err := Members(ref)
	if err != nil {
		return unreadable(err)
	}
	if err := Exact(found, "type", "name", "uri"); err != nil {
		return Invalid("ref: " + err.Error())
	}
	m.RefType = Text(Find(found, "type"))
	named := map[string]string{"ref/prompt": "name", "ref/resource": "uri"}[m.RefType]
	for _, p := range found {
		switch name := string(p.Name); {
		case name != "name" && name != "uri":
		case name != named: // another parser could use this one
			return BadParams("ref must have the name of a prompt, or the uri of a resource, as its type says")
		case p.Value[0] != '"':
			return BadParams("the " + name + " of ref must be a string")
		default:
			m.Ref = Text(p.Value)
		}
	}
	if named == "" || m.Ref == "" {
		return BadParams(`ref must be a prompt with its name ("ref/prompt") or a resource with its uri ` +
			`("ref/resource")`)
	}
	return nil
}

func (m *Message) parseMeta(meta json.RawMessage) *Fault {
	if meta[0] != '{' {
		return BadParams("_meta must be an object")
	}
	found, err := Members(meta)
	if err != nil {
		return unreadable(err)
	}
	for _, p := range found {
		switch string(p.Name) {
		case MetaVersion:
			m.Meta, m.MetaVersion = true, Text(p.Value)
		case MetaCapabilities:
			m.Capabilities = p.Value[0] == '{'
		default:
			if Folds(p.Name, MetaVersion, MetaCapabilities) {
				return Invalid("a member of _meta is spelled in the wrong case")
			}
		}
	}
	return nil
}

// maxID limits the id of a request, in bytes.
const maxID = 1024

// identifies reports whether a value can be the id of a request: a string or an integer, never null
// (MCP basic, "Requests").
func identifies(id json.RawMessage) bool {
	return len(id) <= maxID && (id[0] == '"' || (id[0] == '-' || id[0] >= '0' && id[0] <= '9') &&
		!bytes.ContainsAny(id, ".eE"))
}

// Exact returns an error if a member differs from a known one only by case, or has a control
// character in its name: another parser could take it for that one.
func Exact(members []Member, known ...string) error {
	for _, m := range members {
		if strictjson.HasControl(m.Name) {
			return fmt.Errorf("%w: %.40q", strictjson.ErrControl, m.Name)
		}
		if !slices.Contains(known, string(m.Name)) && Folds(m.Name, known...) {
			return fmt.Errorf("the member %.40q is spelled in the wrong case", m.Name)
		}
	}
	return nil
}

// Folds reports whether a name differs from a known one only by case.
func Folds(name []byte, known ...string) bool {
	for _, k := range known {
		if bytes.EqualFold(name, []byte(k)) {
			return true
		}
	}
	return false
}

// IsName reports whether s is 1 to 128 characters that the name of a tool may have (MCP 2025-11-25,
// tools, "Tool Names").
func IsName(s string) bool {
	return s != "" && len(s) <= 128 &&
		!strings.ContainsFunc(s, func(c rune) bool { return !strings.ContainsRune(nameCharacters, c) })
}

const nameCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
