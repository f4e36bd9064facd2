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

// Policy is what Enforce goes by.
type Policy struct {
	// Tables finds the rules of a tenant; they may be others from one request to the next.
	// Required. See Always.
	Tables func(tenantID string) *Table
	// Rollout says how strictly the rules count. Nil: they count.
	Rollout Rollout
	// AllowAnonymous lets requests without a good token pass, as nobody, where the mode for nobody
	// is Observe. A token that is shown and not good acts as nobody at most, never as a tenant; one
	// in the URL is taken out of it.
	AllowAnonymous bool
	// Admit may answer a request itself before its message is read, as a limit does: then it
	// returns false, and that is all. The caller is zero for nobody. Nil: every request is let on.
	Admit func(w http.ResponseWriter, r *http.Request, c mcp.Caller) bool
	// Record is told every decision, when the request is over. It must not block. Nil: nobody is.
	Record func(Record)
	// Begin is told of a call of a tool that changes something, or that no rule names, after the
	// rules have let it pass and before it goes on. It returns when that is recorded; on an error
	// the call goes no further and is answered 503.
	// Nil: it is not told.
	Begin func(context.Context, *Record) error
	// SessionKey binds sessions of older clients to their grant and tenant: 32 characters at least,
	// the same at each replica. Default: made at the start, which is right for one process.
	SessionKey config.Secret
	// ArgumentsKey names the arguments of a tool's call in its Record and in the request's log
	// event, by a keyed hash: who has the log alone can tell that a tenant's calls of a tool had
	// the same arguments, as they were written, and nothing of what those were. 32 characters at
	// least. Default: the log says nothing of them, and the key of Records is made at the start.
	ArgumentsKey config.Secret
	// PassToken lets next see the access token and its proof. Default: it does not, so that it
	// cannot send them on (MCP, "Token Passthrough"); it knows the caller. A server that exchanges
	// the token for one of another server's (RFC 8693) needs it.
	PassToken bool
	// MaxBody bounds a message, in bytes. Default 1 MiB.
	MaxBody int64
	// MaxAnswer bounds what is held back of an answer, in bytes: a list that is cut down, or one
	// event of a stream. Default 8 MiB.
	MaxAnswer int64
	// CallTimeout bounds the answer to a message that was admitted: its token may expire meanwhile,
	// and it is still cut when its permission ends. Streams that answer no call, and subscriptions,
	// end with their token. Default 1 hour.
	CallTimeout time.Duration
	// KeepAlive is how long a stream may be silent until its client gets a comment, so that nothing
	// on the way closes it (HTML, "Authoring notes" of server-sent events). Default 20 seconds;
	// negative: it gets none.
	KeepAlive time.Duration
	// MaxStreams bounds the streams that one grant holds open at once: those that go on until
	// somebody ends them, not the answers to calls. Default 16.
	MaxStreams int
}

// Always makes rules that are the same for every tenant.
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
	watchEvery         = 2 * time.Second // so long may a stream go on whose grant has ended
	minPolicyKey       = 32
)

// Enforce puts the guard in front of anybody's MCP server over Streamable HTTP. Each message is
// read once, and what was read is what next gets, byte for byte; it finds the caller with CallerOf.
// Lists that next answers with are cut down to what is open to the caller, in JSON and in streams.
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
		return nil, errors.New("the policy has no rules")
	}
	for name, key := range map[string]config.Secret{"session": p.SessionKey, "arguments": p.ArgumentsKey} {
		if n := len(key.Reveal()); n > 0 && n < minPolicyKey {
			return nil, fmt.Errorf("the %s key is shorter than %d characters; make one with: head -c 32 /dev/urandom "+
				"| base64", name, minPolicyKey)
		}
	}
	if p.SessionKey == "" {
		p.SessionKey = config.Secret(rand.Text() + rand.Text())
	}
	// One key may serve several guards: a name of one is no name of another.
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

// Handler is a server behind the guard, as Enforce and Serve return it.
type Handler struct {
	policy Policy
	guard  *Guard
	next   http.Handler
	own    Server // in place of next

	arguments []byte // the key of their hashes; empty: there are none
	streams   streams

	unread reported // entries of lists that cannot be read
}

// passage is one request on its way through.
type request struct {
	*Handler
	w      *responseFilter
	r      *http.Request
	v      verified     // zero: nobody
	bad    *oauth.Error // why nobody
	proof  *dpop.Proof  // that was believed and is not used up; nil: the token needs none
	table  *Table
	held   *stream // its place among the open ones; nil: it has none
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
		// before the proof is used up: a request over its grant's limit may come again with it
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

// session puts the server's own name of a session in its place; another caller's is answered as if
// it were not there. A request of 2026-07-28 has none, whatever it says.
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
		message.Invalid("there is no such session of yours; initialize anew"))
	return false
}

// identify finds the caller, or says what to answer.
func (x *request) authenticate() *oauth.Error {
	shown, refused := present(x.r)
	if refused != nil {
		if refused != errNoToken { // without any, a client learns where to begin
			x.record.Denial = &Denial{Reason: DenyHeader,
				Sentence: "Somebody showed a token in another way than once, in the Authorization header, as Bearer " +
					"or DPoP: the client's makers must mend that."}
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

// admit says whether the caller is within their limits; if not, the answer has been given.
func (x *request) admit() bool {
	x.record.Caller, x.table = x.v.caller, x.policy.Tables(x.v.caller.TenantID)
	if x.policy.Admit != nil && !x.policy.Admit(x.w, x.r, x.v.caller) {
		x.record.Refused = RefusedLimit
		return false
	}
	return true
}

// anonymous says whether a request without a good token may pass, as nobody.
func (x *request) allowsAnonymous() bool {
	return x.policy.AllowAnonymous && x.policy.Rollout != nil && x.policy.Rollout.Mode("", "") == Observe
}

// fault answers a request that is no message that could be decided on.
func (x *request) rejectMessage(status int, f *message.Fault) {
	x.record.Refused = RefusedMessage
	httpd.Note(x.r.Context(), "refused", f.Message)
	switch {
	case status != http.StatusMethodNotAllowed:
	case x.own != nil:
		x.w.Header().Set("Allow", "POST") // neither a stream nor a session to delete
	default:
		x.w.Header().Set("Allow", "POST, GET, DELETE")
	}
	message.Refuse(x.w, status, x.m.ID, f)
}

// post decides on a message, and lets it pass or answers it.
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

// deny answers what the rules do not open: by a challenge for all that it needs and what the caller
// has; or, where nobody is to learn of it, as if it were not there.
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

// stream passes what is no message: the stream of an older client, and the end of its session. Both
// need a session, or are not there.
func (x *request) serveStream() {
	if (x.r.Method != http.MethodGet && x.r.Method != http.MethodDelete) || len(x.r.Header[sessionHeader]) == 0 {
		x.rejectMessage(http.StatusMethodNotAllowed,
			message.Invalid("this endpoint takes POST; GET and DELETE only with a session"))
		return
	}
	x.record.Passed = true
	x.forward(nil)
}

// known is the request's context with what next may know of it.
func (x *request) handlerContext() context.Context {
	return refusal.WithReason(context.WithValue(x.r.Context(), callerKey{}, x.v.caller), &x.record.Behind)
}

// pass lets the request through, with the message that it brought, and watches the answer. What
// goes on for long ends with the token and its grant.
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
	// what is compressed cannot be cut down, and no header at all allows every coding (RFC 9110
	// section 12.5.3)
	r.Header.Set("Accept-Encoding", "identity")
	// a part of a stream could begin within a line, and say what the whole line is cut down to
	r.Header.Del("Range")
	r.Header.Del("If-Range")
	if !x.policy.PassToken {
		r.Header.Del("Authorization")
		r.Header.Del(dpop.Header)
	}
	r = withoutToken(r)
	next := x.next
	if x.table != nil && x.table.handler != nil {
		next = x.table.handler
	}
	next.ServeHTTP(x.w, r)
	x.w.finish()
}

// answer is called when the answer's head is known: its session is named anew, lists are cut down,
// and a stream is watched.
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
	} else if x.guard.config.Now().Sub(x.began) >= watchEvery { // much can have ended meanwhile
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
			f = &message.Whole{Cut: x.singleMessage, Most: x.policy.MaxAnswer} // so that a bomb is no half an answer
		}
		undone, known := message.Undo(ctx, coding, f)
		if !known || several {
			cancel()
			const why = "the server compresses what was not asked for compressed"
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

// ofTheBody are the headers that say something of a body which is another when it is cut down, or
// its coding undone (RFC 9110 section 8, RFC 9530, RFC 3230).
var ofTheBody = [...]string{"Content-Length", "ETag", "Accept-Ranges", "Content-Md5", "Digest", "Content-Digest",
	"Repr-Digest"}

// codingOf is the coding of an answer, or one of several, in however many headers they stand (RFC
// 9110 section 8.4); empty: it has none.
func codingOf(h http.Header) (coding string, several bool) {
	for c := range strings.SplitSeq(strings.Join(h["Content-Encoding"], ","), ",") {
		if c = strings.TrimSpace(c); c == "" || strings.EqualFold(c, "identity") {
			continue
		}
		coding, several = c, coding != ""
	}
	return coding, several
}

// one is a message as it is; several are none.
func (x *request) singleMessage(raw []byte) (out []byte, drop bool) {
	x.w.look(raw)
	return raw, bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n\ufeff"), []byte("["))
}
