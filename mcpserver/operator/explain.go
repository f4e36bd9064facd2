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

// ExplainQuery says whose tools are explained: those of a token, or of a client with these scopes.
type ExplainQuery struct {
	Token  string // never stored or logged
	Tenant string
	Client string
	Scopes []string
}

// Explanation says which tools a caller sees and may call, and why.
type Explanation struct {
	Tenant, Client, Subject string
	Scopes                  []string
	Expires                 time.Time // of the token; zero: no token
	Notes                   []string
	Tools                   []ToolExplained
}

// ToolExplained is one tool for the caller.
type ToolExplained struct {
	Name   string
	Listed bool
	Passes bool // a call is allowed
	Why    string
}

// Explain returns which tools a caller sees, and by which rule.
func (g *Registry) Explain(ctx context.Context, a ExplainQuery) (Explanation, error) {
	caller := mcp.Caller{TenantID: a.Tenant, ClientID: a.Client, Scopes: a.Scopes}
	var e Explanation
	servers := g.servers
	switch {
	case (a.Token == "") == (a.Tenant == ""):
		return e, &Error{"no caller is given", "give --token, or --client and --tenant"}
	case a.Token != "":
		s, x, err := g.examine(ctx, a.Token)
		if err != nil {
			return e, &Error{"the token is not valid: " + err.Error(),
				"check that the issuer runs, and that --issuer, --resource and --redis are those of the server"}
		}
		servers = []*Server{s}
		caller, e.Expires = x.Caller, x.Expires
		if x.Bound {
			e.Notes = append(e.Notes, "the token is bound to a key: it is accepted only with a proof of that key")
		}
	}
	if err := g.modes.Refresh(ctx); err != nil {
		return e, err
	}
	e.Tenant, e.Client, e.Subject, e.Scopes = caller.TenantID, caller.ClientID, caller.Subject, caller.Scopes
	for _, s := range servers {
		for _, t := range s.Tools(caller.TenantID) {
			e.Tools = append(e.Tools, g.explain(caller, s, t))
		}
	}
	return e, nil
}

// examine returns the server that accepts a token.
func (g *Registry) examine(ctx context.Context, raw string) (*Server, guard.Inspected, error) {
	var why []error
	for _, s := range g.servers {
		x, err := s.Inspect(ctx, raw)
		if err == nil {
			return s, x, nil
		}
		if len(g.servers) > 1 {
			err = fmt.Errorf("%s: %w", s.Name, err)
		}
		why = append(why, err)
	}
	return nil, guard.Inspected{}, errors.New(strings.ReplaceAll(errors.Join(why...).Error(), "\n", "; "))
}

func (g *Registry) explain(c mcp.Caller, s *Server, tool Tool) ToolExplained {
	name := s.name(tool.Name)
	if tool.Away != "" {
		return ToolExplained{Name: name, Why: tool.Away}
	}
	decide := s.Table(c.TenantID).Decide
	if tool.Pattern {
		decide = s.Table(c.TenantID).DecidePattern
	}
	x := decide(c, guard.KindTool, tool.Name)
	m, known := g.modes.Why(c.TenantID, name)
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

// whose says where a mode was set.
func whose(m rollout.Setting, known bool) string {
	switch {
	case !known:
		return "mode enforce, the default"
	case m.Tenant == rollout.Everyone && m.Tool == "":
		return fmt.Sprintf("mode %s, set for every tenant", m.Mode)
	case m.Tenant == rollout.Everyone:
		return fmt.Sprintf("mode %s, set for this tool of every tenant", m.Mode)
	case m.Tool == "":
		return fmt.Sprintf("mode %s, set for tenant %s", m.Mode, m.Tenant)
	}
	return fmt.Sprintf("mode %s, set for this tool of tenant %s", m.Mode, m.Tenant)
}
