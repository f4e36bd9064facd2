package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// Bound is what an argument may be, in the words of JSON Schema. An argument that is not there is
// within every bound but Const. Numbers are compared exactly: 1.0 is 1, and no digit is rounded
// away.
type Bound struct {
	// Const is put in whatever the client says, and clients do not see the argument.
	Const JSON `yaml:"const"`
	// Enum are all the values that it may have.
	Enum []JSON `yaml:"enum"`
	// Minimum and Maximum bound a number.
	Minimum JSON `yaml:"minimum"`
	Maximum JSON `yaml:"maximum"`
	// MaxLength bounds a string, in characters.
	MaxLength *int `yaml:"maxLength"`
	// Pattern is a regular expression (RE2) that must fit somewhere in a string.
	Pattern string `yaml:"pattern"`
}

// JSON is a value of the file, with its numbers as they are written there. Nil: null, or none.
type JSON json.RawMessage

// UnmarshalYAML implements yaml.NodeUnmarshaler.
func (j *JSON) UnmarshalYAML(node ast.Node) error {
	value, err := asWritten(node)
	if err != nil || value == nil {
		return err
	}
	text, err := json.Marshal(value)
	*j = JSON(text)
	return err
}

// asWritten is the value of a node, as encoding/json writes it.
func asWritten(node ast.Node) (any, error) {
	switch n := node.(type) {
	case *ast.StringNode: // the library takes a number for text that fits none of Go's types
		if text := n.Value; n.GetToken().Type != token.StringType || !json.Valid([]byte(text)) ||
			!strings.ContainsAny(text[:1], "-0123456789") {
			return text, nil
		}
		return json.Number(n.Value), checkNumber(n.Value)
	case *ast.IntegerNode, *ast.FloatNode:
		text := strings.TrimPrefix(strings.TrimSpace(n.GetToken().Value), "+")
		if !json.Valid([]byte(text)) {
			return nil, fmt.Errorf("line %d: %q is no number as JSON has it", n.GetToken().Position.Line, text)
		}
		return json.Number(text), checkNumber(text)
	case *ast.InfinityNode, *ast.NanNode:
		return nil, fmt.Errorf("line %d: %q is no number", n.GetToken().Position.Line, n.GetToken().Value)
	case *ast.SequenceNode:
		all := []any{}
		for _, e := range n.Values {
			v, err := asWritten(e)
			if err != nil {
				return nil, err
			}
			all = append(all, v)
		}
		return all, nil
	case *ast.MappingNode:
		object := map[string]any{}
		for _, e := range n.Values {
			var name string
			if err := yaml.NodeToValue(e.Key, &name); err != nil {
				return nil, err
			}
			v, err := asWritten(e.Value)
			if err != nil {
				return nil, err
			}
			object[name] = v
		}
		return object, nil
	}
	var v any
	err := yaml.NodeToValue(node, &v)
	return v, err
}

// mostDigits is how many digits a number that is compared may have, and how far its exponent may be
// from zero: beyond, the exact form takes memory that nobody bounds.
const mostDigits = 400

var errNumber = fmt.Errorf("a number has more than %d digits, or an exponent beyond %d", mostDigits, mostDigits)

// checkNumber says whether a JSON number is too large, or too small, to be compared.
func checkNumber(text string) error {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	exponent = strings.TrimLeft(exponent, "+-0")
	n, err := strconv.Atoi("0" + exponent)
	digits := len(mantissa) - strings.Count(mantissa, "-") - strings.Count(mantissa, ".")
	if len(exponent) > 3 || err != nil || n > mostDigits || digits > mostDigits {
		return errNumber
	}
	return nil
}

// checkNumbers is checkNumber for all that are in a value.
func checkNumbers(value any) error {
	switch v := value.(type) {
	case json.Number:
		return checkNumber(v.String())
	case []any:
		for _, e := range v {
			if err := checkNumbers(e); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, e := range v {
			if err := checkNumbers(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// bound is a Bound made ready.
type bound struct {
	name   string
	pin    json.RawMessage // nil: none
	schema *jsonschema.Schema
}

// ready makes the bounds of an argument ready.
func (b Bound) ready(name string) (bound, error) {
	made := bound{name: name, pin: json.RawMessage(b.Const)}
	schema := map[string]any{}
	types := []any{}
	of := func(word, kind string, value JSON) error {
		types = append(types, map[string]any{"type": kind})
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
		if schema[word] = v; err != nil {
			return fmt.Errorf("argument %q: %s: %w", name, word, err)
		}
		if _, isNumber := v.(json.Number); !isNumber {
			return fmt.Errorf("argument %q: %s is %s, expected a number", name, word, value)
		}
		return nil
	}
	if b.Minimum != nil {
		if err := of("minimum", "number", b.Minimum); err != nil {
			return made, err
		}
	}
	if b.Maximum != nil {
		if err := of("maximum", "number", b.Maximum); err != nil {
			return made, err
		}
	}
	if b.MaxLength != nil {
		if err := of("maxLength", "string", JSON(strconv.Itoa(*b.MaxLength))); err != nil {
			return made, err
		}
	}
	if b.Pattern != "" {
		if _, err := regexp.Compile(b.Pattern); err != nil {
			return made, fmt.Errorf("argument %q: %w", name, err)
		}
		schema["pattern"] = b.Pattern
		types = append(types, map[string]any{"type": "string"})
	}
	if b.Enum != nil {
		values := []any{}
		for _, e := range b.Enum {
			if e == nil {
				e = JSON("null")
			}
			v, err := jsonschema.UnmarshalJSON(bytes.NewReader(e))
			if err != nil {
				return made, fmt.Errorf("argument %q: enum: %w", name, err)
			}
			values = append(values, v)
		}
		schema["enum"] = values
	}
	if len(schema) == 0 {
		if made.pin == nil {
			return made, fmt.Errorf("argument %q: nothing bounds it, and null is no value to pin it to", name)
		}
		return made, nil
	}
	if len(types) > 0 {
		schema["allOf"] = types
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("bound.json", schema); err != nil {
		return made, fmt.Errorf("argument %q: %w", name, err)
	}
	var err error
	if made.schema, err = c.Compile("bound.json"); err != nil {
		return made, fmt.Errorf("argument %q: %w", name, err)
	}
	return made, nil
}

// breaks says which bound a value breaks, or "". The reader of the message has held the value to
// one reading.
func (b *bound) breaks(value json.RawMessage) string {
	if b.schema == nil {
		return ""
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err == nil {
		err = checkNumbers(v)
	}
	if err != nil {
		return err.Error()
	}
	err = b.schema.Validate(v)
	var broken *jsonschema.ValidationError
	switch {
	case err == nil:
		return ""
	case !errors.As(err, &broken):
		return "it cannot be held against its bounds"
	}
	words := ""
	for e := range leaves(broken) {
		if _, isType := e.ErrorKind.(*kind.Type); words == "" || isType {
			// what is of the wrong type breaks the others by it
			words = wordsOf(e.ErrorKind)
		}
	}
	return words
}

// leaves are the errors that an error is made of.
func leaves(e *jsonschema.ValidationError) func(yield func(*jsonschema.ValidationError) bool) {
	return func(yield func(*jsonschema.ValidationError) bool) {
		if len(e.Causes) == 0 {
			yield(e)
			return
		}
		for _, c := range e.Causes {
			for leaf := range leaves(c) {
				if !yield(leaf) {
					return
				}
			}
		}
	}
}

// wordsOf says what a value must be.
func wordsOf(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return "it must be a " + strings.Join(k.Want, " or ")
	case *kind.Minimum:
		return "it must be " + decimal(k.Want) + " at least"
	case *kind.Maximum:
		return "it must be " + decimal(k.Want) + " at most"
	case *kind.MaxLength:
		return fmt.Sprintf("it must have %d characters at most", k.Want)
	case *kind.Pattern:
		return "it must fit the pattern " + k.Want
	case *kind.Enum:
		var all []string
		for _, v := range k.Want {
			all = append(all, string(mustJSON(v)))
		}
		return "it must be one of " + strings.Join(all, ", ")
	}
	return "it is out of its bounds"
}

// decimal writes a bound as people do.
func decimal(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	n, exact := r.FloatPrec()
	if !exact {
		n = mostDigits
	}
	return r.FloatString(n)
}
