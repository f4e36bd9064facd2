package mcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"sync"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// Catalog holds all tools of a server. It is immutable.
type Catalog struct {
	tools  []Tool
	inputs []input // of the tools, in their order

	mu   sync.RWMutex
	sets map[mask]*set
}

// maxTools limits the tools of a catalog.
const maxTools = 256

// mask is the set of allowed tools, by their positions.
type mask [maxTools / 64]uint64

func (m *mask) open(i int) { m[i/64] |= 1 << (i % 64) }

func (m *mask) has(i int) bool { return m[i/64]&(1<<(i%64)) != 0 }

// maxSets limits the cached sets; more are made for one request.
const maxSets = 1024

// toolName is the syntax of tool names (MCP 2025-11-25, tools, "Tool Names").
var toolName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)

// NewCatalog checks the tools. Lists have their order.
func NewCatalog(tools ...Tool) (*Catalog, error) {
	if len(tools) > maxTools {
		return nil, fmt.Errorf("there are %d tools; at most %d can be told apart", len(tools), maxTools)
	}
	c := &Catalog{sets: map[mask]*set{}}
	names := map[string]bool{}
	for _, t := range tools {
		switch {
		case !toolName.MatchString(t.Name):
			return nil, fmt.Errorf("tool %q: a name has 1 to 128 of A-Z a-z 0-9 _ . -", t.Name)
		case names[t.Name]:
			return nil, fmt.Errorf("tool %s is there twice", t.Name)
		case t.Scope == "":
			return nil, fmt.Errorf("tool %s has no scope: no one could call it", t.Name)
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

// set is the encoded list of tools for all callers with the same allowed tools. It holds nothing of
// a caller.
type set struct {
	mask mask
	list []byte // "tools":[…]
}

// View is the result of a guard for one request.
type View struct {
	Caller Caller
	// Open reports whether the caller may use a tool. For a tool call it was checked already, and
	// is not called again.
	Open func(tool string) bool
}

// For returns the server for one request, with the tools that the caller's scopes allow.
func (c *Catalog) For(caller Caller) Server {
	var m mask
	for i := range c.tools {
		if caller.Has(c.tools[i].Scope) {
			m.open(i)
		}
	}
	return Server{c, c.set(m), caller}
}

// see returns the server for one request, with the tools that the view allows.
func (c *Catalog) see(v View) Server {
	var m mask
	for i := range c.tools {
		if v.Open(c.tools[i].Name) {
			m.open(i)
		}
	}
	return Server{c, c.set(m), v.Caller}
}

// set returns the set of a mask.
func (c *Catalog) set(m mask) *set {
	c.mu.RLock()
	kept := c.sets[m]
	c.mu.RUnlock()
	if kept != nil {
		return kept
	}
	made := &set{mask: m, list: c.list(m)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sets) < maxSets {
		c.sets[m] = made
	}
	return made
}

// list encodes the tools of a mask, in the catalog's order.
func (c *Catalog) list(m mask) []byte {
	b := []byte(`"tools":[`)
	first := true
	for i := range c.tools {
		if !m.has(i) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, c.tools[i].describe()...)
	}
	return append(b, ']')
}

// describe encodes a tool for clients. NewCatalog has checked it.
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
	}{t.Name, t.Title, t.Description, t.InputSchema, t.OutputSchema,
		annotations{t.ReadOnly, t.Destructive, t.Idempotent, false}})
	if err != nil {
		panic("mcp: a tool that cannot be described: " + err.Error())
	}
	return b
}

// Server is the server for one request: one caller and its allowed tools.
type Server struct {
	catalog *Catalog
	set     *set
	caller  Caller
}

// tool returns a tool by its exact name, with its input and position; or nil.
func (c *Catalog) tool(name string) (t *Tool, in *input, place int) {
	for i := range c.tools {
		if t := &c.tools[i]; t.Name == name {
			return t, &c.inputs[i], i
		}
	}
	return nil, nil, 0
}
