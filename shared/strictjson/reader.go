package strictjson

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// reader reads one JSON text in one pass, without copying. For a tools/call message it takes a
// third of the time of jsontext's decoder.
type reader struct {
	data  []byte
	rules Rules
	at    int
	open  []Member // members of the open objects, the innermost last
}

// ended returns an error unless the value is all there is.
func (r *reader) ended(err error) error {
	if err != nil {
		return err
	}
	if r.space(); r.at != len(r.data) {
		return ErrSyntax
	}
	return nil
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
	if depth > MaxDepth {
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
		if depth <= r.rules.Names && HasControl(name) {
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

// HasControl says whether a name holds one of U+0000 to U+001F or U+007F.
func HasControl(name []byte) bool {
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

// name reads a member's name without its escapes, so that two spellings of one name are equal.
func (r *reader) name() ([]byte, error) {
	start := r.at
	if err := r.text(); err != nil {
		return nil, err
	}
	return unquoted(r.data[start:r.at]), nil
}

// unquoted returns a checked string without its quotes and escapes. A lone surrogate, where
// allowed, is U+FFFD.
func unquoted(written []byte) []byte {
	if inner := written[1 : len(written)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	plain, _ := jsontext.AppendUnquote(nil, written) // its one error is a lone surrogate
	return plain
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

// array reads an array whose bracket is next; each, if there is one, is told every element.
func (r *reader) array(depth int, each func([]byte)) error {
	if depth > MaxDepth {
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
		c, err := r.unit()
		if err != nil || r.rules.Halves || !utf16.IsSurrogate(c) {
			return err
		}
		if r.at+2 >= len(r.data) || r.data[r.at+1] != '\\' || r.data[r.at+2] != 'u' {
			return ErrSyntax
		}
		r.at += 2
		low, err := r.unit()
		if err == nil && utf16.DecodeRune(c, low) == utf8.RuneError {
			err = ErrSyntax
		}
		return err
	}
	return ErrSyntax
}

// unit reads the four digits of an escape, whose u is here, and stops at the last.
func (r *reader) unit() (c rune, err error) {
	for range 4 {
		r.at++
		switch d := rune(r.peek()); {
		case d >= '0' && d <= '9':
			c = c<<4 | (d - '0')
		case d >= 'a' && d <= 'f', d >= 'A' && d <= 'F':
			c = c<<4 | (d | 0x20 - 'a' + 10)
		default:
			return 0, ErrSyntax
		}
	}
	return c, nil
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
