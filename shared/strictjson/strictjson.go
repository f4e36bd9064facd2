// Package strictjson reads untrusted JSON so that no two readers can understand it differently.
//
// Names are compared byte for byte after their escapes are decoded, never by folding case, and
// unknown names are ignored. Rejected are duplicate names in an object, control characters in a
// name (U+0000 to U+001F, U+007F), invalid UTF-8, lone surrogates, a second value after the first,
// and more than MaxDepth levels (RFC 8259, RFC 7493). Go values are decoded by encoding/json/v2, in
// the module that mirrors it, after these checks.
package strictjson

import (
	jsonv1 "encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth bounds the nesting of objects and arrays.
const MaxDepth = 64

// The errors of this package; every error is one of them.
var (
	ErrSyntax  = errors.New("it is not one JSON value in UTF-8")
	ErrDepth   = errors.New("it nests too deep")
	ErrTwice   = errors.New("it has a member twice")
	ErrControl = errors.New("it has a member whose name holds a control character")
	ErrType    = errors.New("it has a member of a wrong type")
)

// TypeError says which member has a wrong type, by its JSON Pointer. It is an ErrType.
type TypeError struct{ Pointer string }

func (e *TypeError) Error() string { return "the member " + e.Pointer + " is of a wrong type" }

// Unwrap implements errors.Is.
func (e *TypeError) Unwrap() error { return ErrType }

// Member is a member of an object: its name with its escapes undone, its value as it was written.
type Member struct {
	Name  []byte
	Value jsonv1.RawMessage
}

// Rules relax the checks for text that is passed on and not acted on.
type Rules struct {
	// Names is the depth down to which names must not contain control characters; the outermost
	// object is 1.
	Names int
	// Halves allows escaped lone surrogates in strings, which programs that cut text write.
	Halves bool
}

// strict is for everything that is acted on.
var strict = Rules{Names: math.MaxInt}

// Members reads one object and returns its members in order.
func Members(data []byte) ([]Member, error) { return strict.Members(data) }

// Elements reads one array and returns its elements as written.
func Elements(data []byte) ([]jsonv1.RawMessage, error) { return strict.Elements(data) }

// Unmarshal reads one value of any kind into a Go value, by the rules of encoding/json/v2: a
// struct's fields by their exact names, others ignored, null for the zero value. A wrong type is a
// TypeError.
func Unmarshal(data []byte, into any) error {
	if err := strict.check(data); err != nil {
		return err
	}
	err := json.Unmarshal(data, into)
	var semantic *json.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &semantic):
		return &TypeError{string(semantic.JSONPointer)}
	}
	return fmt.Errorf("%w: %w", ErrSyntax, err)
}

// Value reads one value as encoding/json does, except that numbers stay as written
// (jsontext.Value).
func Value(data []byte) (value any, err error) {
	if err := strict.check(data); err != nil {
		return nil, err
	}
	asWritten := json.UnmarshalFromFunc(func(d *jsontext.Decoder, into *any) error {
		if d.PeekKind() == '0' {
			*into = jsontext.Value(nil)
		}
		return errors.ErrUnsupported
	})
	if err := json.Unmarshal(data, &value, json.WithUnmarshalers(asWritten)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	return value, nil
}

// check reads and discards one value.
func (r Rules) check(data []byte) error {
	w := reader{data: data, rules: r}
	w.space()
	return w.ended(w.value(1))
}

// Members is like the function Members, with these rules.
func (r Rules) Members(data []byte) ([]Member, error) {
	w := reader{data: data, rules: r, open: make([]Member, 0, 8)}
	if w.space(); w.peek() != '{' {
		return nil, ErrSyntax
	}
	if err := w.ended(w.object(1)); err != nil {
		return nil, err
	}
	return w.open, nil
}

// Elements is like the function Elements, with these rules.
func (r Rules) Elements(data []byte) ([]jsonv1.RawMessage, error) {
	w := reader{data: data, rules: r}
	if w.space(); w.peek() != '[' {
		return nil, ErrSyntax
	}
	found := []jsonv1.RawMessage{}
	err := w.ended(w.array(1, func(value []byte) { found = append(found, value) }))
	if err != nil {
		return nil, err
	}
	return found, nil
}

// Map reads one object and returns its values by name.
func Map(data []byte) (map[string]jsonv1.RawMessage, error) {
	members, err := Members(data)
	if err != nil {
		return nil, err
	}
	values := make(map[string]jsonv1.RawMessage, len(members))
	for _, m := range members {
		values[string(m.Name)] = m.Value
	}
	return values, nil
}

// Find returns the value of the member of this name, or nil.
func Find(members []Member, name string) jsonv1.RawMessage {
	for _, m := range members {
		if string(m.Name) == name {
			return m.Value
		}
	}
	return nil
}

// Text returns the string of a checked value. A lone surrogate, where allowed, is U+FFFD.
func Text(value []byte) (text string, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	return string(unquoted(value)), true
}
