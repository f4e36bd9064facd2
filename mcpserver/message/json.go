package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// maxDepth bounds how deep a message may nest.
const maxDepth = 64

// What can be wrong with a message as JSON. encoding/json alone would take the last of two members, fold their case, and replace bad UTF-8: then
// what was checked is not what acts (MC-08). So this reader is strict, and the one reader of a message.
var (
	ErrSyntax = errors.New("the message is not one JSON value in UTF-8")
	ErrDepth  = errors.New("the message nests too deep")
	ErrTwice  = errors.New("the message has a member twice")
	// ErrControl says that a name holds a control character: a reader that pads names, or ends them
	// at U+0000, takes it for the name without (GHSA-q382-vc8q-7jhj).
	ErrControl = errors.New("the message has a member whose name holds a control character")
)

// decided is how deep the names lie that a decision on a message can hang from: those of the envelope,
// of params, and of the objects in params (_meta, arguments, ref). What lies deeper is the tool's data.
const decided = 3

// reader walks one JSON text.
type reader struct {
	data []byte
	at   int
	open []Member // of the objects that are open, the innermost last

	plain int // names up to this depth must hold no control character
}

// Member is a member of an object: its name as it reads, its value as it was written.
type Member struct {
	Name  []byte
	Value json.RawMessage
}

// Members reads data as one object and checks all that it holds: its members in their order, each once.
func Members(data []byte) ([]Member, error) { return members(data, 0) }

// members is Members with names that hold no control character up to the depth of plain.
func members(data []byte, plain int) ([]Member, error) {
	r := reader{data: data, open: make([]Member, 0, 8), plain: plain}
	r.space()
	if r.peek() != '{' {
		return nil, ErrSyntax
	}
	if err := r.object(1); err != nil {
		return nil, err
	}
	if r.space(); r.at != len(data) {
		return nil, ErrSyntax
	}
	return r.open, nil
}

func (r *reader) peek() byte {
	if r.at < len(r.data) {
		return r.data[r.at]
	}
	return 0
}

func (r *reader) space() {
	for r.at < len(r.data) {
		switch r.data[r.at] {
		case ' ', '\t', '\r', '\n':
			r.at++
		default:
			return
		}
	}
}

// object reads an object whose brace is next, each member once, and leaves its members open.
func (r *reader) object(depth int) error {
	if depth > maxDepth {
		return ErrDepth
	}
	r.at++
	if r.space(); r.peek() == '}' {
		r.at++
		return nil
	}
	first := len(r.open)
	var many map[string]struct{}
	for {
		r.space()
		name, err := r.name()
		if err != nil {
			return err
		}
		if depth <= r.plain && hasControl(name) {
			return ErrControl
		}
		if r.space(); r.peek() != ':' {
			return ErrSyntax
		}
		r.at++
		r.space()
		start := r.at
		if err := r.value(depth + 1); err != nil {
			return err
		}
		if many, err = once(r.open[first:], many, name); err != nil {
			return err
		}
		r.open = append(r.open, Member{name, r.data[start:r.at:r.at]})
		r.space()
		switch r.peek() {
		case ',':
			r.at++
		case '}':
			r.at++
			return nil
		default:
			return ErrSyntax
		}
	}
}

// hasControl says whether a name holds one of U+0000 to U+001F or U+007F.
func hasControl(name []byte) bool {
	return bytes.ContainsFunc(name, func(c rune) bool { return c < ' ' || c == 0x7f })
}

// few is how many members are compared one by one before a set is kept.
const few = 16

// once checks that no member has the name yet.
func once(into []Member, many map[string]struct{}, name []byte) (map[string]struct{}, error) {
	if len(into) < few {
		for _, m := range into {
			if bytes.Equal(m.Name, name) {
				return nil, ErrTwice
			}
		}
		return nil, nil
	}
	if many == nil {
		many = make(map[string]struct{}, 2*few)
		for _, m := range into {
			many[string(m.Name)] = struct{}{}
		}
	}
	if _, twice := many[string(name)]; twice {
		return nil, ErrTwice
	}
	many[string(name)] = struct{}{}
	return many, nil
}

// name reads a member's name and takes its escapes away, so that two spellings of one name are one.
func (r *reader) name() ([]byte, error) {
	start := r.at
	if err := r.text(); err != nil {
		return nil, err
	}
	raw := r.data[start:r.at]
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	var plain string
	if err := json.Unmarshal(raw, &plain); err != nil {
		return nil, ErrSyntax
	}
	return []byte(plain), nil
}

// value checks the value that is next and steps over it.
func (r *reader) value(depth int) error {
	switch c := r.peek(); {
	case c == '{':
		outer := len(r.open)
		err := r.object(depth)
		r.open = r.open[:outer]
		return err
	case c == '[':
		return r.array(depth, nil)
	case c == '"':
		return r.text()
	case c == '-' || c >= '0' && c <= '9':
		return r.number()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if len(r.data)-r.at >= len(word) && string(r.data[r.at:r.at+len(word)]) == word {
			r.at += len(word)
			return nil
		}
	}
	return ErrSyntax
}

// Elements reads data as one array and checks all that it holds: its elements as they were written.
func Elements(data []byte) ([]json.RawMessage, error) {
	r := &reader{data: data}
	r.space()
	if r.peek() != '[' {
		return nil, ErrSyntax
	}
	found := []json.RawMessage{}
	err := r.array(1, func(value json.RawMessage) { found = append(found, value) })
	if err != nil {
		return nil, err
	}
	if r.space(); r.at != len(data) {
		return nil, ErrSyntax
	}
	return found, nil
}

// array reads an array whose bracket is next; each, if there is one, is told every element.
func (r *reader) array(depth int, each func(json.RawMessage)) error {
	if depth > maxDepth {
		return ErrDepth
	}
	r.at++
	if r.space(); r.peek() == ']' {
		r.at++
		return nil
	}
	for {
		r.space()
		start := r.at
		if err := r.value(depth + 1); err != nil {
			return err
		}
		if each != nil {
			each(r.data[start:r.at:r.at])
		}
		r.space()
		switch r.peek() {
		case ',':
			r.at++
		case ']':
			r.at++
			return nil
		default:
			return ErrSyntax
		}
	}
}

// text checks a string (RFC 8259 §7).
func (r *reader) text() error {
	if r.peek() != '"' {
		return ErrSyntax
	}
	start := r.at
	for r.at++; r.at < len(r.data); r.at++ {
		switch c := r.data[r.at]; {
		case c == '"':
			r.at++
			if !utf8.Valid(r.data[start:r.at]) {
				return ErrSyntax
			}
			return nil
		case c < ' ':
			return ErrSyntax
		case c == '\\':
			if err := r.escape(); err != nil {
				return err
			}
		}
	}
	return ErrSyntax
}

// escape checks what follows a backslash and stops at its last character.
func (r *reader) escape() error {
	r.at++
	switch r.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
		for range 4 {
			r.at++
			if c := r.peek(); !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
				return ErrSyntax
			}
		}
		return nil
	}
	return ErrSyntax
}

// number checks a number (RFC 8259 §6).
func (r *reader) number() error {
	if r.peek() == '-' {
		r.at++
	}
	if r.peek() == '0' {
		r.at++
	} else if !r.digits() {
		return ErrSyntax
	}
	if r.peek() == '.' {
		if r.at++; !r.digits() {
			return ErrSyntax
		}
	}
	if c := r.peek(); c == 'e' || c == 'E' {
		r.at++
		if c := r.peek(); c == '+' || c == '-' {
			r.at++
		}
		if !r.digits() {
			return ErrSyntax
		}
	}
	return nil
}

func (r *reader) digits() bool {
	start := r.at
	for c := r.peek(); c >= '0' && c <= '9'; c = r.peek() {
		r.at++
	}
	return r.at > start
}

// Value is the value of an object's member; nil when it has none of that name, or is no object.
func Value(object []byte, name string) json.RawMessage {
	members, err := Members(object)
	if err != nil {
		return nil
	}
	return Find(members, name)
}

// Find is the value of the member of this name; nil: there is none.
func Find(members []Member, name string) json.RawMessage {
	for _, m := range members {
		if string(m.Name) == name {
			return m.Value
		}
	}
	return nil
}

// Object writes members as one object.
func Object(members []Member) []byte {
	b := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := json.Marshal(string(m.Name))
		if err != nil {
			panic("message: a name that is no JSON: " + err.Error()) // a string always is
		}
		b = append(append(append(b, name...), ':'), m.Value...)
	}
	return append(b, '}')
}
