// Package toolcatalog reads what a server behind the gateway offers, fingerprints its tools, and
// finds what is wrong with them.
package toolcatalog

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// Tool is a tool as a server describes it; see ReadTool.
type Tool struct {
	Name         string          `json:"name"`
	Title        string          `json:"title"`
	Description  string          `json:"description"`
	InputSchema  json.RawMessage `json:"inputSchema"`
	OutputSchema json.RawMessage `json:"outputSchema"`
	Annotations  struct {
		Title       string `json:"title"`
		ReadOnly    *bool  `json:"readOnlyHint"`
		Destructive *bool  `json:"destructiveHint"`
	} `json:"annotations"`

	whole any // all of it, as JSON
}

// ReadTool reads a listed tool. A member that differs from a known one only by case is an error,
// because another reader could understand it differently.
func ReadTool(raw json.RawMessage) (t Tool, err error) {
	members, err := message.Members(raw)
	if err != nil {
		return t, err
	}
	if err := message.Exact(members, "name", "title", "description", "inputSchema", "outputSchema", "annotations",
		"icons", "execution", "_meta"); err != nil {
		return t, err
	}
	for _, m := range members {
		if string(m.Name) != "annotations" || string(m.Value) == "null" {
			continue
		}
		hints, err := message.Members(m.Value)
		if err == nil {
			err = message.Exact(hints, "title", "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
		}
		if err != nil {
			return t, err
		}
	}
	if err := strictjson.Unmarshal(raw, &t); err != nil {
		return t, err
	}
	t.whole, err = strictjson.Value(raw)
	return t, err
}

// Mirrors returns the top-level arguments that a call repeats in headers, with their names after
// "Mcp-Param-" (MCP 2026-07-28, "x-mcp-header").
func (t Tool) Mirrors() map[string]string {
	var schema struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if strictjson.Unmarshal(t.InputSchema, &schema) != nil {
		return nil
	}
	var mirrors map[string]string
	for argument, raw := range schema.Properties {
		var property struct {
			Header string `json:"x-mcp-header"`
		}
		if strictjson.Unmarshal(raw, &property) != nil || property.Header == "" {
			continue
		}
		if mirrors == nil {
			mirrors = map[string]string{}
		}
		mirrors[argument] = property.Header
	}
	return mirrors
}

// Fingerprint returns the SHA-256 of all that the server says of a tool, known members or not,
// independent of how it is written.
func (t Tool) Fingerprint() string {
	canonical, err := json.Marshal(t.whole) // members sorted, no spaces
	if err != nil {
		panic("inventory: a tool that is no JSON: " + err.Error()) // a programming error
	}
	sum := sha256.Sum256(canonical)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// writing are verbs that begin the names of tools that change something.
const writing = " add append approve archive assign cancel clear close commit copy create delete deploy disable drop " +
	"edit enable execute exec insert install invite kill merge modify move " +
	"patch post publish push put remove rename replace reset restart run save send set share start stop submit " +
	"toggle trigger uninstall update upload upsert write "

// Writes guesses whether a tool changes something: by its annotations, or else by the verbs of its
// name. A tool without annotations and without a reading verb counts as writing.
func (t Tool) Writes() bool {
	a := t.Annotations
	words := strings.Fields(strings.ToLower(split(t.Name)))
	for _, w := range words {
		if strings.Contains(writing, " "+w+" ") {
			return true // despite readOnlyHint, which the server may claim
		}
	}
	switch {
	case a.Destructive != nil && *a.Destructive && (a.ReadOnly == nil || !*a.ReadOnly):
		return true
	case a.ReadOnly != nil:
		return !*a.ReadOnly
	}
	for _, w := range words {
		if strings.Contains(reading, " "+w+" ") {
			return false
		}
	}
	return true
}

// reading are verbs that begin the names of tools that change nothing.
const reading = " browse check count describe echo explain fetch find get list look lookup preview query read " +
	"retrieve search show status summarize tree validate view "

// split separates the words of a name by spaces, however they are joined.
func split(name string) string {
	var b strings.Builder
	lower := false
	for _, c := range name {
		switch {
		case c >= 'A' && c <= 'Z':
			if lower {
				b.WriteByte(' ')
			}
			b.WriteRune(c)
			lower = false
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			b.WriteRune(c)
			lower = true
		default:
			b.WriteByte(' ')
			lower = false
		}
	}
	return b.String()
}
