package guard

import (
	"context"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/limit"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// streams are the open streams of a Handler. The zero value has none. It is safe for concurrent
// use.
type streams struct {
	mu   sync.Mutex
	open map[string]map[*stream]struct{} // by grant
}

// stream is one of them.
type stream struct {
	tenant, grant, session string
	// the event that says that the list of tools is another; nil: the client did not ask to be told
	changed []byte
	due     chan struct{} // that is to be said; it has room for one
}

// ToolsChanged sends notifications/tools/list_changed to the clients of those tenants for which
// changed returns true: on the stream that an older client opened with GET, one for each session
// (MCP 2025-11-25, "Listening for Messages from the Server"), and on the subscriptions of newer
// clients that asked for it (MCP 2026-07-28, "Subscriptions"). Call it after the tables of a tenant
// changed. It does not wait for the clients.
func (h *Handler) ToolsChanged(changed func(tenantID string) bool) { h.streams.toolsChanged(changed) }

func (s *streams) toolsChanged(which func(tenantID string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tenants, sessions := map[string]bool{}, map[string]bool{}
	for _, of := range s.open {
		for o := range of {
			told, known := tenants[o.tenant]
			if !known {
				told = which(o.tenant)
				tenants[o.tenant] = told
			}
			if !told || o.changed == nil || o.session != "" && sessions[o.session] {
				continue
			}
			sessions[o.session] = true
			select {
			case o.due <- struct{}{}:
			default: // it is about to be told
			}
		}
	}
}

// add counts a stream, unless its grant has as many as it may.
func (s *streams) add(o *stream, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open[o.grant]) >= most {
		return false
	}
	if s.open == nil {
		s.open = map[string]map[*stream]struct{}{}
	}
	if s.open[o.grant] == nil {
		s.open[o.grant] = map[*stream]struct{}{}
	}
	s.open[o.grant][o] = struct{}{}
	return true
}

func (s *streams) remove(o *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if delete(s.open[o.grant], o); len(s.open[o.grant]) == 0 {
		delete(s.open, o.grant)
	}
}

// place takes the place of a stream that may go on for ever, before the server is asked for it,
// unless its grant has as many as it may. What answers a call ends with that: it has a place, too,
// and none is refused it after it ran.
func (x *request) acquireStream() bool {
	if !message.Lasts(x.r, &x.m) {
		return true
	}
	if x.newStream(); !x.streams.add(x.held, x.policy.MaxStreams) {
		x.held, x.record.Refused, x.record.Passed = nil, RefusedLimit, false
		limit.TooMany(x.w, x.r, streamWait)
		return false
	}
	return true
}

// streamWait is when somebody who has too many streams may ask again.
const streamWait = 5 * time.Second

func (x *request) newStream() {
	x.held = &stream{tenant: x.v.caller.TenantID, grant: x.v.caller.GrantID, due: make(chan struct{}, 1)}
}

// open is called when the server answers with a stream: what it is told is known now.
func (x *request) openStream() {
	if x.held == nil {
		x.newStream()
		x.streams.add(x.held, math.MaxInt)
	}
	const begin, end = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"",
		"}\n\n"
	switch {
	case x.w.status != http.StatusOK:
	case x.r.Method == http.MethodGet:
		x.streams.begin(x.held, x.r.Header.Get(sessionHeader), []byte(begin+end))
	case x.m.Method == "subscriptions/listen" && wantsTools(x.record.Message):
		x.w.waits = true // the server acknowledges first
		x.streams.begin(x.held, "",
			[]byte(begin+`,"params":{"_meta":{"io.modelcontextprotocol/subscriptionId":`+string(x.m.ID)+`}}`+end))
	}
}

// begin says what a stream is told when the list of tools has changed.
func (s *streams) begin(o *stream, session string, changed []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.session, o.changed = session, changed
}

// wantsTools says whether a subscription asks to be told of changed tools: nothing is told that was
// not asked for.
func wantsTools(body []byte) bool {
	for _, name := range []string{"params", "notifications"} {
		if body = message.Value(body, name); body == nil {
			return false
		}
	}
	return string(message.Value(body, "toolsListChanged")) == "true"
}

// close lets go of a stream: nothing of the guard's own comes after the server's last word.
func (x *request) closeStream() {
	if x.held != nil {
		x.streams.remove(x.held)
		x.w.cut()
	}
}

// watch tells a stream what there is to tell, and ends it when its token is over or its grant has
// ended, or when nobody can say. A client that does not read holds up neither: what is told waits
// beside, and what waits to be written is broken off.
func (x *request) watchStream(ctx context.Context, cancel context.CancelFunc) {
	go func() {
		silent := time.NewTimer(max(x.policy.KeepAlive, 0))
		defer silent.Stop()
		if x.policy.KeepAlive <= 0 {
			silent.Stop()
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-x.held.due:
				x.w.insert(x.held.changed)
			case <-silent.C:
				silent.Reset(x.w.keepAlive(x.policy.KeepAlive))
			}
		}
	}()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if why := x.cutReason(ctx); why != "" {
				x.w.note(why)
				x.w.end(why)
				cancel()
				return
			}
		}
	}
}

// Why an answer is cut that has begun.
const (
	cutAnonymous = "requests without a good token are not let pass any more"
	cutRevoked   = "the permission behind the access token has ended"
	cutKey       = "the key that signed the access token was withdrawn"
	cutUnknown   = "whether the permission behind the access token has ended is not known now"
	cutExpired   = "the access token has expired; open the stream again with a new one"
	cutTimeout   = "the call took longer than call_timeout"
)

// over says why an answer has to end now, or "". One of nobody's does when nobody may pass any
// more. The answer to a call that was admitted does not end with its token.
func (x *request) cutReason(ctx context.Context) string {
	answers := x.r.Method == http.MethodPost && !message.Lasts(x.r, &x.m)
	now := x.guard.config.Now()
	if answers && now.Sub(x.began) >= x.policy.CallTimeout {
		return cutTimeout
	}
	if x.v.caller.GrantID == "" {
		if x.allowsAnonymous() {
			return ""
		}
		return cutAnonymous
	}
	ended, withdrawn, err := x.guard.revoked(ctx, x.v)
	switch {
	case ended:
		return cutRevoked
	case withdrawn:
		return cutKey
	case ctx.Err() != nil: // the request is over by itself
		return ""
	case err != nil:
		return cutUnknown
	case !answers && now.Unix() >= x.v.expires+int64(Leeway/time.Second):
		return cutExpired
	}
	return ""
}
