package gateway

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/limit"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/refusal"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/toolcatalog"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// request is an authorized request to an upstream.
type request struct {
	*Gateway
	m     *upstream
	c     mcp.Caller
	rules *policy
	view  *tenantView
}

// protected is an upstream as the guard sees it through a tenant's view: it implements guard.View.
type protected struct {
	*Gateway
	m    *upstream
	view *tenantView
}

func (u *protected) request(c mcp.Caller) *request {
	return &request{Gateway: u.Gateway, m: u.m, c: c, rules: u.view.of, view: u.view}
}

// Tools implements guard.View.
func (u *protected) Tools(c mcp.Caller, entries []json.RawMessage) ([]json.RawMessage, error) {
	return u.request(c).list(entries)
}

// ServeHTTP forwards a request that the guard allowed.
func (u *protected) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, _ := guard.CallerOf(r.Context()) // the caller of an anonymous request is zero
	httpd.Note(r.Context(), "upstream", u.m.config.Name)
	p := u.request(c)
	if r.Method != http.MethodPost {
		p.answer(w, r)
		return
	}
	body, m, err := message.BodyOf(r) // as the guard parsed it
	if err != nil {
		message.Refuse(w, http.StatusBadRequest, nil, message.Invalid("the message could not be read"))
		return
	}
	if !message.IsModern(m, r.Header) {
		unmirror(r, "Mcp-") // in the older era these headers were not compared with the message
	}
	if m.Method == "tools/call" {
		p.call(w, r, body, m)
		return
	}
	p.answer(w, r)
}

// call forwards a tool call, changed as the tenant's view says.
func (p *request) call(w http.ResponseWriter, r *http.Request, body []byte, m *message.Message) {
	refuse := func(f *message.Fault) {
		refusal.Set(r.Context(), f.Message)
		httpd.Note(r.Context(), "refused", f.Message)
		message.Refuse(w, message.Status(m, f, message.IsModern(m, r.Header)), m.ID, f)
	}
	name, changed := p.view.tool(m.Name)
	if name == "" {
		refuse(message.BadParams("unknown tool: see the list"))
		return
	}
	if p.rules.hold {
		switch held, err := p.held(r.Context(), name); {
		case err != nil:
			refusal.Set(r.Context(), "approval unknown")
			httpd.Note(r.Context(), "error", err)
			httpd.RetryAfter(w, 0)
			message.Refuse(w, http.StatusServiceUnavailable, m.ID,
				&message.Fault{Code: message.CodeInternal,
					Message: "whether this tool is approved is not known now"})
			return
		case held:
			httpd.Note(r.Context(), "held", name)
			refuse(message.BadParams("unknown tool: see the list"))
			return
		}
	}
	if changed != nil {
		out, f := changed.rewrite(body, m)
		if f != nil {
			refuse(f)
			return
		}
		if changed.budget != nil {
			if ok, wait := changed.budget.Allow(r.Context(), p.c.TenantID); !ok {
				refusal.Set(r.Context(), "calls_per_hour")
				limit.TooMany(w, r, wait)
				return
			}
		}
		if len(changed.pinned()) > 0 && message.IsModern(m, r.Header) {
			p.mirror(r, name, changed)
		}
		if r.Header["Mcp-Name"] != nil {
			r.Header.Set("Mcp-Name", headerValue(name))
		}
		message.SetBody(r, out, nil)
	}
	p.answer(w, r)
}

// unmirror removes the headers that mirror the message (MCP 2026-07-28). The headers are a copy of
// the guard's.
func unmirror(r *http.Request, prefix string) {
	for name := range r.Header {
		if strings.HasPrefix(name, prefix) && name != "Mcp-Session-Id" && name != "Mcp-Protocol-Version" {
			delete(r.Header, name)
		}
	}
}

// mirror sets the headers that mirror pinned arguments to the pinned values, as the server declares
// them; those of other arguments are unchanged. If it is not known what the server declares, none
// are sent, and the server decides.
func (p *request) mirror(r *http.Request, name string, changed *tenantTool) {
	tool, err := p.look(r.Context(), name)
	if err != nil {
		httpd.Note(r.Context(), "error", err)
		unmirror(r, message.ParameterHeader)
		return
	}
	r.Header = r.Header.Clone()
	for _, b := range changed.bounds {
		called := tool.mirrors[b.name]
		if b.pin == nil || called == "" || strings.ContainsFunc(called, notToken) {
			continue
		}
		var text string
		switch {
		case b.pin[0] == '{' || b.pin[0] == '[':
			r.Header.Del(message.ParameterHeader + called) // a header cannot represent it
			continue
		case strictjson.Unmarshal(b.pin, &text) != nil:
			text = string(b.pin)
		}
		r.Header.Set(message.ParameterHeader+called, headerValue(text))
	}
}

// headerValue encodes a name for a header (MCP 2026-07-28, "Value Encoding"): in base64 if it is
// not plain.
func headerValue(name string) string {
	for _, c := range name {
		if c < ' ' || c > '~' {
			return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(name)) + "?="
		}
	}
	if name != "" && (name[0] == ' ' || name[len(name)-1] == ' ') || len(name) > 9 && name[:9] == "=?base64?" {
		return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(name)) + "?="
	}
	return name
}

// answer forwards the request.
func (p *request) answer(w http.ResponseWriter, r *http.Request) {
	p.m.server.Serve(w, r, p.c)
	if p.m.assertions != nil && p.c.TenantID != "" {
		p.m.assertions.Prepare(p.c)
	}
}

// list returns the tools of a list as the tenant sees them.
func (p *request) list(entries []json.RawMessage) ([]json.RawMessage, error) {
	to := p.m.viewer(p.c)
	all := make([]json.RawMessage, 0, len(entries))
	for _, e := range entries {
		t, err := toolcatalog.ReadTool(e)
		if err != nil {
			p.unread(message.NameOf(e))
			continue
		}
		if _, shown := p.m.keep(p.Gateway, p.rules, to, t); !shown {
			continue
		}
		shown, err := p.view.show(e, t.Name)
		if err != nil {
			return nil, err
		}
		if shown != nil {
			all = append(all, shown)
		}
	}
	return all, nil
}

// unread logs a list entry that is left out because clients could read it differently. Each is
// logged once, at a limited rate.
func (p *request) unread(name string) {
	switch p.m.seen.report("unread "+name, p.deps.Now()) {
	case report:
		p.deps.Log.Warn("an unreadable list entry of a server is left out", "upstream", p.m.config.Name,
			"tenant", p.c.TenantID, "name", name)
	case reportMore:
		p.deps.Log.Warn("more list entries are unreadable; for the rest of this minute none is logged",
			"upstream", p.m.config.Name)
	}
}

// held reports whether a tool is held for approval, because it is not the approved one as the
// caller sees it now.
func (p *request) held(ctx context.Context, name string) (bool, error) {
	if p.rules.approved[name] == "" {
		return true, nil
	}
	tool, err := p.look(ctx, name)
	return tool.print != p.rules.approved[name], err
}

// look returns a tool as the caller sees it now.
func (p *request) look(ctx context.Context, name string) (seen, error) {
	to := p.m.viewer(p.c)
	return p.m.seen.find(ctx, to, name, p.deps.Now(), func(ctx context.Context) (map[string]seen, error) {
		offer, err := toolcatalog.Tools(ctx,
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.m.server.Serve(w, r, p.c) }))
		tools := map[string]seen{}
		for _, name := range offer.Unread {
			p.unread(name)
		}
		for _, t := range offer.Tools {
			print, _ := p.m.keep(p.Gateway, p.rules, to, t) // logs what is suspicious
			tools[t.Name] = seenOf(t, print)
		}
		return tools, err
	})
}
