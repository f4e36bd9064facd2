// Package mcp owns a tools-only MCP server: messages in, messages out, in both protocol eras; it
// knows no tokens.
//
// Legacy clients (2024-11-05 to 2025-11-25) open with initialize and are answered without a
// session; modern ones (2026-07-28) say everything in each request. Either way a Server value is
// made for each request, holding only the tools that the caller's scopes open.
package mcp

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// The revisions of the protocol that are spoken; see package message.
const (
	Modern       = message.Modern
	NewestLegacy = message.NewestLegacy
)

// Versions are the revisions of the protocol that are spoken, newest first.
func Versions() []string { return message.Versions() }

// Caller is who acts, as the guard found out. It is a value, handed on as an argument.
type Caller struct {
	Subject  string // the user's id, or the client's own for a machine
	TenantID string
	ClientID string
	GrantID  string
	Scopes   []string // not to be changed: shared between requests of one token
}

// Has says whether the caller has a scope. Matching is exact.
func (c Caller) Has(scope string) bool { return slices.Contains(c.Scopes, scope) }

// Handler runs a tool for the caller that it was bound to. arguments is one JSON object. Its error
// is a ToolError or InvalidArguments, which the agent gets to read, or anything else, which it does
// not.
type Handler func(ctx context.Context, arguments json.RawMessage) (Result, error)

// Tool is a tool and the scope that opens it.
type Tool struct {
	Name        string
	Title       string
	Description string
	Scope       string // required: a tool that no scope opens is open to nobody

	ReadOnly    bool // changes nothing
	Destructive bool // may overwrite or remove
	Idempotent  bool // twice is as once

	InputSchema  json.RawMessage // a JSON Schema of type object
	OutputSchema json.RawMessage // of Result.Structured; empty when there is none

	// Bind makes the handler for a caller. What it captures (the tenant's view of the data) is out
	// of the arguments' reach.
	Bind func(Caller) Handler
}

// Result is what a tool answers.
type Result struct {
	Text       string          // for clients that read only text
	Structured json.RawMessage // one JSON object; empty when the tool has no OutputSchema
}

// ToolError is a failure that the agent should read and act on.
type ToolError struct{ Message string }

func (e ToolError) Error() string { return e.Message }

// InvalidArguments says what is wrong with the arguments, so that the agent can put it right.
type InvalidArguments struct{ Reason string }

func (e InvalidArguments) Error() string { return "invalid arguments: " + e.Reason }

// Info is what the server says of itself.
type Info struct {
	Name         string `json:"name"`
	Title        string `json:"title,omitempty"`
	Version      string `json:"version"`
	Instructions string `json:"-"`
}
