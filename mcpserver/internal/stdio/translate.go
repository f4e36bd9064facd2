package stdio

import (
	"crypto/rand"
	"encoding/json"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// bare is params without what is between the client and the gateway: in _meta, what the modern era
// says in each request. Where the client has shown a token for progress, the process gets one that
// was made for this request alone: two clients may both have made up the same, and no process can
// guess another's.
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

// mostToken bounds a client's token for progress, in bytes.
const mostToken = 1024

// isToken says whether a value is a token for progress: a string or a number.
func isToken(v json.RawMessage) bool {
	return len(v) <= mostToken && (v[0] == '"' || isNumber(v))
}

// modernized makes a result of the older era one of the modern: what is complete says so, and what
// can be kept says for how long (not at all) and for whom (the one who asked).
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

// capabilities are those of the process that go through the bridge: what can be asked, and nothing
// that is told unasked.
func (h *hello) capabilities() map[string]any {
	open := map[string]any{}
	for _, name := range []string{"tools", "prompts", "resources", "completions"} {
		if h.Capabilities[name] != nil {
			open[name] = struct{}{}
		}
	}
	return open
}

// initialized opens for an older client. It is told its own version when the process knows that one
// or a later: what is between differs in what may be there, not in what is asked. What it is told
// is a version that is accepted afterwards, whatever the process speaks.
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

// discovered says what the server is (MCP 2026-07-28, server/discover).
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

// info is the process's name, or an empty one when it has none.
func (h *hello) info() json.RawMessage {
	if len(h.Info) == 0 {
		return json.RawMessage(`{"name":"","version":""}`)
	}
	return h.Info
}
