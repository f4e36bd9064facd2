package mcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"sync"
	"sync/atomic"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// Catalog holds all tools. It is made once and never changes.
type Catalog struct {
	tools  []Tool
	inputs []input  // of the tools, in their order
	scopes []string // each once; their places are the bits of a set's mask

	sets sync.Map // mask (uint64) → *set
	kept atomic.Int64
}

// maxScopes is how many different scopes the tools of one catalog may ask for.
const maxScopes = 64

// maxSets bounds the sets that are kept; more are made for their request and forgotten.
const maxSets = 1024

// toolName is what a tool may be called (MCP 2025-11-25, tools, "Tool Names").
var toolName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)

// NewCatalog checks the tools and keeps them in this order, in which every list shows them.
func NewCatalog(tools ...Tool) (*Catalog, error) {
	c := &Catalog{}
	names := map[string]bool{}
	for _, t := range tools {
		switch {
		case !toolName.MatchString(t.Name):
			return nil, fmt.Errorf("tool %q: a name has 1 to 128 of A-Z a-z 0-9 _ . -", t.Name)
		case names[t.Name]:
			return nil, fmt.Errorf("tool %s is there twice", t.Name)
		case t.Scope == "":
			return nil, fmt.Errorf("tool %s has no scope: then nobody could call it", t.Name)
		case t.Bind == nil:
			return nil, fmt.Errorf("tool %s has nothing to bind", t.Name)
		case !isObjectSchema(t.InputSchema):
			return nil, fmt.Errorf("tool %s: the input schema is not a JSON Schema of type object", t.Name)
		case len(t.OutputSchema) > 0 && !isObjectSchema(t.OutputSchema):
			return nil, fmt.Errorf("tool %s: the output schema is not a JSON Schema of type object", t.Name)
		}
		names[t.Name] = true
		in, err := readInput(t.InputSchema)
		if err != nil {
			return nil, fmt.Errorf("tool %s: the input schema: %w", t.Name, err)
		}
		c.tools, c.inputs = append(c.tools, t), append(c.inputs, in)
		if c.bit(t.Scope) == 0 {
			c.scopes = append(c.scopes, t.Scope)
		}
	}
	if len(c.scopes) > maxScopes {
		return nil, fmt.Errorf("the tools ask for %d different scopes; at most %d can be told apart", len(c.scopes), maxScopes)
	}
	return c, nil
}

func isObjectSchema(schema json.RawMessage) bool {
	found, err := message.Members(bytes.TrimSpace(schema))
	if err != nil {
		return false
	}
	for _, m := range found {
		if string(m.Name) == "type" {
			return string(m.Value) == `"object"`
		}
	}
	return false
}

// bit is the scope's place in a mask, or 0 when no tool asks for it.
func (c *Catalog) bit(scope string) uint64 {
	for i, s := range c.scopes {
		if s == scope {
			return 1 << i
		}
	}
	return 0
}

// set is what callers with the same scopes see: their tools and the list's bytes. It holds nothing of any caller.
type set struct {
	mask uint64
	list []byte // "tools":[…]
}

// For makes the server value of one request.
func (c *Catalog) For(caller Caller) Server {
	mask := uint64(0)
	for _, s := range caller.Scopes {
		mask |= c.bit(s)
	}
	if kept, ok := c.sets.Load(mask); ok {
		return Server{c, kept.(*set), caller}
	}
	made := &set{mask: mask, list: c.list(mask)}
	if c.kept.Add(1) <= maxSets {
		c.sets.Store(mask, made)
	}
	return Server{c, made, caller}
}

// list writes the tools that a mask opens, in the catalog's order.
func (c *Catalog) list(mask uint64) []byte {
	b := []byte(`"tools":[`)
	first := true
	for i := range c.tools {
		t := &c.tools[i]
		if c.bit(t.Scope)&mask == 0 {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, t.describe()...)
	}
	return append(b, ']')
}

// describe is the tool as clients see it. What was checked by NewCatalog can be written.
func (t *Tool) describe() []byte {
	type annotations struct {
		ReadOnly    bool `json:"readOnlyHint"`
		Destructive bool `json:"destructiveHint"`
		Idempotent  bool `json:"idempotentHint"`
		OpenWorld   bool `json:"openWorldHint"`
	}
	b, err := json.Marshal(struct {
		Name         string          `json:"name"`
		Title        string          `json:"title,omitempty"`
		Description  string          `json:"description,omitempty"`
		InputSchema  json.RawMessage `json:"inputSchema"`
		OutputSchema json.RawMessage `json:"outputSchema,omitempty"`
		Annotations  annotations     `json:"annotations"`
	}{t.Name, t.Title, t.Description, t.InputSchema, t.OutputSchema, annotations{t.ReadOnly, t.Destructive, t.Idempotent, false}})
	if err != nil {
		panic("mcp: a tool that cannot be described: " + err.Error())
	}
	return b
}

// Server is the server of one request: one caller, and the tools that the caller's scopes open.
type Server struct {
	catalog *Catalog
	set     *set
	caller  Caller
}

// tool finds a tool by its exact name with what it takes, and says whether the caller's scopes open it.
func (s Server) tool(name string) (t *Tool, in *input, open bool) {
	for i := range s.catalog.tools {
		if t := &s.catalog.tools[i]; t.Name == name {
			return t, &s.catalog.inputs[i], s.catalog.bit(t.Scope)&s.set.mask != 0
		}
	}
	return nil, nil, false
}
