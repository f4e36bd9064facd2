package message

import (
	"bytes"
	"encoding/json"
	"net/http"
)

// Glance finds the id of a response in a text that Parse rejects or that is too long to buffer, as
// the text passes. The id only decides who gets an error in place of a response.
type Glance struct {
	depth         int
	begun, other  bool // with a brace, or with something else
	text, escaped bool // within a string
	value         bool // after the colon of a member of the outermost object
	part          []byte
	name          string
	id            json.RawMessage
	answers, asks bool
	several       bool
}

// Write implements io.Writer.
func (g *Glance) Write(p []byte) (int, error) {
	for _, c := range p {
		g.take(c)
	}
	return len(p), nil
}

func (g *Glance) take(c byte) {
	switch {
	case g.text:
		g.keep(c)
		switch {
		case g.escaped:
			g.escaped = false
		case c == '\\':
			g.escaped = true
		case c == '"':
			g.text = false
		}
		return
	case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		return
	case !g.begun:
		g.begun, g.other = true, c != '{'
	}
	switch c {
	case '"':
		g.text = true
		g.keep(c)
	case '{', '[':
		g.keep(c)
		g.depth++
	case '}', ']':
		if g.depth == 1 {
			g.end()
		}
		g.depth--
	case ':':
		if g.depth == 1 && !g.value {
			g.name, g.part, g.value = string(g.part), nil, true
			g.answers = g.answers || g.name == `"result"` || g.name == `"error"`
			g.asks = g.asks || g.name == `"method"`
		}
	case ',':
		if g.depth == 1 {
			g.end()
		}
	default:
		g.keep(c)
	}
}

// keep keeps a byte of a name or of the id.
func (g *Glance) keep(c byte) {
	if g.depth == 1 && (!g.value || g.name == `"id"`) && len(g.part) <= maxID {
		g.part = append(g.part, c)
	}
}

// end ends a member of the outermost object.
func (g *Glance) end() {
	if g.value && g.name == `"id"` {
		g.several = g.several || g.id != nil
		g.id = g.part
	}
	g.part, g.name, g.value = nil, "", false
}

// ID returns the id of the request that the text answers; nil: it is not a response, or its id is
// unknown.
func (g *Glance) ID() json.RawMessage {
	if g.other || g.asks || g.several || !g.answers || len(g.id) == 0 || !identifies(g.id) || !json.Valid(g.id) {
		return nil
	}
	return g.id
}

// SameID reports whether two ids are equal, with or without quotes: some programs answer 1 with
// "1".
func SameID(a, b json.RawMessage) bool { return bytes.Equal(plainID(a), plainID(b)) }

// plainID returns an id without the quotes of a string.
func plainID(id json.RawMessage) []byte {
	if len(id) > 0 && id[0] == '"' {
		return []byte(Text(id))
	}
	return id
}

// Unanswered returns the error for a request whose response is unreadable; nil: the text is not its
// response.
func Unanswered(text []byte, id json.RawMessage) []byte {
	var g Glance
	_, _ = g.Write(text) // it never fails
	if id == nil || g.ID() == nil || !SameID(g.ID(), id) {
		return nil
	}
	return ErrorTo(id, &Fault{Code: CodeInternal, Message: ErrUnreadable.Error()})
}

// ErrorTo encodes an error response. Without an id it has none: MCP has no null id.
func ErrorTo(id json.RawMessage, f *Fault) []byte {
	type wireError struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Data    any    `json:"data,omitempty"`
	}
	body, err := json.Marshal(struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id,omitempty"`
		Error   wireError       `json:"error"`
	}{"2.0", id, wireError{f.Code, f.Message, f.Data}})
	if err != nil {
		panic("message: a fault that is no JSON: " + err.Error()) // programming error
	}
	return body
}

// Event encodes a message as an event of a stream.
func Event(m []byte) []byte {
	return append(append([]byte("event: message\ndata: "), m...), "\n\n"...)
}

// CutOff ends a response that cannot continue: a stream that answers a request sends an error for
// it. Anything else is aborted, so that the client notices.
func CutOff(w http.ResponseWriter, id json.RawMessage, why string) {
	if id == nil || Kind(w.Header()) != "text/event-stream" {
		panic(http.ErrAbortHandler)
	}
	if _, err := w.Write(append([]byte("\n\n"),
		Event(ErrorTo(id, &Fault{Code: CodeInternal, Message: why}))...)); err == nil {
		_ = http.NewResponseController(w).Flush() // a writer that cannot flush does not buffer
	}
}
