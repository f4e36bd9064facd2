package mcpserver

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/rollout"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

// ExplainAsked says whose tools are to be explained: a token's, or those of somebody with these scopes.
type ExplainAsked struct {
	Token  string // nobody keeps or logs it
	Tenant string
	Client string
	Scopes []string
}

// Explanation says what a caller sees and may do, and why.
type Explanation struct {
	Tenant, Client, Subject string
	Scopes                  []string
	Expires                 time.Time // of the token; zero: none was shown
	Notes                   []string
	Tools                   []ToolExplained
}

// ToolExplained is one tool as a caller meets it.
type ToolExplained struct {
	Name   string
	Listed bool
	Passes bool // a call
	Why    string
}

// Explain says which tools a caller sees, and by which rule.
func (o *Operator) Explain(ctx context.Context, a ExplainAsked) (Explanation, error) {
	caller := mcp.Caller{TenantID: a.Tenant, ClientID: a.Client, Scopes: a.Scopes}
	var e Explanation
	switch {
	case (a.Token == "") == (a.Tenant == ""):
		return e, &Refusal{"it is not said whose tools", "give --token, or --client and --tenant"}
	case a.Token != "":
		x, err := o.guard.Examine(ctx, a.Token)
		if err != nil {
			return e, &Refusal{"the token is not believed: " + err.Error(), "with it a caller is nobody; if the token is good, see that the issuer runs, and that --issuer, --resource and --redis are the server's"}
		}
		caller, e.Expires = x.Caller, x.Expires
		if x.Bound {
			e.Notes = append(e.Notes, "the token is bound to a key: it counts with a proof of that key alone")
		}
	}
	if err := o.modes.Refresh(ctx); err != nil {
		return e, err
	}
	e.Tenant, e.Client, e.Subject, e.Scopes = caller.TenantID, caller.ClientID, caller.Subject, caller.Scopes
	for _, name := range o.tools {
		e.Tools = append(e.Tools, o.explain(caller, name))
	}
	return e, nil
}

func (o *Operator) explain(c mcp.Caller, tool string) ToolExplained {
	d := o.tables(c.TenantID).Decide(c, guard.KindTool, tool)
	m, known := o.modes.Why(c.TenantID, tool)
	passes := d.Allowed || !m.Mode.Enforces(d.Write)
	t := ToolExplained{Name: tool, Listed: passes, Passes: passes}
	switch {
	case d.Allowed && len(d.Scopes) == 0:
		t.Why = "it needs no scope"
	case d.Allowed:
		t.Why = "the scopes are there: " + strings.Join(d.Scopes, " ")
	case d.Reason == guard.ReasonUnnamed:
		t.Why = "no rule opens it"
	case passes:
		t.Why = "lacks " + strings.Join(d.Lacking, " ") + ", but that does not count yet"
	case d.Hide:
		t.Why = "lacks " + strings.Join(d.Lacking, " ") + ", and is hidden: a call is answered as if there were no such tool"
	default:
		t.Why = "lacks " + strings.Join(d.Lacking, " ") + ": a call is refused, and asks for it"
	}
	if !d.Allowed {
		t.Why += " (" + whose(m, known) + ")"
	}
	return t
}

// whose says where a mode comes from.
func whose(m rollout.Setting, known bool) string {
	switch {
	case !known:
		return "mode enforce, as nobody set another"
	case m.Tenant == rollout.Everyone && m.Tool == "":
		return fmt.Sprintf("mode %s, set for every tenant", m.Mode)
	case m.Tenant == rollout.Everyone:
		return fmt.Sprintf("mode %s, set for this tool of every tenant", m.Mode)
	case m.Tool == "":
		return fmt.Sprintf("mode %s, set for tenant %s", m.Mode, m.Tenant)
	}
	return fmt.Sprintf("mode %s, set for this tool of tenant %s", m.Mode, m.Tenant)
}
