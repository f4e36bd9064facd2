package guard

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"sync"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// lists are the members of a result that list things, with the kind of the things and the member
// that names one.
var lists = []struct{ member, kind, name string }{
	{"tools", KindTool, "name"}, {"prompts", KindPrompt, "name"}, {"resources", KindResource, "uri"},
	{"resourceTemplates", kindTemplate, "uriTemplate"},
}

// filter returns the filter of the response; nil: none. Every stream is filtered: a resumed one may
// repeat a list, and one that answers another request may bring the answer to a list. A JSON
// response is one message, and only lists need a filter.
func (x *request) filter(streaming bool) message.Filter {
	listing := false
	switch x.m.Method {
	case "tools/list", "prompts/list", "resources/list", "resources/templates/list":
		listing = true
	}
	switch {
	case streaming:
		return &boundEvents{&message.Events{Cut: x.cutEvent, Most: x.policy.MaxAnswer}, x.eventOut}
	case listing:
		return &message.Whole{Cut: x.cut, Most: x.policy.MaxAnswer}
	case message.Kind(x.w.Header()) == "application/json":
		return &message.One{}
	}
	return nil
}

func isStream(h http.Header) bool { return message.Kind(h) == "text/event-stream" }

// visible reports whether the caller sees a thing in lists: its rule allows it or is not enforced.
func (x *request) visible(kind, name string) bool {
	d := x.table.Decide(x.v.caller, kind, name)
	return d.Allowed || x.policy.lenient(x.v.caller.TenantID, name, d.Write)
}

// cutEvent filters a message of a stream. If it is unreadable and answers this request, the client
// gets an error in its place.
func (x *request) cutEvent(raw []byte) (out []byte, drop bool) {
	x.w.lookAt(raw)
	out, drop = x.cut(raw)
	if !drop {
		return out, false
	}
	if told := message.Unanswered(raw, x.m.ID); told != nil {
		x.w.note(message.ErrUnreadable.Error())
		return told, false
	}
	return nil, true
}

// cut filters a message of the server. It returns raw itself if there is nothing to filter, and
// drops a message that is unreadable, because clients could read it differently, or that is about
// something the caller must not see.
func (x *request) cut(raw []byte) (out []byte, drop bool) {
	x.w.waits = false
	envelope, err := message.Members(bytes.TrimSpace(raw))
	if err != nil {
		mended, left, ok := message.Mend(raw)
		if !ok {
			return nil, true
		}
		x.logUnreadable(left...)
		return x.cut(mended)
	}
	if message.Exact(envelope, "params", "result", "method") != nil {
		return nil, true
	}
	has := func(name string) bool {
		return slices.ContainsFunc(envelope, func(e message.Member) bool { return string(e.Name) == name })
	}
	if has("params") && has("result") {
		return nil, true // not a message
	}
	for i, e := range envelope {
		switch string(e.Name) {
		case "params":
			return raw, x.announcesHidden(envelope, e.Value)
		case "result":
			result, changed, err := x.cutResult(e.Value)
			if err != nil {
				return nil, true
			}
			if !changed {
				return raw, false
			}
			envelope[i].Value = result
			return message.Object(envelope), false
		}
	}
	return raw, false
}

// announcesHidden reports whether a notification is about a resource that the caller must not see.
func (x *request) announcesHidden(envelope []message.Member, params json.RawMessage) bool {
	var method string
	for _, e := range envelope {
		if string(e.Name) == "method" && strictjson.Unmarshal(e.Value, &method) != nil {
			return true
		}
	}
	if method != "notifications/resources/updated" {
		return false
	}
	members, err := message.Members(params)
	if err != nil || message.Exact(members, "uri") != nil {
		return true
	}
	var uri string
	return strictjson.Unmarshal(message.Find(members, "uri"), &uri) != nil || !x.visible(KindResource, uri)
}

// cutResult removes entries of the lists in a result. The filtered list is not cacheable for other
// callers: clients cache lists by server, not by token.
func (x *request) cutResult(result json.RawMessage) (out json.RawMessage, changed bool, err error) {
	if len(result) == 0 || result[0] != '{' {
		return result, false, nil
	}
	members, err := message.Members(result)
	if err != nil {
		return nil, false, err
	}
	if err := message.Exact(members, "tools", "prompts", "resources", "resourceTemplates"); err != nil {
		return nil, false, err
	}
	for i, m := range members {
		for _, l := range lists {
			if string(m.Name) != l.member {
				continue
			}
			if members[i].Value, err = x.cutList(m.Value, l.kind, l.name); err != nil {
				return nil, false, err
			}
			changed = true
		}
	}
	if !changed {
		return result, false, nil
	}
	for i, m := range members {
		switch string(m.Name) {
		case "cacheScope":
			members[i].Value = json.RawMessage(`"private"`)
		case "ttlMs":
			members[i].Value = json.RawMessage(`0`)
		}
	}
	return message.Object(members), true, nil
}

func (x *request) cutList(list json.RawMessage, kind, name string) (json.RawMessage, error) {
	elements, err := message.Elements(list)
	if err != nil {
		return nil, err
	}
	if kind == KindTool && x.table.view != nil {
		if elements, err = x.table.view.Tools(x.v.caller, elements); err != nil {
			return nil, err
		}
	}
	b := []byte{'['}
	for _, e := range elements {
		called, ok := entryName(e, name)
		if !ok {
			x.logUnreadable(e)
			continue
		}
		if !x.visible(kind, called) {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, e...)
	}
	return append(b, ']'), nil
}

// entryName returns the name of a list entry; ok is false if clients could read it differently.
func entryName(entry json.RawMessage, member string) (called string, ok bool) {
	members, err := message.Members(entry)
	if err != nil || message.Exact(members, member) != nil {
		return "", false
	}
	for _, m := range members {
		if string(m.Name) == member && strictjson.Unmarshal(m.Value, &called) != nil {
			return "", false
		}
	}
	return called, true
}

// maxUnread limits the entries that are remembered as logged.
const maxUnread = 1000

// logUnreadable logs each list entry that is left out because it is unreadable, once.
func (x *request) logUnreadable(entries ...json.RawMessage) {
	for _, e := range entries {
		if !x.unread.first(message.NameOf(e)) {
			continue
		}
		x.guard.config.Log.Warn("an unreadable list entry is left out", "resource",
			x.guard.config.Resource, "method", x.m.Method, "name", message.NameOf(e))
	}
}

// reported remembers what was logged. It is safe for concurrent use.
type reported struct {
	mu   sync.Mutex
	seen map[string]bool
}

// first reports whether what is new, and remembers it. When the memory is full, nothing is new.
func (r *reported) first(what string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[what] || len(r.seen) >= maxUnread {
		return false
	}
	if r.seen == nil {
		r.seen = map[string]bool{}
	}
	r.seen[what] = true
	return true
}
