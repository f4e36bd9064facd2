// Package tools implements the demo tools, each with its scope.
package tools

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// The scopes of the tools.
const (
	ReadCustomers  = "customers:read"
	WriteCustomers = "customers:write"
	WriteTickets   = "tickets:write"
	ReadKnowledge  = "knowledge:read"
)

// All returns the demo tools over a database. Each tool's Bind captures the view of the caller's
// tenant: no argument can name another.
func All(d *demo.DB) []mcp.Tool {
	return []mcp.Tool{readCustomer(d), updateCustomer(d), createTicket(d), searchKnowledgeBase(d)}
}

// errNoCustomer is the tool error when the tenant has no such customer, whether or not another
// tenant has.
var errNoCustomer = mcp.ToolError{Message: "There is no customer of this id. Check the id with the person who gave " +
	"it to you."}

// explain turns errors of the data into tool errors.
func explain(err error) error {
	if errors.Is(err, demo.ErrNotFound) {
		return errNoCustomer
	}
	return err
}

// arguments are a tool's arguments. Package mcp has checked their names against the input schema;
// their values are checked here.
type arguments []message.Member

func read(raw json.RawMessage) (arguments, error) {
	members, err := message.Members(raw)
	if err != nil {
		return nil, invalid("the arguments are not an object as the tool's input schema has it")
	}
	return members, nil
}

// value returns an argument as written, or nil.
func (a arguments) value(name string) json.RawMessage { return message.Find(a, name) }

// text reads a string argument ("" when absent), and checks its length in characters and that it
// has no hidden characters.
func (a arguments) text(name string, least, most int, into *string) error {
	if v := a.value(name); v != nil {
		if v[0] != '"' {
			return invalid("argument " + name + " must be a string")
		}
		*into = message.Text(v)
	}
	n := utf8.RuneCountInString(*into)
	switch {
	case n < least && n == 0:
		return invalid("argument " + name + " is missing")
	case n < least || n > most:
		return invalid("argument " + name + " is too short or too long")
	case strings.ContainsFunc(*into, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }):
		return invalid("argument " + name + " holds a control character")
	}
	return nil
}

func invalid(reason string) error { return mcp.InvalidArguments{Reason: reason} }

// structured returns a result as data, and as text for clients that read only that.
func structured(v any) (mcp.Result, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return mcp.Result{}, err
	}
	return mcp.Result{Text: string(b), Structured: json.RawMessage(b)}, nil
}
