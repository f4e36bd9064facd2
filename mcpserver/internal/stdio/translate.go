package stdio

import (
	"crypto/rand"
	"encoding/json"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// bare returns params without what concerns only the client and the gateway: in _meta, what the
// modern era sends in each request. A client's progress token is replaced by one made for this
// request, because two clients may use the same, and no process may guess another's.
func bare(params json.RawMessage, token *string) (_, shown json.RawMessage) {
	members, err := message.Members(params)
	if err != nil {
		return params, nil
	}
	for i, m := range members {
		if string(m.Name) != "_meta" {
			continue
		}
		meta, err := message.Members(m.Value)
		if err != nil {
			return params, nil
		}
		kept := meta[:0:0]
		for _, e := range meta {
			switch string(e.Name) {
			case message.MetaVersion, message.MetaCapabilities, "io.modelcontextprotocol/clientInfo",
				"io.modelcontextprotocol/logLevel":
			case "progressToken":
				if isToken(e.Value) {
					shown, *token = e.Value, rand.Text()
					kept = append(kept, message.Member{Name: e.Name, Value: mustJSON(*token)})
				}
			default:
				kept = append(kept, e)
			}
		}
		if len(kept) == 0 {
			members = append(members[:i:i], members[i+1:]...)
		} else {
			members[i].Value = message.Object(kept)
		}
		return message.Object(members), shown
	}
	return params, nil
}

// mostToken bounds a client's progress token, in bytes.
const mostToken = 1024

// isToken reports whether a value is a progress token: a string or a number.
func isToken(v json.RawMessage) bool {
	return len(v) <= mostToken && (v[0] == '"' || isNumber(v))
}

// modernized turns a result of the older era into one of the modern: a complete result says so, and
// a cacheable one that it may not be cached and is for this caller only.
func modernized(method string, result, info json.RawMessage) json.RawMessage {
	members, err := message.Members(result)
	if err != nil {
		return result
	}
	has := map[string]bool{}
	for _, m := range members {
		has[string(m.Name)] = true
	}
	put := func(name, value string) {
		if !has[name] {
			members = append(members, message.Member{Name: []byte(name), Value: json.RawMessage(value)})
		}
	}
	put("resultType", `"complete"`)
	switch method {
	case "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read":
		put("ttlMs", "0")
		put("cacheScope", `"private"`)
	}
	if len(info) > 0 {
		put("_meta", `{"`+message.MetaServerInfo+`":`+string(info)+`}`)
	}
	return message.Object(members)
}

// capabilities returns those of the process that the bridge supports: requests, and nothing
// unsolicited.
func (h *hello) capabilities() map[string]any {
	open := map[string]any{}
	for _, name := range []string{"tools", "prompts", "resources", "completions"} {
		if h.Capabilities[name] != nil {
			open[name] = struct{}{}
		}
	}
	return open
}

// initialized answers initialize of an older client. It gets its own version when the process knows
// that one or a later, because they differ in what may be present, not in what is asked; and a
// version that is accepted afterwards in any case.
func (x *exchange) initialized(h *hello) {
	if x.m.Version == "" {
		x.refuse(0, message.BadParams("protocolVersion is missing"))
		return
	}
	version, asked := h.Version, message.IsLegacy(x.m.Version)
	switch {
	case asked && (!message.IsLegacy(version) || x.m.Version < version):
		version = x.m.Version
	case !message.IsLegacy(version):
		version = message.NewestLegacy
	}
	x.answer(mustJSON(struct {
		Version      string          `json:"protocolVersion"`
		Capabilities map[string]any  `json:"capabilities"`
		Info         json.RawMessage `json:"serverInfo"`
		Instructions json.RawMessage `json:"instructions,omitempty"`
	}{version, h.capabilities(), h.info(), h.Instructions}))
}

// discovered answers server/discover (MCP 2026-07-28).
func (x *exchange) discovered(h *hello) {
	x.answer(mustJSON(struct {
		Type         string          `json:"resultType"`
		Versions     []string        `json:"supportedVersions"`
		Capabilities map[string]any  `json:"capabilities"`
		Instructions json.RawMessage `json:"instructions,omitempty"`
		TTL          int             `json:"ttlMs"`
		Scope        string          `json:"cacheScope"`
		Meta         map[string]any  `json:"_meta"`
	}{"complete", message.Versions(), h.capabilities(), h.Instructions, 0, "private",
		map[string]any{message.MetaServerInfo: h.info()}}))
}

// info returns the process's name, or an empty one.
func (h *hello) info() json.RawMessage {
	if len(h.Info) == 0 {
		return json.RawMessage(`{"name":"","version":""}`)
	}
	return h.Info
}
