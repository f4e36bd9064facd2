// Package mcp implements an MCP server with tools only, for both protocol eras. It knows no tokens.
//
// Legacy clients (2024-11-05 to 2025-11-25) start with initialize and get no session; modern ones
// (2026-07-28) send everything in each request. In both cases a Server value is made for each
// request, with only the tools that the caller may use.
package mcp

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// Supported protocol revisions; see package message.
const (
	Modern       = message.Modern
	NewestLegacy = message.NewestLegacy
)

// Versions returns the supported protocol revisions, newest first.
func Versions() []string { return message.Versions() }

// Caller is the authenticated caller of a request.
type Caller struct {
	Subject  string // id of the user, or of the client without a user
	TenantID string
	ClientID string
	GrantID  string
	Scopes   []string // shared between requests with the same token: do not change
}

// Has reports whether the caller has exactly this scope.
func (c Caller) Has(scope string) bool { return slices.Contains(c.Scopes, scope) }

// Handler runs a tool for the caller that it was bound to. arguments is one JSON object. A
// ToolError or InvalidArguments is shown to the agent; other errors are not.
type Handler func(ctx context.Context, arguments json.RawMessage) (Result, error)

// Tool is a tool and its scope.
type Tool struct {
	Name        string
	Title       string
	Description string
	Scope       string // required

	ReadOnly    bool // changes nothing
	Destructive bool // may overwrite or remove
	Idempotent  bool // calling it twice has the effect of one call

	InputSchema  json.RawMessage // a JSON Schema of type object
	OutputSchema json.RawMessage // of Result.Structured; empty: none

	// Bind returns the handler for a caller. Arguments cannot change what it captures, such as the
	// tenant's view of the data.
	Bind func(Caller) Handler
}

// Result is the result of a tool.
type Result struct {
	Text       string          // for clients that read only text
	Structured json.RawMessage // one JSON object; empty if the tool has no OutputSchema
}

// ToolError is an error that the agent should read and act on.
type ToolError struct{ Message string }

func (e ToolError) Error() string { return e.Message }

// InvalidArguments says what is wrong with the arguments, so that the agent can correct them.
type InvalidArguments struct{ Reason string }

func (e InvalidArguments) Error() string { return "invalid arguments: " + e.Reason }

// Info describes the server.
type Info struct {
	Name         string `json:"name"`
	Title        string `json:"title,omitempty"`
	Version      string `json:"version"`
	Instructions string `json:"-"`
}
