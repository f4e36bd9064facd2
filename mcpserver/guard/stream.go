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

// streams are the open streams of a Handler. The zero value is empty and ready to use. It is safe
// for concurrent use.
type streams struct {
	mu   sync.Mutex
	open map[string]map[*stream]struct{} // by grant
}

// stream is an open stream.
type stream struct {
	tenant, grant, session string
	// the list_changed event; nil: the client did not ask for it
	changed []byte
	due     chan struct{} // capacity 1: changed is to be sent
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
			default: // it is pending already
			}
		}
	}
}

// add adds a stream, unless its grant has too many.
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

// acquireStream reserves a stream for a request that may be answered without an end, before it is
// forwarded; if the grant has too many, it answers 429. Streams that answer a call are counted, but
// never refused: the call has run by then.
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

// streamWait is the Retry-After for a grant with too many streams.
const streamWait = 5 * time.Second

func (x *request) newStream() {
	x.held = &stream{tenant: x.v.caller.TenantID, grant: x.v.caller.GrantID, due: make(chan struct{}, 1)}
}

// openStream is called when the response is a stream, and prepares its list_changed event.
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
		x.w.waits = true // the server must acknowledge the subscription first
		x.streams.begin(x.held, "",
			[]byte(begin+`,"params":{"_meta":{"io.modelcontextprotocol/subscriptionId":`+string(x.m.ID)+`}}`+end))
	}
}

// begin sets the list_changed event of a stream.
func (s *streams) begin(o *stream, session string, changed []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.session, o.changed = session, changed
}

// wantsTools reports whether a subscription asks for list_changed events.
func wantsTools(body []byte) bool {
	for _, name := range []string{"params", "notifications"} {
		if body = message.Value(body, name); body == nil {
			return false
		}
	}
	return string(message.Value(body, "toolsListChanged")) == "true"
}

// closeStream removes the stream; the guard sends nothing after the server's last event.
func (x *request) closeStream() {
	if x.held != nil {
		x.streams.remove(x.held)
		x.w.cut()
	}
}

// watchStream sends the guard's events to a stream, and cuts it off when its token expires, its
// grant is revoked, or neither is known. A client that does not read delays neither.
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
	tick := time.NewTicker(watchInterval)
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

// Why a response is cut off.
const (
	cutAnonymous = "requests without a valid token are no longer allowed"
	cutRevoked   = "the grant of the access token is revoked"
	cutKey       = "the key that signed the access token was withdrawn"
	cutUnknown   = "whether the grant of the access token is revoked is not known now"
	cutExpired   = "the access token has expired; open the stream again with a new one"
	cutTimeout   = "the call took longer than call_timeout"
)

// cutReason returns why the response must end now, or "". The response to a call does not end with
// its token.
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
	revoked, withdrawn, err := x.guard.revoked(ctx, x.v)
	switch {
	case revoked:
		return cutRevoked
	case withdrawn:
		return cutKey
	case ctx.Err() != nil: // the request has ended by itself
		return ""
	case err != nil:
		return cutUnknown
	case !answers && now.Unix() >= x.v.expires+int64(Leeway/time.Second):
		return cutExpired
	}
	return ""
}
