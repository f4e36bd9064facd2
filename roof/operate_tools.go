package roof

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

// isOfTools says whether an act is the MCP server's.
func isOfTools(name string) bool {
	noun, _, _ := strings.Cut(name, ".")
	return noun == "usage" || noun == "rollout" || noun == "tools"
}

// toolsActs are the MCP server's acts as the issuer's door does them: its refusals are the door's.
func toolsActs(o *mcpserver.Operator) map[string]authserver.Act {
	acts := o.Acts()
	for name, do := range acts {
		acts[name] = func(ctx context.Context, arguments json.RawMessage) (any, error) {
			answer, err := do(ctx, arguments)
			var refused *mcpserver.Refusal
			if errors.As(err, &refused) {
				return nil, &authserver.Refusal{Reason: refused.Reason, Hint: refused.Hint}
			}
			return answer, err
		}
	}
	return acts
}

// openTools opens the MCP server's door alone, which needs neither the issuer's database nor its keys.
func (c *call) openTools(ctx context.Context) (operator, func() error, error) {
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
	since := fs.Duration("since", 24*time.Hour, "how `far` back, in whole hours")
	limit := fs.Int("limit", 100, "at most `this many`")
	return func(ctx context.Context, c *call) error {
		var used []mcpserver.UsageRow
		if err := c.act(ctx, "usage.list", mcpserver.UsageAsked{Tenant: *tenant, Since: c.program.Now().Add(-*since), Limit: *limit}, &used); err != nil {
			return err
		}
		var rows []string
		for _, u := range used {
			mean := time.Duration(u.Micros/max(u.Calls, 1)) * time.Microsecond
			rows = append(rows, strings.Join([]string{
				dash(u.Tenant), dash(cmp.Or(u.Client, u.Agent)), dash(u.Method), dash(u.Name), u.Outcome, dash(u.Reason), fmt.Sprint(u.Calls), mean.String(),
				(time.Duration(u.Slowest) * time.Microsecond).String(), last(u),
			}, "\t"))
		}
		return c.table("TENANT\tCLIENT\tMETHOD\tTOOL\tOUTCOME\tREASON\tCALLS\tMEAN\tSLOWEST\tLAST", rows)
	}
}

func last(u mcpserver.UsageRow) string { return when(time.Unix(u.Last, 0)) }

func rolloutSet(fs *flag.FlagSet) action {
	m := mcpserver.ModeSpec{}
	fs.StringVar(&m.Tenant, "tenant", "", "`id` of a tenant, or '*' for every tenant that has no mode of its own")
	fs.BoolVar(&m.Nobody, "nobody", false, "in place of a tenant: requests without a good token (needs --insecure-allow-anonymous at the server)")
	fs.StringVar(&m.Tool, "tool", "", "`name` of a tool (default all that have no mode of their own)")
	return func(ctx context.Context, c *call) error {
		m.Mode = c.operand
		if m.Tenant != "" && m.Tenant != mcpserver.Everyone {
			if err := c.knowsTenant(ctx, m.Tenant); err != nil {
				return err
			}
		}
		if err := c.act(ctx, "rollout.set", m, nil); err != nil {
			return err
		}
		return c.say("%s: %s for %s", whose(m), m.Mode, cmp.Or(m.Tool, "all tools"))
	}
}

func whose(m mcpserver.ModeSpec) string {
	switch m.Tenant {
	case "":
		return "requests without a good token"
	case mcpserver.Everyone:
		return "every tenant without a mode of its own"
	}
	return "tenant " + m.Tenant
}

// knowsTenant refuses a tenant that is not there: a mode for a misspelt one would do nothing, silently.
func (c *call) knowsTenant(ctx context.Context, id string) error {
	var tenants []authserver.Tenant
	if err := c.act(ctx, "tenant.list", struct{}{}, &tenants); err != nil {
		return err
	}
	if !slices.ContainsFunc(tenants, func(t authserver.Tenant) bool { return t.ID == id }) {
		return &authserver.Refusal{Reason: fmt.Sprintf("there is no tenant %.80q", id), Hint: Name + " tenant list shows them"}
	}
	return nil
}

func rolloutReport(fs *flag.FlagSet) action {
	tenant := fs.String("tenant", "", "`id` of a tenant (default all)")
	within := fs.Duration("within", 7*24*time.Hour, "how `long` nothing must have been refused to call it safe")
	return func(ctx context.Context, c *call) error {
		var r mcpserver.Report
		if err := c.act(ctx, "rollout.report", mcpserver.ReportAsked{Tenant: *tenant, Within: *within}, &r); err != nil {
			return err
		}
		names, err := c.clientNames(ctx)
		if err != nil {
			return err
		}
		if err := c.say("since %s", when(r.Since)); err != nil {
			return err
		}
		return c.report(r, names)
	}
}

// clientNames are the names of the clients that the issuer knows.
func (c *call) clientNames(ctx context.Context) (map[string]string, error) {
	var clients []authserver.Client
	if err := c.act(ctx, "client.list", "", &clients); err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, k := range clients {
		names[k.ID] = cmp.Or(k.Name, k.ID)
	}
	return names, nil
}

func (c *call) report(r mcpserver.Report, names map[string]string) error {
	var tenants, refused, nobody, modes []string
	for _, t := range r.Tenants {
		tenants = append(tenants, fmt.Sprintf("%s\t%s\t%d\t%d\t%s", t.Tenant, t.Mode, t.Traffic.Passed, t.Traffic.Observed, verdict(t)))
		for _, u := range t.Refused {
			name, known := names[u.Client]
			if !known {
				name = "unknown here"
			}
			refused = append(refused, strings.Join([]string{
				u.Tenant, dash(u.Client), name, dash(u.Method), dash(u.Name), dash(u.Lacking), u.Reason, fmt.Sprint(u.Calls), last(u),
			}, "\t"))
		}
	}
	for _, u := range r.Nobody {
		nobody = append(nobody, strings.Join([]string{dash(u.Agent), dash(u.Method), dash(u.Name), u.Reason, u.Outcome, fmt.Sprint(u.Calls), last(u)}, "\t"))
	}
	for _, m := range r.Modes {
		modes = append(modes, strings.Join([]string{cmp.Or(m.Tenant, "(nobody)"), cmp.Or(m.Tool, "(all)"), string(m.Mode), when(m.SetAt)}, "\t"))
	}
	for _, part := range []struct {
		title, heading string
		rows           []string
	}{
		{"", "TENANT\tMODE\tPASSED\tWOULD BE REFUSED\tSAFE TO ENFORCE", tenants},
		{"\nwhat would be refused:", "TENANT\tCLIENT\tNAME\tMETHOD\tTOOL\tLACKS\tREASON\tCALLS\tLAST", refused},
		{"\nwho came without a good token:", "PROGRAM\tMETHOD\tTOOL\tREASON\tOUTCOME\tCALLS\tLAST", nobody},
		{"\nmodes:", "TENANT\tTOOL\tMODE\tSINCE", modes},
	} {
		if len(part.rows) == 0 {
			continue
		}
		if part.title != "" {
			if err := c.say("%s", part.title); err != nil {
				return err
			}
		}
		if err := c.table(part.heading, part.rows); err != nil {
			return err
		}
	}
	return nil
}

func verdict(t mcpserver.TenantReport) string {
	switch {
	case t.Enforced:
		return "it is enforced"
	case t.Safe:
		return "yes"
	case t.Writes:
		return "writes, but not all: " + strings.Join(t.Why, "; ")
	}
	return "no: " + strings.Join(t.Why, "; ")
}

// maxToken bounds what is read as a token, in bytes.
const maxToken = 64 << 10

func explain(fs *flag.FlagSet) action {
	var token config.Secret
	a := authserver.ScopesAsked{}
	config.SecretVar(fs, &token, "token", "an access `token`; - reads it from standard input, which keeps it from other people of the machine")
	fs.StringVar(&a.Client, "client", "", "`id` of a client, in place of a token")
	fs.StringVar(&a.Tenant, "tenant", "", "`id` of the tenant for which the client acts")
	fs.StringVar(&a.User, "user", "", "`address` or id of the person for whom it acts (default whoever may do most)")
	return func(ctx context.Context, c *call) error {
		asked := mcpserver.ExplainAsked{Token: token.Reveal(), Tenant: a.Tenant, Client: a.Client}
		switch {
		case (token == "") == (a.Client == ""):
			return misused(Name+" explain --token - <FILE, or "+Name+" explain --client ID --tenant ID", errors.New("explain: whose tools?"))
		case token == "-":
			text, err := io.ReadAll(io.LimitReader(c.program.Stdin, maxToken))
			if err != nil {
				return fmt.Errorf("reading the token: %w", err)
			}
			asked.Token = strings.TrimSpace(string(text))
		}
		if token != "" && (a.Tenant != "" || a.User != "") {
			return misused("a token says for whom it is", errors.New("explain: --token goes with neither --tenant nor --user"))
		}
		var found authserver.ScopesFound
		if a.Client != "" {
			if err := c.act(ctx, "client.scopes", a, &found); err != nil {
				return err
			}
			asked.Scopes = found.Scopes
		}
		var e mcpserver.Explanation
		if err := c.act(ctx, "tools.explain", asked, &e); err != nil {
			return err
		}
		return c.explanation(e, found.Limits)
	}
}

func (c *call) explanation(e mcpserver.Explanation, limits []string) error {
	lines := []string{"tenant\t" + e.Tenant, "client\t" + dash(e.Client), "scopes\t" + dash(strings.Join(e.Scopes, " "))}
	if e.Subject != "" {
		lines = append(lines, "subject\t"+e.Subject, "expires\t"+when(e.Expires))
	}
	for _, note := range append(limits, e.Notes...) {
		lines = append(lines, "note\t"+note)
	}
	if err := c.table(lines[0], lines[1:]); err != nil {
		return err
	}
	var rows []string
	for _, t := range e.Tools {
		listed, call := "no", "refused"
		if t.Listed {
			listed = "yes"
		}
		if t.Passes {
			call = "passes"
		}
		rows = append(rows, strings.Join([]string{t.Name, listed, call, t.Why}, "\t"))
	}
	if err := c.say(""); err != nil {
		return err
	}
	return c.table("TOOL\tLISTED\tCALL\tWHY", rows)
}
