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

// Record is a decision and the outcome of its request.
type Record struct {
	At       time.Time
	Caller   mcp.Caller // zero: anonymous
	Agent    string     // User-Agent of an anonymous request
	Method   string     // of MCP, or of HTTP for a stream
	Decision Decision   // of the rules, enforced or not
	Mode     Mode       // in effect
	Passed   bool       // the request was forwarded
	Status   int        // of the response
	Duration time.Duration
	// Refused is the error code of the denial, enforced or not, or one of the constants below.
	// Empty: the request is allowed.
	Refused string
	// Denial explains to the operator why a request was not authenticated or lacks a scope. Nil for
	// a first request without a token.
	Denial *Denial
	// Address is the client address of a request without a caller.
	Address string
	// CallID is set for calls that Policy.Begin is called for, and is the same there. Empty for all
	// others.
	CallID string
	// Arguments is the keyed hash of the call's arguments (see Policy.ArgumentsKey). Empty: none.
	Arguments string
	// Failure is the failure that the response to a call reports: "isError", "error" with its code,
	// or "cut" if it was cut off. Empty: none.
	Failure string
	// Behind is why the handler behind the guard refused a call that the rules allowed. Empty: it
	// did not.
	Behind string
	// Message is the body of the request. Do not keep it: arguments are personal data.
	Message []byte
}

// Values of Record.Refused, in addition to the error codes of RFC 6750.
const (
	RefusedSource  = "source"   // Host or Origin is not allowed
	RefusedNoToken = "no_token" // no access token was presented
	RefusedHidden  = "hidden"   // answered as if it did not exist
	RefusedSession = "session"  // the session is not the caller's
	RefusedMessage = "invalid_message"
	RefusedLimit   = "limit" // Policy.Admit answered
	// RefusedUnrecorded says that Policy.Begin could not record a call that writes.
	RefusedUnrecorded = "unrecorded"
)

func refusedCode(d Decision) string {
	if d.Hidden {
		return RefusedHidden
	}
	return "insufficient_scope"
}

// Outcomes of a request.
const (
	OutcomeOK       = "ok"
	OutcomeFailed   = "failed"   // forwarded, and the response is an error of HTTP, JSON-RPC or the tool
	OutcomeObserved = "observed" // forwarded, because denials are not enforced
	OutcomeRefused  = "refused"
)

// Outcome returns the outcome of the request.
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

// Other is the label for names that clients choose, so that they cannot create rows or time series.
// No tenant, client or tool has this name.
const Other = "(other)"

// MethodLabel returns the method if the protocol or a rule names it, otherwise Other.
func (r *Record) MethodLabel() string {
	switch m := r.Method; {
	case r.Decision.Kind == KindMethod && r.Decision.Rule != "":
		return r.Decision.Rule
	case r.Decision.Kind != "" && r.Decision.Kind != KindMethod:
		return m // of this kind by its method
	case m == http.MethodPost || m == http.MethodGet || m == http.MethodDelete:
		return m
	case strings.HasPrefix(m, "notifications/"):
		return "notifications"
	case isOpening(m):
		return m
	}
	return Other
}

// RuleLabel returns the rule that decided on a tool, prompt or resource. There are no more of them
// than the operator wrote.
func (r *Record) RuleLabel() string {
	switch {
	case r.Decision.Kind == "" || r.Decision.Kind == KindMethod:
		return ""
	case r.Decision.Rule == "":
		return Other
	}
	return r.Decision.Rule
}

// NameLabel returns the name of the tool or prompt. A resource is named by its rule, because its
// URI may hold personal data, and so is what does not have the syntax of a name.
func (r *Record) NameLabel() string {
	d := &r.Decision
	if d.Rule != "" && (d.Kind == KindTool || d.Kind == KindPrompt) && message.IsName(d.Name) {
		return d.Name
	}
	return r.RuleLabel()
}

// maxAgent is the longest product of a User-Agent that is kept, in bytes.
const maxAgent = 40

// agentOf returns the first product of the User-Agent (RFC 9110 section 10.1.5), so that the
// operator can tell which programs send no token.
func agentOf(r *http.Request) string {
	product, _, _ := strings.Cut(r.UserAgent(), " ")
	product, _, _ = strings.Cut(product, "/")
	if len(product) > maxAgent || !message.IsName(product) {
		return ""
	}
	return product
}

// report passes the record to Policy.Record when the request is done, also when its response was
// cut off.
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

// logDenial adds to the log who was denied what, enforced or not.
func (x *request) logDenial() {
	ctx, r := x.r.Context(), &x.record
	if r.Caller.ClientID == "" {
		httpd.Note(ctx, "tenant", "-")
		httpd.Note(ctx, "client", "-")
	}
	if r.Decision.Kind != KindTool || r.Decision.Rule == "" {
		name := r.Decision.Name
		if r.Decision.Kind == KindResource {
			name = r.RuleLabel() // a URI may hold personal data
		}
		httpd.Note(ctx, "tool", cmp.Or(name, "-"))
	}
	httpd.Note(ctx, "decision", r.Outcome())
	httpd.Note(ctx, "mode", cmp.Or(string(r.Mode), string(Enforce)))
}
