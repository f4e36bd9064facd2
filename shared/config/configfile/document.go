package configfile

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"

	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

// LineError is an error in a line of a file.
type LineError struct {
	Line   int // counted from 1
	Reason string
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// Node is a value of a YAML document with its line. The zero Node is an empty document.
type Node struct{ value ast.Node }

// Field is a name with its value.
type Field struct {
	Name  string
	Line  int
	Value Node
}

// ParseDocument parses YAML (and so JSON). An error is a *LineError where a line is known.
func ParseDocument(content []byte) (Node, error) {
	body, err := parse(content)
	return Node{body}, err
}

// parse parses YAML of one document; nil when it is empty.
func parse(content []byte) (ast.Node, error) {
	tokens := lexer.Tokenize(string(content))
	if err := checkNesting(tokens); err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0)
	var bad yaml.Error
	switch {
	case errors.As(err, &bad) && bad.GetToken() != nil:
		return nil, &LineError{bad.GetToken().Position.Line, bad.GetMessage()}
	case err != nil:
		return nil, fmt.Errorf("it is no YAML: %w", err)
	case len(file.Docs) > 1:
		return nil, errors.New("it is several documents, where one is wanted")
	case len(file.Docs) == 0:
		return nil, nil
	}
	switch body := file.Docs[0].Body.(type) {
	case *ast.CommentGroupNode, *ast.NullNode:
		return nil, nil
	default:
		return body, nil
	}
}

// mapped returns the entries of a mapping.
func mapped(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// Empty says whether there is nothing.
func (n Node) Empty() bool { return n.value == nil }

// Line is where the value begins.
func (n Node) Line() int {
	if values, ok := mapped(n.value); ok && len(values) > 0 {
		return values[0].Key.GetToken().Position.Line
	}
	if n.value == nil || n.value.GetToken() == nil {
		return 1
	}
	return n.value.GetToken().Position.Line
}

// Wrong returns an error about the value.
func (n Node) Wrong(format string, a ...any) error {
	return &LineError{n.Line(), fmt.Sprintf(format, a...)}
}

// Fields returns the entries of a mapping, each known and unique. what describes it for people: "a
// tenant".
func (n Node) Fields(what string, known []string) ([]Field, error) {
	values, ok := mapped(n.value)
	if !ok {
		return nil, n.Wrong("want names with values, for %s", what)
	}
	var fields []Field
	seen := map[string]int{}
	for _, v := range values {
		t := v.Key.GetToken()
		f := Field{t.Value, t.Position.Line, Node{v.Value}}
		if !slices.Contains(known, f.Name) {
			return nil, &LineError{f.Line, fmt.Sprintf("there is no %q in %s; is it %q?", f.Name, what,
				config.Nearest(f.Name, known))}
		}
		if before := seen[f.Name]; before > 0 {
			return nil, &LineError{f.Line, fmt.Sprintf("%s is said in line %d already", f.Name, before)}
		}
		if _, null := v.Value.(*ast.NullNode); null {
			return nil, &LineError{f.Line, f.Name + " says nothing; give it a value, or leave it away"}
		}
		seen[f.Name] = f.Line
		fields = append(fields, f)
	}
	return fields, nil
}

// Items returns the entries of a list.
func (n Node) Items() ([]Node, error) {
	list, ok := n.value.(*ast.SequenceNode)
	if !ok {
		return nil, n.Wrong("want a list")
	}
	items := make([]Node, len(list.Values))
	for i, v := range list.Values {
		items[i] = Node{v}
	}
	return items, nil
}

// Text returns a string. Numbers and booleans are rejected, because their text depends on the
// reader.
func (n Node) Text() (string, error) {
	switch v := n.value.(type) {
	case *ast.StringNode:
		return v.Value, nil
	case *ast.LiteralNode:
		return v.Value.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return "", n.Wrong("want a text; put %s in quotes if it is one", n.value.GetToken().Value)
	case *ast.MappingNode, *ast.MappingValueNode:
		return "", n.Wrong("want a text; put it in quotes if it is one with a colon")
	}
	return "", n.Wrong("want a text")
}

// Bool returns a boolean.
func (n Node) Bool() (bool, error) {
	if v, ok := n.value.(*ast.BoolNode); ok {
		return v.Value, nil
	}
	return false, n.Wrong("want true or false")
}

// Duration returns a duration as flags have it: 5m, 24h, or 0.
func (n Node) Duration() (time.Duration, error) {
	var d time.Duration
	err := errors.New("no scalar")
	switch n.value.(type) {
	case *ast.StringNode, *ast.IntegerNode:
		d, err = time.ParseDuration(n.value.GetToken().Value)
	}
	if err != nil {
		return 0, n.Wrong("want a length of time such as 5m or 24h")
	}
	return d, nil
}
