package message

import "bytes"

// Failure finds out whether a call failed, from the response as it passes: a JSON-RPC error, or a
// result with isError (MCP, tools, "Error Handling"). It keeps almost nothing of the response; the
// finding is for records, not for decisions.
type Failure struct {
	depth         int
	text, escaped bool      // within a string
	value         [3]bool   // at this depth, after the colon of a member
	names         [3]string // of the member, by its depth
	part          []byte    // the beginning of a name or a value
	code          string    // of the error
	why           string
}

// mostPart is how much of a name or value is kept, in bytes.
const mostPart = 64

// Why returns the failure found so far: "isError", or "error" with its code; "" if there is none.
func (f *Failure) Why() string { return f.why }

// Write implements io.Writer.
func (f *Failure) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && f.why == "" {
		if f.text && !f.escaped && (f.depth > 2 || len(f.part) >= mostPart) {
			end := bytes.IndexByte(p, '"')
			if end < 0 {
				end = len(p)
			}
			if i := bytes.IndexByte(p[:end], '\\'); i >= 0 {
				end = i
			}
			if p = p[end:]; len(p) == 0 {
				break
			}
		}
		f.take(p[0])
		p = p[1:]
	}
	return n, nil
}

func (f *Failure) take(c byte) {
	switch {
	case f.text:
		f.keep(c)
		f.text = f.escaped || c != '"'
		f.escaped = !f.escaped && c == '\\'
	case c == ' ' || c == '\t' || c == '\r' || c == '\n':
	case c == '"':
		f.text = true
		f.keep(c)
	case c == '{' || c == '[':
		f.depth++
		f.begin()
	case c == '}' || c == ']':
		f.end()
		f.depth--
		f.part = append(f.part[:0], c) // an object or an array
	case c == ',':
		f.end()
		f.begin()
	case c == ':' && f.near() && !f.value[f.depth]:
		f.names[f.depth], f.value[f.depth], f.part = Text(f.part), true, f.part[:0]
	default:
		f.keep(c)
	}
}

// near reports whether members at this depth matter: those of the message, and of its result or
// error.
func (f *Failure) near() bool { return f.depth == 1 || f.depth == 2 }

func (f *Failure) keep(c byte) {
	if f.near() && len(f.part) < mostPart {
		f.part = append(f.part, c)
	}
}

// begin begins a member or an element.
func (f *Failure) begin() {
	if f.near() {
		f.value[f.depth], f.part = false, f.part[:0]
	}
}

// end ends a member.
func (f *Failure) end() {
	if !f.near() || !f.value[f.depth] {
		return
	}
	switch name := f.names[f.depth]; {
	case f.depth == 1 && name == "error" && string(f.part) != "null": // some servers send it with every result
		f.why = "error"
		if f.code != "" {
			f.why += " " + f.code
		}
	case f.depth == 2 && f.names[1] == "result" && name == "isError" && string(f.part) == "true":
		f.why = "isError"
	case f.depth == 2 && f.names[1] == "error" && name == "code" && isCode(f.part):
		f.code = string(f.part)
	}
}

// isCode reports whether a value is an integer of the length of codes.
func isCode(v []byte) bool {
	digits := bytes.TrimPrefix(v, []byte("-"))
	return len(digits) > 0 && len(digits) <= 10 && len(bytes.Trim(digits, "0123456789")) == 0
}
