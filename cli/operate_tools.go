package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

// isOfTools says whether an act is the MCP server's.
func isOfTools(name string) bool {
	noun, _, _ := strings.Cut(name, ".")
	return noun == "usage" || noun == "calls" || noun == "rollout" || noun == "tools"
}

// toolsActs are the MCP server's acts as the issuer's door does them: its refusals are the door's.
func toolsActs(o *operator.Registry) map[string]authserver.Act {
	acts := o.Commands()
	for name, do := range acts {
		acts[name] = func(ctx context.Context, arguments json.RawMessage) (any, error) {
			answer, err := do(ctx, arguments)
			var refused *operator.Error
			if errors.As(err, &refused) {
				return nil, &authserver.Refusal{Reason: refused.Reason, Hint: refused.Hint}
			}
			return answer, err
		}
	}
	return acts
}

// openTools opens the MCP server's door alone, which needs neither the issuer's database nor its
// keys.
func (c *call) openTools(ctx context.Context) (doer, func() error, error) {
	c.locate()
	log, err := c.program.log(c.logLevel)
	if err != nil {
		return nil, nil, err
	}
	door, shut, err := mcpserver.OpenOperator(ctx, c.serving(), mcpserver.Deps{Log: log, Now: c.program.Now})
	if err != nil {
		return nil, nil, opening(err)
	}
	return &authserver.Operator{More: toolsActs(door)}, shut, nil
}

func usageList(fs *flag.FlagSet) action {
	tenant := fs.String("tenant", "", "`id` of a tenant (default all)")
	client := fs.String("client", "", "`id` of a client (default all)")
	since := fs.Duration("since", 24*time.Hour, "how `far` back, in whole hours")
	limit := fs.Int("limit", 100, "at most `this many`")
	return func(ctx context.Context, c *call) error {
		var used []operator.UsageRow
		if err := c.act(ctx, "usage.list", operator.UsageQuery{Tenant: *tenant, Client: *client,
			Since: c.program.Now().Add(-*since), Limit: *limit}, &used); err != nil {
			return err
		}
		return c.listNamed(ctx, "TENANT\tCLIENT\tPROGRAM\tMETHOD\tTOOL\tOUTCOME\tREASON\tCALLS\tMEAN\tSLOWEST\tLAST",
			func(n *names) (rows [][]any) {
				for _, u := range used {
					mean := time.Duration(u.Micros/max(u.Calls, 1)) * time.Microsecond
					rows = append(rows, []any{
						n.tenant(u.Tenant), n.client(u.Client), u.Agent, u.Method, u.Name, u.Outcome, u.Reason, u.Calls,
						mean, time.Duration(u.Slowest) * time.Microsecond, last(u),
					})
				}
				return rows
			})
	}
}

func last(u operator.UsageRow) time.Time { return time.Unix(u.Last, 0) }

func rolloutSet(fs *flag.FlagSet) action {
	m := operator.ModeSpec{}
	fs.StringVar(&m.Tenant, "tenant", "", "`id` of a tenant, or '*' for every tenant that has no mode of its own")
	fs.BoolVar(&m.Anonymous, "nobody", false,
		"in place of a tenant: requests without a good token (needs --insecure-allow-anonymous at the server)")
	fs.StringVar(&m.Tool, "tool", "",
		"`name` of a tool; with --gateway UPSTREAM/TOOL, or UPSTREAM for all of its tools (default all that have no "+
			"mode of their own)")
	return func(ctx context.Context, c *call) error {
		m.Mode = c.operand
		if m.Tenant != "" && m.Tenant != operator.Everyone {
			if err := c.knowsTenant(ctx, m.Tenant); err != nil {
				return err
			}
		}
		if err := c.act(ctx, "rollout.set", m, nil); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("%s: %s for %s", whose(m), m.Mode, cmp.Or(m.Tool, "all tools")),
			fact{"tenant", m.Tenant}, fact{"nobody", m.Anonymous}, fact{"tool", m.Tool}, fact{"mode", m.Mode})
	}
}

func whose(m operator.ModeSpec) string {
	switch m.Tenant {
	case "":
		return "requests without a good token"
	case operator.Everyone:
		return "every tenant without a mode of its own"
	}
	return "tenant " + m.Tenant
}

// knowsTenant refuses a tenant that is not there: a mode for a misspelt one would do nothing,
// silently.
func (c *call) knowsTenant(ctx context.Context, id string) error {
	var tenants []authserver.Tenant
	err := c.act(ctx, "tenant.list", struct{}{}, &tenants)
	if c.gateway != "" && errors.Is(err, errNoLedger) {
		c.program.complain("warning", "whether there is a tenant "+strconv.Quote(id)+
			" is not known here: the issuer is elsewhere")
		return nil
	}
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(tenants, func(t authserver.Tenant) bool { return t.ID == id }) {
		return &authserver.Refusal{Reason: fmt.Sprintf("there is no tenant %.80q", id),
			Hint: Name + " tenant list shows them"}
	}
	return nil
}

func rolloutReport(fs *flag.FlagSet) action {
	tenant := fs.String("tenant", "", "`id` of a tenant (default all)")
	within := fs.Duration("within", 7*24*time.Hour, "how `long` nothing must have been refused to call it safe")
	return func(ctx context.Context, c *call) error {
		var r operator.Report
		if err := c.act(ctx, "rollout.report", operator.ReportQuery{Tenant: *tenant, Within: *within}, &r); err != nil {
			return err
		}
		return c.report(ctx, r)
	}
}

func (c *call) report(ctx context.Context, r operator.Report) error {
	var known []named // clients, in the order in which they stand below
	_, err := c.rows(ctx, func(n *names) [][]any {
		known = nil
		for _, t := range r.Tenants {
			for _, u := range t.Refused {
				known = append(known, n.client(u.Client))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var tenants, refused, nobody, modes [][]any
	for _, t := range r.Tenants {
		tenants = append(tenants, []any{t.Tenant, t.Mode, t.Traffic.Passed, t.Traffic.Observed, verdict(t),
			strings.Join(t.Why, "; ")})
		for _, u := range t.Refused {
			name := cmp.Or(known[len(refused)].name, "unknown here")
			refused = append(refused, []any{u.Tenant, u.Client, name, u.Method, u.Name, strings.Fields(u.Lacking),
				u.Reason, u.Calls, last(u)})
		}
	}
	for _, u := range r.AnonymousUse {
		nobody = append(nobody, []any{u.Agent, u.Method, u.Name, u.Reason, u.Outcome, u.Calls, last(u)})
	}
	for _, m := range r.Modes {
		modes = append(modes, []any{cmp.Or(m.Tenant, "(nobody)"), cmp.Or(m.Tool, "(all)"), string(m.Mode), m.SetAt})
	}
	return c.answer(
		part{name: "report", facts: []fact{{"since", r.Since}}},
		part{name: "tenants", heading: "TENANT\tMODE\tPASSED\tWOULD BE REFUSED\tSAFE TO ENFORCE\tWHY NOT",
			rows: tenants},
		part{name: "refused", title: "what would be refused:",
			heading: "TENANT\tCLIENT\tNAME\tMETHOD\tTOOL\tLACKS\tREASON\tCALLS\tLAST", rows: refused},
		part{name: "nobody", title: "who came without a good token:",
			heading: "PROGRAM\tMETHOD\tTOOL\tREASON\tOUTCOME\tCALLS\tLAST", rows: nobody},
		part{name: "modes", title: "modes:", heading: "TENANT\tTOOL\tMODE\tSINCE", rows: modes},
	)
}

// verdict says whether all can be enforced: enforced (it is), yes, writes (what changes something
// can be), or no.
func verdict(t operator.TenantReport) string {
	switch {
	case t.Enforced:
		return "enforced"
	case t.Safe:
		return "yes"
	case t.Writes:
		return "writes"
	}
	return "no"
}

// maxToken bounds what is read as a token, in bytes.
const maxToken = 64 << 10

func explain(fs *flag.FlagSet) action {
	var token config.Secret
	a := authserver.ScopesAsked{}
	config.SecretVar(fs, &token, "token",
		"an access `token`; - reads it from standard input, which keeps it from other people of the machine")
	fs.StringVar(&a.Client, "client", "", "`id` of a client, in place of a token")
	fs.StringVar(&a.Tenant, "tenant", "", "`id` of the tenant for which the client acts")
	fs.StringVar(&a.User, "user", "", "`address` or id of the person for whom it acts (default whoever may do most)")
	return func(ctx context.Context, c *call) error {
		asked := operator.ExplainQuery{Token: token.Reveal(), Tenant: a.Tenant, Client: a.Client}
		switch {
		case (token == "") == (a.Client == ""):
			return misused(Name+" explain --token - <FILE, or "+Name+" explain --client ID --tenant ID",
				errors.New("explain: whose tools?"))
		case token == "-":
			text, err := io.ReadAll(io.LimitReader(c.program.Stdin, maxToken))
			if err != nil {
				return fmt.Errorf("reading the token: %w", err)
			}
			asked.Token = strings.TrimSpace(string(text))
		}
		if token != "" && (a.Tenant != "" || a.User != "") {
			return misused("a token says for whom it is",
				errors.New("explain: --token goes with neither --tenant nor --user"))
		}
		var found authserver.ScopesFound
		if a.Client != "" {
			if err := c.act(ctx, "client.scopes", a, &found); err != nil {
				return err
			}
			asked.Scopes = found.Scopes
		}
		var e operator.Explanation
		if err := c.act(ctx, "tools.explain", asked, &e); err != nil {
			return err
		}
		return c.explanation(e, found.Limits)
	}
}

func (c *call) explanation(e operator.Explanation, limits []string) error {
	caller := []fact{{"tenant", e.Tenant}, {"client", e.Client}, {"scopes", e.Scopes}}
	if e.Subject != "" {
		caller = append(caller, fact{"subject", e.Subject}, fact{"expires", e.Expires})
	}
	var notes, tools [][]any
	for _, note := range append(limits, e.Notes...) {
		notes = append(notes, []any{note})
	}
	for _, t := range e.Tools {
		call := "refused"
		if t.Passes {
			call = "passes"
		}
		tools = append(tools, []any{t.Name, t.Listed, call, t.Why})
	}
	return c.answer(
		part{name: "caller", facts: caller},
		part{name: "notes", heading: "NOTE", rows: notes},
		part{name: "tools", heading: "TOOL\tLISTED\tCALL\tWHY", rows: tools},
	)
}
