package toolcatalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// Offer is what a server offers.
type Offer struct {
	Name      string // the server's name for itself
	Version   string
	Modern    bool // it supports 2026-07-28
	Tools     []Tool
	Unread    []string // names of entries that cannot be read and are left out
	Prompts   []string
	Resources []string // URIs
	Templates []string // of URIs
	Completes bool     // it supports completion
}

const (
	mostPages  = 100
	mostThings = 10_000
	mostAnswer = 16 << 20
)

// ErrNoServer says that the URL or program is no MCP server.
var ErrNoServer = errors.New("what answers there is no MCP server")

// Read asks a server what it offers. It tries the modern era first, and then initializes a session
// as older clients do.
func Read(ctx context.Context, server http.Handler) (Offer, error) {
	return inEitherEra(&reader{ctx: ctx, server: server}, (*reader).whole)
}

// Tools asks a server for its tools only.
func Tools(ctx context.Context, server http.Handler) (Offer, error) {
	return inEitherEra(&reader{ctx: ctx, server: server}, (*reader).toolsAlone)
}

// inEitherEra reads as a newer client, and again as an older one if the server, despite
// server/discover, does not support that revision (go-sdk 1.8.0 with sessions).
func inEitherEra(c *reader, read func(*reader) (Offer, error)) (Offer, error) {
	o, err := read(c)
	var told *refusal
	if c.modern && errors.As(err, &told) && told.Code == message.CodeUnsupported {
		return read(&reader{ctx: c.ctx, server: c.server, older: true})
	}
	return o, err
}

func (c *reader) whole() (Offer, error) {
	o, capabilities, err := c.open()
	if err != nil {
		return o, err
	}
	o.Modern = c.modern
	defer c.close()
	if o.Tools, err = c.tools(capabilities); err != nil {
		return o, err
	}
	for _, l := range []struct {
		capability, method, member, name string
		into                             *[]string
	}{
		{"prompts", "prompts/list", "prompts", "name", &o.Prompts},
		{"resources", "resources/list", "resources", "uri", &o.Resources},
		{"resources", "resources/templates/list", "resourceTemplates", "uriTemplate", &o.Templates},
	} {
		if capabilities[l.capability] == nil {
			continue
		}
		err := c.list(l.method, l.member, func(raw json.RawMessage) error {
			var thing map[string]any
			err := strictjson.Unmarshal(raw, &thing)
			name, _ := thing[l.name].(string)
			*l.into = append(*l.into, name)
			return err
		})
		var told *refusal
		if err != nil && !(errors.As(err, &told) && told.Code == message.CodeNoMethod) {
			return o, err
		}
	}
	o.Unread = c.unread
	o.Completes = capabilities["completions"] != nil
	return o, nil
}

func (c *reader) toolsAlone() (Offer, error) {
	o, capabilities, err := c.open()
	if err != nil {
		return o, err
	}
	defer c.close()
	o.Tools, err = c.tools(capabilities)
	o.Unread = c.unread
	return o, err
}

func (c *reader) tools(capabilities map[string]json.RawMessage) (tools []Tool, err error) {
	if capabilities["tools"] == nil {
		return nil, nil
	}
	err = c.list("tools/list", "tools", func(raw json.RawMessage) error {
		t, err := ReadTool(raw)
		if err != nil {
			c.unread = append(c.unread, message.NameOf(raw))
			return nil
		}
		tools = append(tools, t)
		return nil
	})
	return tools, err
}

// refusal is a server's error.
type refusal struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the server refuses with %d: %.200s", r.Code, r.Message)
}

// reader is a small sequential client.
type reader struct {
	ctx     context.Context
	server  http.Handler
	older   bool // use the older era
	modern  bool
	version string
	session string
	id      int
	unread  []string // names of entries that cannot be read
}

type identity struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// open determines the server's era, and opens a session in the older one.
func (c *reader) open() (Offer, map[string]json.RawMessage, error) {
	var hello struct {
		Version      string                     `json:"protocolVersion"`
		Supported    []string                   `json:"supportedVersions"`
		Capabilities map[string]json.RawMessage `json:"capabilities"`
		Info         identity                   `json:"serverInfo"`
		Meta         map[string]json.RawMessage `json:"_meta"`
	}
	c.modern, c.version = true, message.Modern
	if c.older {
		c.modern = false
	} else if err := c.ask("server/discover", nil, &hello); err == nil &&
		slices.Contains(hello.Supported, message.Modern) {
		// a server may have no name
		_ = strictjson.Unmarshal(hello.Meta[message.MetaServerInfo], &hello.Info)
		return Offer{Name: hello.Info.Name, Version: hello.Info.Version}, hello.Capabilities, nil
	}
	// it has no server/discover, or lists older revisions only (go-sdk 1.8.0 with sessions)
	c.modern, c.version = false, ""
	err := c.ask("initialize", map[string]any{
		"protocolVersion": message.NewestLegacy, "capabilities": map[string]any{},
		"clientInfo": identity{"gatehouse-gateway", "0.1.0"},
	}, &hello)
	if err != nil {
		return Offer{}, nil, err
	}
	if hello.Version == "" {
		return Offer{}, nil, ErrNoServer
	}
	c.version = hello.Version
	if _, err := c.send(http.MethodPost, "notifications/initialized",
		[]byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)); err != nil {
		return Offer{}, nil, err
	}
	return Offer{Name: hello.Info.Name, Version: hello.Info.Version}, hello.Capabilities, nil
}

// close ends the session, if there is one; otherwise the server's timeout does.
func (c *reader) close() {
	if c.session != "" {
		_, _ = c.send(http.MethodDelete, "", nil)
	}
}

// list reads all pages of a list.
func (c *reader) list(method, member string, each func(json.RawMessage) error) error {
	params := map[string]any{}
	seen := 0
	for range mostPages {
		var page map[string]json.RawMessage
		if err := c.ask(method, params, &page); err != nil {
			return err
		}
		var things []json.RawMessage
		if err := strictjson.Unmarshal(page[member], &things); err != nil {
			return fmt.Errorf("reading %s: %w", method, err)
		}
		for _, t := range things {
			if err := each(t); err != nil {
				return fmt.Errorf("reading %s: %w", method, err)
			}
		}
		if seen += len(things); seen > mostThings {
			return fmt.Errorf("%s has more than %d entries", method, mostThings)
		}
		var next string
		if page["nextCursor"] == nil || strictjson.Unmarshal(page["nextCursor"], &next) != nil || next == "" {
			return nil
		}
		params["cursor"] = next
	}
	return fmt.Errorf("%s has more than %d pages", method, mostPages)
}

// ask sends one request and reads its result.
func (c *reader) ask(method string, params map[string]any, into any) error {
	if params == nil {
		params = map[string]any{}
	}
	if c.modern {
		params["_meta"] = map[string]any{message.MetaVersion: message.Modern,
			message.MetaCapabilities: map[string]any{}}
	}
	c.id++
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": c.id, "method": method, "params": params})
	if err != nil {
		return fmt.Errorf("asking %s: %w", method, err)
	}
	a, err := c.send(http.MethodPost, method, body)
	if err != nil {
		return fmt.Errorf("asking %s: %w", method, err)
	}
	found, left, err := a.find(strconv.Itoa(c.id))
	for _, e := range left {
		c.unread = append(c.unread, message.NameOf(e))
	}
	if err != nil {
		return fmt.Errorf("asking %s: %w", method, err)
	}
	if err := strictjson.Unmarshal(found, into); err != nil {
		return fmt.Errorf("asking %s: %w", method, err)
	}
	return nil
}

// serve calls the server's handler, which panics with http.ErrAbortHandler when an answer is
// aborted.
func serve(server http.Handler, a *answer, r *http.Request) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			err = errors.New("the server broke its answer off")
		default:
			panic(p)
		}
	}()
	server.ServeHTTP(a, r)
	return nil
}

// send sends a request and waits for the whole answer.
func (c *reader) send(method, called string, body []byte) (*answer, error) {
	r, err := http.NewRequestWithContext(c.ctx, method, "http://upstream/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	h := r.Header
	h.Set("Content-Type", "application/json")
	h.Set("Accept", "application/json, text/event-stream")
	if c.version != "" {
		h.Set("Mcp-Protocol-Version", c.version)
	}
	if c.modern {
		h.Set("Mcp-Method", called)
	}
	if c.session != "" {
		h.Set("Mcp-Session-Id", c.session)
	}
	a := &answer{header: http.Header{}}
	if err := serve(c.server, a, r); err != nil {
		return nil, err
	}
	if s := a.header.Get("Mcp-Session-Id"); s != "" && !c.modern {
		c.session = s
	}
	return a, c.ctx.Err()
}
