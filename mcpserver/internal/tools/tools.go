// Package tools owns the companion tools, each with the scope it asks for.
package tools

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/crm"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

// The scopes that open the tools.
const (
	ReadCustomers  = "customers:read"
	WriteCustomers = "customers:write"
	WriteTickets   = "tickets:write"
	ReadKnowledge  = "knowledge:read"
)

// All returns the companion tools over a database. Each tool's Bind captures the view of the caller's tenant: no argument can name another.
func All(d *crm.DB) []mcp.Tool {
	return []mcp.Tool{readCustomer(d), updateCustomer(d), createTicket(d), searchKnowledgeBase(d)}
}

// errNoCustomer is what an agent is told when the tenant has no such customer, whoever else may have one (TN-02).
var errNoCustomer = mcp.ToolError{Message: "There is no customer of this id. Check the id with the person who gave it to you."}

// explain turns the data's errors into the agent's.
func explain(err error) error {
	if errors.Is(err, crm.ErrNotFound) {
		return errNoCustomer
	}
	return err
}

// decode reads arguments strictly: an object of the schema's members in their types, and nothing else (TN-01, TN-09, TN-10).
func decode(arguments json.RawMessage, into any) error {
	d := json.NewDecoder(bytes.NewReader(arguments))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		var wrongType *json.UnmarshalTypeError
		switch name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); {
		case unknown:
			return invalid("there is no argument " + name + "; see the tool's input schema")
		case errors.As(err, &wrongType) && wrongType.Field != "":
			return invalid("argument " + wrongType.Field + " must be a " + wrongType.Type.String())
		}
		return invalid("the arguments are not an object as the tool's input schema has it")
	}
	if _, err := d.Token(); err != io.EOF {
		return invalid("something follows the arguments")
	}
	return nil
}

func invalid(reason string) error { return mcp.InvalidArguments{Reason: reason} }

// text checks a text argument: its length in characters, and no character that could not be shown.
func text(name, value string, least, most int) error {
	n := utf8.RuneCountInString(value)
	switch {
	case n < least && value == "":
		return invalid("argument " + name + " is missing")
	case n < least || n > most:
		return invalid("argument " + name + " is too short or too long")
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }):
		return invalid("argument " + name + " holds a control character")
	}
	return nil
}

// structured is a result as data, with the same data as text for clients that read only that.
func structured(v any) (mcp.Result, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return mcp.Result{}, err
	}
	return mcp.Result{Text: string(b), Structured: json.RawMessage(b)}, nil
}
