// Package strictjson reads JSON that others wrote, so that no two readers can take it for two
// things.
//
// A name is what it is byte for byte after its escapes are undone: names are not folded by case,
// and a name that is not known is ignored. Refused are a name twice in an object, a name with a
// control character (U+0000 to U+001F, U+007F), invalid UTF-8, half a surrogate pair, a second
// value after the first, and more than MaxDepth levels (RFC 8259, RFC 7493). What is decoded into
// Go values is so by encoding/json/v2, in the module that mirrors it (from Go 1.27 on it is the
// standard library's own), after this package has checked it.
package strictjson

import (
	jsonv1 "encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is how many objects and arrays may lie one in another.
const MaxDepth = 64

// What can be wrong with a text. Every error of this package is one of them.
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

// Rules say where a text may be looser than the package demands, because it is passed on and not
// acted on.
type Rules struct {
	// Names is how deep the names lie that must hold no control character; the outermost object is
	// 1.
	Names int
	// Halves allows the escape of half a surrogate pair in a string, as programs that cut text
	// write it.
	Halves bool
}

// strict is for all that is acted on.
var strict = Rules{Names: math.MaxInt}

// Members reads one object: its members in their order.
func Members(data []byte) ([]Member, error) { return strict.Members(data) }

// Elements reads one array: its elements as they were written.
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

// Value reads one value of any kind as encoding/json does, but for numbers, which stay as they are
// written (jsontext.Value).
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

// check reads one value of any kind and forgets it.
func (r Rules) check(data []byte) error {
	w := reader{data: data, rules: r}
	w.space()
	return w.ended(w.value(1))
}

// Members is the function of that name, by the rules.
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

// Elements is the function of that name, by the rules.
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

// Map reads one object, and gives its values by their names.
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

// Find is the value of the member of this name; nil: there is none.
func Find(members []Member, name string) jsonv1.RawMessage {
	for _, m := range members {
		if string(m.Name) == name {
			return m.Value
		}
	}
	return nil
}

// Text is the string that a value, which was checked, is. Half a surrogate pair, where it is
// allowed, is U+FFFD.
func Text(value []byte) (text string, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	return string(unquoted(value)), true
}
