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

// Bound limits an argument, in the words of JSON Schema. An absent argument satisfies every bound
// but Const. Numbers are compared exactly: 1.0 is 1, and no digit is rounded.
type Bound struct {
	// Const replaces the argument of the client, and clients do not see it.
	Const JSON `yaml:"const"`
	// Enum are the allowed values.
	Enum []JSON `yaml:"enum"`
	// Minimum and Maximum are the limits of a number.
	Minimum JSON `yaml:"minimum"`
	Maximum JSON `yaml:"maximum"`
	// MaxLength is the limit of a string, in characters.
	MaxLength *int `yaml:"maxLength"`
	// Pattern is a regular expression (RE2) that must match a part of a string.
	Pattern string `yaml:"pattern"`
}

// JSON is a value of the file, with numbers as they are written. Nil: null, or none.
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

// asWritten returns the value of a node for encoding/json.
func asWritten(node ast.Node) (any, error) {
	switch n := node.(type) {
	case *ast.StringNode: // the library reads numbers that fit no Go type as strings
		if text := n.Value; n.GetToken().Type != token.StringType || !json.Valid([]byte(text)) ||
			!strings.ContainsAny(text[:1], "-0123456789") {
			return text, nil
		}
		return json.Number(n.Value), checkNumber(n.Value)
	case *ast.IntegerNode, *ast.FloatNode:
		text := strings.TrimPrefix(strings.TrimSpace(n.GetToken().Value), "+")
		if !json.Valid([]byte(text)) {
			return nil, fmt.Errorf("line %d: %q is not a JSON number", n.GetToken().Position.Line, text)
		}
		return json.Number(text), checkNumber(text)
	case *ast.InfinityNode, *ast.NanNode:
		return nil, fmt.Errorf("line %d: %q is not a number", n.GetToken().Position.Line, n.GetToken().Value)
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

// mostDigits is the maximum number of digits, and of the exponent, of a compared number: beyond it
// the exact form could take any amount of memory.
const maxDigits = 400

var errNumber = fmt.Errorf("a number has more than %d digits, or an exponent beyond %d", maxDigits, maxDigits)

// checkNumber returns an error if a JSON number is too large or too small to be compared.
func checkNumber(text string) error {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	exponent = strings.TrimLeft(exponent, "+-0")
	n, err := strconv.Atoi("0" + exponent)
	digits := len(mantissa) - strings.Count(mantissa, "-") - strings.Count(mantissa, ".")
	if len(exponent) > 3 || err != nil || n > maxDigits || digits > maxDigits {
		return errNumber
	}
	return nil
}

// checkNumbers checks all numbers in a value.
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

// bound is a compiled Bound.
type bound struct {
	name   string
	pin    json.RawMessage // nil: none
	schema *jsonschema.Schema
}

// ready compiles the bounds of an argument.
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
			return made, fmt.Errorf("argument %q: it has no bound, and const cannot be null", name)
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

// breaks returns which bound a value violates, or "".
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
		return "it cannot be compared with its bounds"
	}
	words := ""
	for e := range leaves(broken) {
		if _, isType := e.ErrorKind.(*kind.Type); words == "" || isType {
			// a wrong type also violates the other bounds
			words = wordsOf(e.ErrorKind)
		}
	}
	return words
}

// leaves returns the basic errors of an error.
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

// decimal formats a bound.
func decimal(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	n, exact := r.FloatPrec()
	if !exact {
		n = maxDigits
	}
	return r.FloatString(n)
}
