package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/rollout"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

// ExplainAsked says whose tools are to be explained: a token's, or those of somebody with these
// scopes.
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
func (d *Desk) Explain(ctx context.Context, a ExplainAsked) (Explanation, error) {
	caller := mcp.Caller{TenantID: a.Tenant, ClientID: a.Client, Scopes: a.Scopes}
	var e Explanation
	servers := d.servers
	switch {
	case (a.Token == "") == (a.Tenant == ""):
		return e, &Refusal{"it is not said whose tools", "give --token, or --client and --tenant"}
	case a.Token != "":
		s, x, err := d.examine(ctx, a.Token)
		if err != nil {
			return e, &Refusal{"the token is not believed: " + err.Error(),
				"with it a caller is nobody; if the token is good, see that the issuer runs, and that --issuer, " +
					"--resource and --redis are the server's"}
		}
		servers = []*Server{s}
		caller, e.Expires = x.Caller, x.Expires
		if x.Bound {
			e.Notes = append(e.Notes, "the token is bound to a key: it counts with a proof of that key alone")
		}
	}
	if err := d.modes.Refresh(ctx); err != nil {
		return e, err
	}
	e.Tenant, e.Client, e.Subject, e.Scopes = caller.TenantID, caller.ClientID, caller.Subject, caller.Scopes
	for _, s := range servers {
		for _, t := range s.Tools(caller.TenantID) {
			e.Tools = append(e.Tools, d.explain(caller, s, t))
		}
	}
	return e, nil
}

// examine finds the server that believes a token.
func (d *Desk) examine(ctx context.Context, raw string) (*Server, guard.Inspected, error) {
	var why []error
	for _, s := range d.servers {
		x, err := s.Inspect(ctx, raw)
		if err == nil {
			return s, x, nil
		}
		if len(d.servers) > 1 {
			err = fmt.Errorf("%s: %w", s.Name, err)
		}
		why = append(why, err)
	}
	return nil, guard.Inspected{}, errors.New(strings.ReplaceAll(errors.Join(why...).Error(), "\n", "; "))
}

func (d *Desk) explain(c mcp.Caller, s *Server, tool Tool) ToolExplained {
	name := s.name(tool.Name)
	if tool.Away != "" {
		return ToolExplained{Name: name, Why: tool.Away}
	}
	decide := s.Table(c.TenantID).Decide
	if tool.Pattern {
		decide = s.Table(c.TenantID).DecidePattern
	}
	x := decide(c, guard.KindTool, tool.Name)
	m, known := d.modes.Why(c.TenantID, name)
	passes := x.Allowed || !m.Mode.Enforces(x.Write)
	t := ToolExplained{Name: name, Listed: passes, Passes: passes}
	switch {
	case x.Allowed && len(x.Scopes) == 0:
		t.Why = "it needs no scope"
	case x.Allowed:
		t.Why = "the scopes are there: " + strings.Join(x.Scopes, " ")
	case x.Reason == guard.ReasonUnnamed:
		t.Why = "no rule opens it"
	case passes:
		t.Why = "lacks " + strings.Join(x.Lacking, " ") + ", but that does not count yet"
	case x.Hidden:
		t.Why = "lacks " + strings.Join(x.Lacking, " ") + ", and is hidden: a call is answered as if there were no " +
			"such tool"
	default:
		t.Why = "lacks " + strings.Join(x.Lacking, " ") + ": a call is refused, and asks for it"
	}
	if !x.Allowed {
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
