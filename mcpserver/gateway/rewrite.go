package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// tool returns the server's name of a tool that the tenant's clients call so, and its changes; ""
// if the tenant has no such tool.
func (s *tenantView) tool(called string) (name string, changed *tenantTool) {
	if t := s.visible[called]; t != nil {
		if t.Off {
			return "", nil
		}
		return t.Name, t
	}
	t := s.byName[called]
	if t == nil {
		if s.folded[strings.ToLower(called)] {
			return "", nil // a server that folds case would take it for the tool that the tenant changes
		}
		return called, nil
	}
	if t.Off || t.Rename != "" && t.Rename != called {
		return "", nil // the server's name is not available
	}
	return called, t
}

// show returns a tool's description for the tenant's clients: raw itself if nothing changes, nil if
// they do not see it.
func (s *tenantView) show(raw json.RawMessage, name string) (json.RawMessage, error) {
	t := s.byName[name]
	if t == nil {
		if s.visible[name] != nil {
			return nil, nil // another tool has this name for them
		}
		return raw, nil
	}
	if t.Off {
		return nil, nil
	}
	pins := t.pinned()
	if t.Rename == "" && t.Describe == "" && len(pins) == 0 {
		return raw, nil
	}
	members, err := message.Members(raw)
	if err != nil {
		return nil, err
	}
	described := t.Describe == ""
	for i, m := range members {
		switch string(m.Name) {
		case "name":
			if t.Rename != "" {
				members[i].Value = mustJSON(t.Rename)
			}
		case "description":
			if t.Describe != "" {
				members[i].Value, described = mustJSON(t.Describe), true
			}
		case "inputSchema":
			if members[i].Value, err = without(m.Value, pins); err != nil {
				return nil, err
			}
		}
	}
	if !described {
		members = append(members, message.Member{Name: []byte("description"), Value: mustJSON(t.Describe)})
	}
	return message.Object(members), nil
}

// pinned returns the arguments that the gateway sets.
func (t *tenantTool) pinned() []string {
	var names []string
	for _, b := range t.bounds {
		if b.pin != nil {
			names = append(names, b.name)
		}
	}
	return names
}

// without removes properties from an input schema.
func without(schema json.RawMessage, names []string) (json.RawMessage, error) {
	if len(names) == 0 {
		return schema, nil
	}
	members, err := message.Members(schema)
	if err != nil {
		return nil, err
	}
	for i, m := range members {
		switch string(m.Name) {
		case "properties":
			properties, err := message.Members(m.Value)
			if err != nil {
				return nil, err
			}
			properties = slices.DeleteFunc(properties,
				func(p message.Member) bool { return slices.Contains(names, string(p.Name)) })
			members[i].Value = message.Object(properties)
		case "required":
			var required []string
			if err := strictjson.Unmarshal(m.Value, &required); err != nil {
				return nil, err
			}
			required = slices.DeleteFunc(required, func(n string) bool { return slices.Contains(names, n) })
			members[i].Value = mustJSON(required)
		}
	}
	return message.Object(members), nil
}

// rewrite returns a call for the server, with its own name and the pinned arguments, or the
// argument that is out of bounds.
func (t *tenantTool) rewrite(body []byte, m *message.Message) ([]byte, *message.Fault) {
	if t.Rename == "" && len(t.bounds) == 0 {
		return body, nil
	}
	var arguments []message.Member
	if raw := m.Arguments; raw != nil && string(raw) != "null" {
		var err error
		if arguments, err = message.Members(raw); err != nil {
			return nil, message.BadParams("arguments must be an object")
		}
	}
	for _, b := range t.bounds {
		if message.Exact(arguments, b.name) != nil {
			// a server that folds case would take it
			return nil, message.BadParams(fmt.Sprintf("argument %q is spelled in the wrong case", b.name))
		}
		i := slices.IndexFunc(arguments, func(a message.Member) bool { return string(a.Name) == b.name })
		switch {
		case b.pin != nil && i < 0:
			arguments = append(arguments, message.Member{Name: []byte(b.name), Value: b.pin})
		case b.pin != nil:
			arguments[i].Value = b.pin
		case i >= 0:
			if what := b.breaks(arguments[i].Value); what != "" {
				return nil, message.BadParams(fmt.Sprintf("argument %q: %s", b.name, what))
			}
		}
	}
	envelope, err := message.Members(bytes.TrimSpace(body))
	if err != nil {
		return nil, message.Invalid(err.Error())
	}
	for i, e := range envelope {
		if string(e.Name) != "params" {
			continue
		}
		params, err := message.Members(e.Value)
		if err != nil {
			return nil, message.Invalid(err.Error())
		}
		envelope[i].Value = message.Object(t.params(params, arguments))
	}
	return message.Object(envelope), nil
}

// params returns the parameters of a call with another name and other arguments.
func (t *tenantTool) params(params, arguments []message.Member) []message.Member {
	has := false
	for i, p := range params {
		switch string(p.Name) {
		case "name":
			params[i].Value = mustJSON(t.Name)
		case "arguments":
			params[i].Value, has = message.Object(arguments), true
		}
	}
	if !has && len(arguments) > 0 {
		params = append(params, message.Member{Name: []byte("arguments"), Value: message.Object(arguments)})
	}
	return params
}

func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("gateway: encode value: " + err.Error()) // programming error
	}
	return b
}
