package mcp

import (
	"encoding/json"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// input is what a tool's input schema says of the names of arguments. The tool checks their values.
type input struct {
	known    map[string]bool // its properties
	closed   bool            // no other properties are allowed
	required []string
}

// readInput reads properties, required and additionalProperties of a schema (JSON Schema 2020-12).
func readInput(schema json.RawMessage) (input, error) {
	var s struct {
		Properties map[string]json.RawMessage `json:"properties"`
		Required   []string                   `json:"required"`
		Additional json.RawMessage            `json:"additionalProperties"`
	}
	if err := strictjson.Unmarshal(schema, &s); err != nil {
		return input{}, err
	}
	in := input{known: map[string]bool{}, closed: string(s.Additional) == "false", required: s.Required}
	for name := range s.Properties {
		in.known[name] = true
	}
	return in, nil
}

// check compares the names of arguments with the schema, exactly: a tool that decodes them with
// encoding/json would fold their case. The parser of the message has rejected duplicate names.
func (in *input) check(arguments json.RawMessage) error {
	found, err := message.Members(arguments)
	if err != nil {
		return InvalidArguments{err.Error()}
	}
	var given []string
	for _, m := range found {
		name := string(m.Name)
		switch {
		case in.known[name] && string(m.Value) != "null":
			given = append(given, name)
		case in.known[name]:
			return InvalidArguments{"argument " + name + " is null: give it a value or leave it away"}
		case in.closed || in.folds(m.Name):
			return InvalidArguments{"there is no argument " + string(mustJSON(name)) + "; see the tool's input schema"}
		}
	}
	for _, name := range in.required {
		if !slices.Contains(given, name) {
			return InvalidArguments{"argument " + name + " is missing"}
		}
	}
	return nil
}

// folds reports whether a name differs from a known one only by case.
func (in *input) folds(name []byte) bool {
	for known := range in.known {
		if message.Folds(name, known) {
			return true
		}
	}
	return false
}
