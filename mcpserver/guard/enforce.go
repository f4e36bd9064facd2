package guard

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/refusal"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// Policy configures Enforce and Serve. Tables is required.
type Policy struct {
	// Tables returns the rules of a tenant. It is called once for each request and may return
	// another table each time. Required. See Always.
	Tables func(tenantID string) *Table
	// Rollout says whether denials are enforced. Nil: they are.
	Rollout Rollout
	// AllowAnonymous allows requests without a valid token as anonymous, where the mode for
	// anonymous requests is Observe. An invalid token makes a request anonymous at most; one in the
	// URL is removed.
	AllowAnonymous bool
	// Admit may answer a request itself before its message is read, as a rate limit does, and then
	// returns false. The caller of an anonymous request is zero. Nil: every request is admitted.
	Admit func(w http.ResponseWriter, r *http.Request, c mcp.Caller) bool
	// Record gets each decision when the request is done. It must not block. May be nil.
	Record func(Record)
	// Begin is called for a tool call that writes, or that no rule names, after the rules allowed
	// it and before it is forwarded. It returns when the call is recorded; if it returns an error,
	// the call is not forwarded and is answered 503. May be nil.
	Begin func(context.Context, *Record) error
	// SessionKey is the key that binds the sessions of older clients to their grant and tenant: at
	// least 32 characters, the same for all replicas. Default: a random key, which is right for one
	// process.
	SessionKey config.Secret
	// ArgumentsKey is the key of the hash that stands for a call's arguments in its Record and in
	// the log: at least 32 characters. Who has the log alone can see that two calls of a tenant had
	// the same arguments, as they were written, and nothing else of them. Default: the log has no
	// hash, and the key for Records is random.
	ArgumentsKey config.Secret
	// PassToken forwards the access token and its proof. Default: they are removed, so that the
	// handler cannot pass them on (MCP, "Token Passthrough"). A server that exchanges the token for
	// another (RFC 8693) needs it.
	PassToken bool
	// MaxBody is the size limit of a message, in bytes. Default 1 MiB.
	MaxBody int64
	// MaxAnswer is the size limit of what is buffered of a response, in bytes: a list that is
	// filtered, or one event of a stream. Default 8 MiB.
	MaxAnswer int64
	// CallTimeout is the time limit of the response to a request. Its token may expire meanwhile;
	// the response is still cut off when the grant is revoked. Streams that answer no request, and
	// subscriptions, end with their token. Default 1 hour.
	CallTimeout time.Duration
	// KeepAlive is how long a stream may be silent before the client gets a comment, so that no
	// proxy closes it (HTML, server-sent events, "Authoring notes"). Default 20 seconds; negative:
	// none.
	KeepAlive time.Duration
	// MaxStreams limits the streams without an end that one grant may have open. Default 16.
	MaxStreams int
}

// Always returns a Policy.Tables with the same rules for every tenant.
func Always(r Rules) (func(string) *Table, error) {
	t, err := r.Compile()
	if err != nil {
		return nil, err
	}
	return func(string) *Table { return t }, nil
}

const (
	defaultMaxBody     = 1 << 20
	defaultMaxStreams  = 16
	defaultCallTimeout = time.Hour
	defaultKeepAlive   = 20 * time.Second
	watchInterval      = 2 * time.Second // how long a stream may continue after a revocation
	minPolicyKey       = 32
)

// Enforce protects an MCP server with Streamable HTTP. Each message is parsed once, and next gets
// the bytes that were parsed; it gets its caller from CallerOf. Lists in the responses are filtered
// to what the caller may use, in JSON and in streams.
func (g *Guard) Enforce(next http.Handler, p Policy) (*Handler, error) {
	e, err := g.enforcer(p)
	if err != nil {
		return nil, err
	}
	e.next = next
	return e, nil
}

func (g *Guard) enforcer(p Policy) (*Handler, error) {
	if p.Tables == nil {
		return nil, errors.New("policy: tables are required")
	}
	for name, key := range map[string]config.Secret{"session": p.SessionKey, "arguments": p.ArgumentsKey} {
		if n := len(key.Reveal()); n > 0 && n < minPolicyKey {
			return nil, fmt.Errorf("policy: the %s key is shorter than %d characters; make one with: head -c 32 "+
				"/dev/urandom | base64", name, minPolicyKey)
		}
	}
	if p.SessionKey == "" {
		p.SessionKey = config.Secret(rand.Text() + rand.Text())
	}
	// Guards may share a key: a session id of one is not valid for another.
	mac := hmac.New(sha256.New, []byte(p.SessionKey.Reveal()))
	mac.Write([]byte(g.config.Resource))
	p.SessionKey = config.Secret(mac.Sum(nil))
	if p.MaxBody == 0 {
		p.MaxBody = defaultMaxBody
	}
	if p.MaxStreams == 0 {
		p.MaxStreams = defaultMaxStreams
	}
	if p.CallTimeout <= 0 {
		p.CallTimeout = defaultCallTimeout
	}
	if p.KeepAlive == 0 {
		p.KeepAlive = defaultKeepAlive
	}
	e := &Handler{guard: g, policy: p, arguments: []byte(p.ArgumentsKey.Reveal())}
	if len(e.arguments) == 0 && (p.Record != nil || p.Begin != nil) {
		e.arguments = []byte(rand.Text() + rand.Text())
	}
	return e, nil
}

// Handler is a protected server, as Enforce and Serve return it.
type Handler struct {
	policy Policy
	guard  *Guard
	next   http.Handler
	own    Server // instead of next

	arguments []byte // key of the hash of arguments; empty: no hash
	streams   streams

	unread reported // unreadable list entries
}

// request is one request that the guard handles.
type request struct {
	*Handler
	w      *responseFilter
	r      *http.Request
	v      verified     // zero: anonymous
	bad    *oauth.Error // why the request is not authenticated
	proof  *dpop.Proof  // verified and not yet consumed; nil: the token is not bound
	table  *Table
	held   *stream // nil: it needs none
	began  time.Time
	m      message.Message
	record Record
}

// ServeHTTP implements http.Handler.
func (e *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &request{Handler: e, w: &responseFilter{ResponseWriter: w}, r: r,
		record: Record{At: e.guard.config.Now(), Method: r.Method, Mode: Enforce}}
	x.began = x.record.At
	defer x.report(time.Now())
	if refused := e.guard.checkSource(r); refused != nil {
		x.record.Refused, x.record.Denial = RefusedSource, e.guard.wrongSource(r)
		x.record.Agent = agentOf(r)
		refuse(x.w, r, refused)
		return
	}
	x.serve()
}

func (x *request) serve() {
	refused := x.authenticate()
	admitted := false
	if refused == nil && x.proof != nil {
		// before the proof is consumed: a request over the limit may be repeated with the same
		// proof
		if !x.admit() {
			return
		}
		var why error
		if refused, why = x.guard.consumeProof(x.r.Context(), x.v.caller.GrantID, x.proof); refused != nil &&
			why != nil {
			x.record.Denial = invalidProof(why, x.v.caller.ClientID, x.v.caller.TenantID)
		}
		if admitted = refused == nil; !admitted {
			x.v, x.record.Caller, x.table = verified{}, mcp.Caller{}, nil
		}
	}
	if refused != nil {
		x.bad, x.record.Refused, x.record.Agent = refused, cmp.Or(refused.Code, RefusedNoToken), agentOf(x.r)
		x.record.Address = httpd.ClientAddr(x.r.Context()).String()
		if !x.allowsAnonymous() {
			x.guard.challenge(x.w, x.r, refused)
			return
		}
	}
	if !admitted && !x.admit() {
		return
	}
	h := x.w.Header()
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Authorization")
	if x.own == nil && x.r.Method != http.MethodPost {
		if x.checkSession() {
			x.serveStream()
		}
		return
	}
	body, bad := message.Read(x.w, x.r, x.policy.MaxBody)
	if bad != nil {
		x.rejectMessage(bad.Status, message.Invalid(bad.Message))
		return
	}
	var f *message.Fault
	if x.m, f = message.Parse(body); f == nil && !x.m.Answer {
		f = message.CheckEra(&x.m, x.r.Header)
	}
	if f != nil {
		x.rejectMessage(message.Status(&x.m, f, message.IsModern(&x.m, x.r.Header)), f)
		return
	}
	if x.own == nil && !x.checkSession() {
		return
	}
	x.record.Message = body
	x.servePost(body)
}

// checkSession replaces the client's session id with the server's. A session of another caller is
// answered as if it did not exist. Requests of MCP 2026-07-28 have no session.
func (x *request) checkSession() bool {
	if x.r.Method == http.MethodPost && !x.m.Answer && message.IsModern(&x.m, x.r.Header) {
		x.r.Header.Del(sessionHeader)
		return true
	}
	if x.policy.sessionIn(x.r, x.v.caller) {
		return true
	}
	x.record.Refused = RefusedSession
	message.Refuse(x.w, http.StatusNotFound, x.m.ID,
		message.Invalid("there is no such session; initialize a new one"))
	return false
}

// authenticate sets the caller, or returns the error to answer.
func (x *request) authenticate() *oauth.Error {
	shown, refused := present(x.r)
	if refused != nil {
		if refused != errNoToken { // without a token, the challenge tells the client where to start
			x.record.Denial = &Denial{Reason: DenyHeader,
				Sentence: "A client did not present exactly one access token in the Authorization header, as " +
					"Bearer or DPoP: its developers must fix that."}
		}
		return refused
	}
	v, refused := x.guard.authenticate(x.r.Context(), shown.raw)
	if refused != nil {
		x.record.Denial = v.why
		return refused
	}
	proof, nonce, refused, why := x.guard.verifyProof(x.r, shown, v.jkt)
	if nonce != "" {
		x.w.Header().Set("DPoP-Nonce", nonce)
	}
	if refused != nil {
		if why != nil {
			x.record.Denial = invalidProof(why, v.caller.ClientID, v.caller.TenantID)
		}
		return refused
	}
	x.v, x.proof = v, proof
	httpd.Note(x.r.Context(), "tenant", v.caller.TenantID)
	httpd.Note(x.r.Context(), "client", v.caller.ClientID)
	return nil
}

// admit reports whether Policy.Admit allows the request; if not, it was answered.
func (x *request) admit() bool {
	x.record.Caller, x.table = x.v.caller, x.policy.Tables(x.v.caller.TenantID)
	if x.policy.Admit != nil && !x.policy.Admit(x.w, x.r, x.v.caller) {
		x.record.Refused = RefusedLimit
		return false
	}
	return true
}

// allowsAnonymous reports whether requests without a valid token are allowed.
func (x *request) allowsAnonymous() bool {
	return x.policy.AllowAnonymous && x.policy.Rollout != nil && x.policy.Rollout.Mode("", "") == Observe
}

// rejectMessage answers a request whose message cannot be decided on.
func (x *request) rejectMessage(status int, f *message.Fault) {
	x.record.Refused = RefusedMessage
	httpd.Note(x.r.Context(), "refused", f.Message)
	switch {
	case status != http.StatusMethodNotAllowed:
	case x.own != nil:
		x.w.Header().Set("Allow", "POST") // there is neither a stream nor a session
	default:
		x.w.Header().Set("Allow", "POST, GET, DELETE")
	}
	message.Refuse(x.w, status, x.m.ID, f)
}

// servePost decides on a message, and forwards or answers it.
func (x *request) servePost(body []byte) {
	d := x.table.decide(x.v.caller, &x.m)
	x.record.Method, x.record.Decision = x.m.Method, d
	httpd.Note(x.r.Context(), "mcp", x.m.Method)
	if d.Kind == KindTool {
		if d.Rule != "" {
			httpd.Note(x.r.Context(), "tool", d.Name)
		}
		x.hashArguments()
	}
	if x.policy.Rollout != nil {
		x.record.Mode = x.policy.Rollout.Mode(x.v.caller.TenantID, d.Name)
	}
	if !d.Allowed {
		x.record.Refused = cmp.Or(x.record.Refused, refusedCode(d))
		if x.record.Mode.Enforces(d.Write) {
			x.deny(d)
			return
		}
		httpd.Note(x.r.Context(), "observed", x.record.Refused)
	}
	if d.Kind == KindTool && d.Write && !x.recordBegin() {
		return
	}
	x.record.Passed = true
	if d.Kind == KindTool && x.policy.Record != nil {
		x.w.failure = &message.Failure{}
	}
	if x.own != nil {
		x.own.ServeMessage(x.w, x.r, &x.m, mcp.View{Caller: x.v.caller, Open: x.openTool})
		return
	}
	x.forward(body)
}

// deny answers a denied request: with a challenge for the scopes that it needs and those that the
// caller has, or as if the tool did not exist.
func (x *request) deny(d Decision) {
	if x.bad != nil {
		x.guard.challenge(x.w, x.r, x.bad)
		return
	}
	if !d.Hidden {
		x.guard.Challenge(x.w, x.r, append(slices.Clone(x.v.caller.Scopes), d.Scopes...))
		return
	}
	f := message.BadParams("unknown " + d.Kind + ": see the list")
	if !x.table.offers(d.Kind) {
		f = &message.Fault{Code: message.CodeNoMethod, Message: "there is no such method here"}
	}
	httpd.Note(x.r.Context(), "refused", f.Message)
	message.Refuse(x.w, message.Status(&x.m, f, message.IsModern(&x.m, x.r.Header)), x.m.ID, f)
}

// serveStream forwards a GET, which opens the stream of an older client, or a DELETE, which ends
// its session. Both need a session.
func (x *request) serveStream() {
	if (x.r.Method != http.MethodGet && x.r.Method != http.MethodDelete) || len(x.r.Header[sessionHeader]) == 0 {
		x.rejectMessage(http.StatusMethodNotAllowed,
			message.Invalid("this endpoint takes POST; GET and DELETE only with a session"))
		return
	}
	x.record.Passed = true
	x.forward(nil)
}

// handlerContext returns the context of the request for next.
func (x *request) handlerContext() context.Context {
	return refusal.WithReason(context.WithValue(x.r.Context(), callerKey{}, x.v.caller), &x.record.Behind)
}

// forward forwards the request and filters the response.
func (x *request) forward(body []byte) {
	ctx, cancel := context.WithCancel(x.handlerContext())
	defer cancel()
	x.w.id, x.w.begin = x.m.ID, func() { x.writeHeader(ctx, cancel) }
	x.w.note = func(why string) { httpd.Note(x.r.Context(), "cut", why) }
	defer x.closeStream()
	if !x.acquireStream() {
		return
	}
	r := x.r.WithContext(ctx)
	if body != nil {
		message.SetBody(r, body, &x.m)
	}
	r.Header = maps.Clone(r.Header)
	// a compressed response cannot be filtered, and no header at all allows every coding (RFC 9110
	// section 12.5.3)
	r.Header.Set("Accept-Encoding", "identity")
	// a range of a stream could begin within a line and so hide what must be filtered
	r.Header.Del("Range")
	r.Header.Del("If-Range")
	if !x.policy.PassToken {
		r.Header.Del("Authorization")
		r.Header.Del(dpop.Header)
	}
	r = withoutToken(r)
	x.resume(r)
	next := x.next
	if x.table != nil && x.table.view != nil {
		next = x.table.view
	}
	next.ServeHTTP(x.w, r)
	x.w.finish()
}

// writeHeader is called before the header of the response is sent: it binds the session id to the
// caller, and chooses the filter.
func (x *request) writeHeader(ctx context.Context, cancel context.CancelFunc) {
	h := x.w.Header()
	h.Set("Cache-Control", "no-store")
	if id := h.Get(sessionHeader); id != "" {
		h.Set(sessionHeader, x.policy.sessionOut(x.v.caller, id))
	}
	streaming := isStream(h)
	if streaming {
		x.w.stream = true
		x.openStream()
		h.Set("X-Accel-Buffering", "no")
		go x.watchStream(ctx, cancel)
	} else if x.guard.config.Now().Sub(x.began) >= watchInterval { // the grant may have been revoked meanwhile
		if why := x.cutReason(ctx); why == cutRevoked || why == cutKey {
			cancel()
			x.w.note(why)
			h.Del("Content-Encoding")
			x.w.replace(http.StatusForbidden,
				message.ErrorTo(x.m.ID, &message.Fault{Code: message.CodeInternal, Message: why}))
			return
		}
	}
	f := x.filter(streaming)
	if f == nil {
		return
	}
	if coding, several := codingOf(h); coding != "" {
		h.Del("Content-Encoding")
		if _, asItIs := f.(*message.One); asItIs {
			// so that a decompression bomb does not become half a response
			f = &message.Whole{Cut: x.singleMessage, Most: x.policy.MaxAnswer}
		}
		undone, known := message.Undo(ctx, coding, f)
		if !known || several {
			cancel()
			const why = "the server sent an unsupported content coding"
			x.w.note(why)
			x.w.replace(http.StatusBadGateway,
				message.ErrorTo(x.m.ID, &message.Fault{Code: message.CodeInternal, Message: why}))
			return
		}
		f = undone
	}
	if _, asItIs := f.(*message.One); !asItIs {
		for _, name := range ofTheBody {
			h.Del(name)
		}
	}
	x.w.through = f
}

// ofTheBody are the header fields that describe the body, which is another when it is filtered or
// decoded (RFC 9110 section 8, RFC 9530, RFC 3230).
var ofTheBody = [...]string{"Content-Length", "ETag", "Accept-Ranges", "Content-Md5", "Digest", "Content-Digest",
	"Repr-Digest"}

// codingOf returns the content coding of a response, or one of several (RFC 9110 section 8.4);
// empty: it has none.
func codingOf(h http.Header) (coding string, several bool) {
	for c := range strings.SplitSeq(strings.Join(h["Content-Encoding"], ","), ",") {
		if c = strings.TrimSpace(c); c == "" || strings.EqualFold(c, "identity") {
			continue
		}
		coding, several = c, coding != ""
	}
	return coding, several
}

// singleMessage is the filter of a response that is one message; a batch is dropped.
func (x *request) singleMessage(raw []byte) (out []byte, drop bool) {
	x.w.look(raw)
	return raw, bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n\ufeff"), []byte("["))
}
