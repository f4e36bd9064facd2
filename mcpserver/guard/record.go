package guard

import (
	"cmp"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// Record is one decision, with what became of it.
type Record struct {
	At       time.Time
	Caller   mcp.Caller // zero: nobody
	Agent    string     // what nobody's program calls itself; empty for a caller
	Method   string     // of MCP, or of HTTP for a stream
	Decision Decision   // the true one
	Mode     Mode       // that counted
	Passed   bool       // the effective decision
	Status   int        // of the answer
	Duration time.Duration
	// Refused is the error code that the true decision answers with, or one of ours; empty when it
	// lets the request pass.
	Refused string
	// Denial is what the operator is told of a refusal at the door. Nil: nothing, as of a first
	// request without a token.
	Denial *Denial
	// Address is where a request without a caller is from.
	Address string
	// CallID is made for each call that Policy.Begin is told of: its end has the same. Empty for
	// all others.
	CallID string
	// Arguments names the arguments of a tool's call by a keyed hash (see Policy.ArgumentsKey).
	// Empty: it had none.
	Arguments string
	// Failure is what the answer to a tool's call says of it, or that it was cut: "isError",
	// "error" with its code, "cut". Empty: nothing.
	Failure string
	// Behind is why the handler behind refused the call that passed the rules; see RefuseCall.
	// Empty: it did not.
	Behind string
	// Message is the body as it was read: not to be kept (arguments are people's data).
	Message []byte
}

// Why a request is refused, beside the error codes of RFC 6750.
const (
	RefusedSource  = "source"   // a Host or an Origin that is not allowed
	RefusedNoToken = "no_token" // none was shown
	RefusedHidden  = "hidden"   // answered as if it were not there
	RefusedSession = "session"  // it names a session that is not the caller's
	RefusedMessage = "invalid_message"
	RefusedLimit   = "limit" // Policy.Admit answered
	// RefusedUnrecorded says that Policy.Begin could not record a call that changes something.
	RefusedUnrecorded = "unrecorded"
)

func refusedCode(d Decision) string {
	if d.Hidden {
		return RefusedHidden
	}
	return "insufficient_scope"
}

// What became of a request.
const (
	OutcomeOK       = "ok"
	OutcomeFailed   = "failed"   // it passed, and the answer is an error, of HTTP, of JSON-RPC or of the tool
	OutcomeObserved = "observed" // it passed, because the rules do not count yet
	OutcomeRefused  = "refused"
)

// Outcome is what became of the request, in one word.
func (r *Record) Outcome() string {
	switch {
	case !r.Passed:
		return OutcomeRefused
	case r.Refused != "":
		return OutcomeObserved
	case r.Status >= http.StatusBadRequest, r.Failure != "":
		return OutcomeFailed
	}
	return OutcomeOK
}

// Other stands for what is not named: a name that strangers choose must not make a row or a series.
// No tenant, client or tool is called so.
const Other = "(other)"

// MethodLabel is the method, when it is one that this protocol has or a rule names.
func (r *Record) MethodLabel() string {
	switch m := r.Method; {
	case r.Decision.Kind == KindMethod && r.Decision.Rule != "":
		return r.Decision.Rule
	case r.Decision.Kind != "" && r.Decision.Kind != KindMethod:
		return m // the method is what made it that kind
	case m == http.MethodPost || m == http.MethodGet || m == http.MethodDelete:
		return m
	case strings.HasPrefix(m, "notifications/"):
		return "notifications"
	case isOpening(m):
		return m
	}
	return Other
}

// RuleLabel is the rule that decided on a tool, a prompt or a resource: of those there are only as
// many as the operator wrote.
func (r *Record) RuleLabel() string {
	switch {
	case r.Decision.Kind == "" || r.Decision.Kind == KindMethod:
		return ""
	case r.Decision.Rule == "":
		return Other
	}
	return r.Decision.Rule
}

// NameLabel is what was asked for. A resource is named by its rule, because its URI may hold
// people's data, and so is what does not look like a name.
func (r *Record) NameLabel() string {
	d := &r.Decision
	if d.Rule != "" && (d.Kind == KindTool || d.Kind == KindPrompt) && message.IsName(d.Name) {
		return d.Name
	}
	return r.RuleLabel()
}

// maxAgent bounds what is kept of a User-Agent, in bytes.
const maxAgent = 40

// agentOf is the first product that a User-Agent names (RFC 9110 §10.1.5), so that an operator can
// tell who comes without a token.
func agentOf(r *http.Request) string {
	product, _, _ := strings.Cut(r.UserAgent(), " ")
	product, _, _ = strings.Cut(product, "/")
	if len(product) > maxAgent || !message.IsName(product) {
		return ""
	}
	return product
}

// tell hands the record on when the request is over, also when its answer was broken off.
func (x *request) report(began time.Time) {
	if x.record.Refused != "" {
		x.logDenial()
		if x.record.Refused == "insufficient_scope" && !x.record.Passed {
			x.record.Denial = missingScopes(&x.record)
		}
		if x.record.Denial != nil {
			x.record.Denial.Resource = x.guard.config.Resource
		}
	}
	if x.policy.Record != nil {
		x.record.Status, x.record.Duration = x.w.status, time.Since(began)
		x.record.Failure = x.w.why()
		x.policy.Record(x.record)
	}
}

// note says in the request's log event who was refused what, or would have been.
func (x *request) logDenial() {
	ctx, r := x.r.Context(), &x.record
	if r.Caller.ClientID == "" {
		httpd.Note(ctx, "tenant", "-")
		httpd.Note(ctx, "client", "-")
	}
	if r.Decision.Kind != KindTool || r.Decision.Rule == "" {
		name := r.Decision.Name
		if r.Decision.Kind == KindResource {
			name = r.RuleLabel() // a URI may hold people's data
		}
		httpd.Note(ctx, "tool", cmp.Or(name, "-"))
	}
	httpd.Note(ctx, "decision", r.Outcome())
	httpd.Note(ctx, "mode", cmp.Or(string(r.Mode), string(Enforce)))
}
