package message

import (
	"bytes"
	"encoding/json"
	"net/http"
)

// Glance finds the id of an answer in a text that Parse refuses, or that is longer than can be
// kept: it is given the text as it goes by, and keeps next to nothing of it. What it finds decides
// on nothing but who is told that there is no answer.
type Glance struct {
	depth         int
	begun, other  bool // by a brace, or by something else
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

// keep keeps a byte of a name, or of the id's value.
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

// ID is the id of what the text answers; nil: it is no answer, or its id cannot be told.
func (g *Glance) ID() json.RawMessage {
	if g.other || g.asks || g.several || !g.answers || len(g.id) == 0 || !identifies(g.id) || !json.Valid(g.id) {
		return nil
	}
	return g.id
}

// SameID reports whether two ids are one, however they are written: programs answer to 1 with "1".
func SameID(a, b json.RawMessage) bool { return bytes.Equal(plainID(a), plainID(b)) }

// plainID is an id without the quotes of a string.
func plainID(id json.RawMessage) []byte {
	if len(id) > 0 && id[0] == '"' {
		return []byte(Text(id))
	}
	return id
}

// Unanswered is the error that answers a request in place of an answer that cannot be read; nil:
// the text is no answer to it.
func Unanswered(text []byte, id json.RawMessage) []byte {
	var g Glance
	_, _ = g.Write(text) // it never fails
	if id == nil || g.ID() == nil || !SameID(g.ID(), id) {
		return nil
	}
	return ErrorTo(id, &Fault{Code: CodeInternal, Message: ErrUnreadable.Error()})
}

// ErrorTo is a message that answers a request with an error. Without an id there is none: MCP has
// no null id.
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
		panic("message: a fault that is no JSON: " + err.Error()) // a programmer broke it
	}
	return body
}

// Event writes a message as an event of a stream.
func Event(m []byte) []byte {
	return append(append([]byte("event: message\ndata: "), m...), "\n\n"...)
}

// CutOff ends an answer that has begun, and that cannot go on: a stream that answers a request says
// so by an error for it. Anything else is broken off, so that its client sees that this is not the
// end.
func CutOff(w http.ResponseWriter, id json.RawMessage, why string) {
	if id == nil || Kind(w.Header()) != "text/event-stream" {
		panic(http.ErrAbortHandler)
	}
	if _, err := w.Write(append([]byte("\n\n"),
		Event(ErrorTo(id, &Fault{Code: CodeInternal, Message: why}))...)); err == nil {
		_ = http.NewResponseController(w).Flush() // one that cannot is one that need not
	}
}
