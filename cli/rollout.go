package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
)

func (c *command) rolloutCommands() *cobra.Command {
	return c.noun(groupServers, "rollout", "Enforce authorization step by step",
		c.verb("set MODE", "Set how strictly a tenant's calls are checked: observe, enforce_writes or enforce",
			"observe --tenant acme", rolloutSet, "tenant|anonymous"),
		c.verb("report", "Show which calls would be refused, and where it is safe to enforce",
			"--tenant acme --within 72h", rolloutReport),
	)
}

func rolloutSet(fs *pflag.FlagSet) action {
	m := operator.ModeSpec{}
	fs.StringVar(&m.Tenant, "tenant", "", "id of a tenant, or '*' for every tenant without a mode of its own")
	fs.BoolVar(&m.Anonymous, "anonymous", false,
		"in place of a tenant: requests without a valid token (needs --insecure-allow-anonymous at the server)")
	fs.StringVar(&m.Tool, "tool", "",
		"name of a tool; with --gateway UPSTREAM/TOOL, or UPSTREAM for all of its tools (default all without a "+
			"mode of their own)")
	return func(ctx context.Context, c *command) error {
		m.Mode = c.operand
		if m.Tenant != "" && m.Tenant != operator.Everyone {
			if err := c.checkTenant(ctx, m.Tenant); err != nil {
				return err
			}
		}
		if err := c.act(ctx, "rollout.set", m, nil); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("%s: %s for %s", scopeOf(m), m.Mode, cmp.Or(m.Tool, "all tools")),
			field{"tenant", m.Tenant}, field{"anonymous", m.Anonymous}, field{"tool", m.Tool}, field{"mode", m.Mode})
	}
}

// scopeOf says which requests a mode is for.
func scopeOf(m operator.ModeSpec) string {
	switch m.Tenant {
	case "":
		return "requests without a valid token"
	case operator.Everyone:
		return "every tenant without a mode of its own"
	}
	return "tenant " + m.Tenant
}

// checkTenant rejects a tenant that does not exist: a mode for a misspelt id would have no effect,
// silently.
func (c *command) checkTenant(ctx context.Context, id string) error {
	var tenants []authserver.Tenant
	err := c.act(ctx, "tenant.list", struct{}{}, &tenants)
	if c.gateway != "" && errors.Is(err, errNoDatabase) {
		c.program.message("warning", "whether there is a tenant "+strconv.Quote(id)+
			" is not known here: the issuer runs elsewhere")
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

func rolloutReport(fs *pflag.FlagSet) action {
	tenant := fs.String("tenant", "", "id of a tenant (default all)")
	within := fs.Duration("within", 7*24*time.Hour, "how long nothing must have been refused for it to be safe")
	return func(ctx context.Context, c *command) error {
		var r operator.Report
		if err := c.act(ctx, "rollout.report", operator.ReportQuery{Tenant: *tenant, Within: *within}, &r); err != nil {
			return err
		}
		return c.report(ctx, r)
	}
}

func (c *command) report(ctx context.Context, r operator.Report) error {
	var known []named // the clients of the refused calls, in their order
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
	var tenants, refused, anonymous, modes [][]any
	for _, t := range r.Tenants {
		tenants = append(tenants, []any{t.Tenant, t.Mode, t.Traffic.Passed, t.Traffic.Observed, verdict(t),
			strings.Join(t.Why, "; ")})
		for _, u := range t.Refused {
			name := cmp.Or(known[len(refused)].name, "unknown here")
			refused = append(refused, []any{u.Tenant, u.Client, name, u.Method, u.Name, strings.Fields(u.Lacking),
				u.Reason, u.Calls, lastUse(u)})
		}
	}
	for _, u := range r.AnonymousUse {
		anonymous = append(anonymous, []any{u.Agent, u.Method, u.Name, u.Reason, u.Outcome, u.Calls, lastUse(u)})
	}
	for _, m := range r.Modes {
		modes = append(modes, []any{cmp.Or(m.Tenant, "(anonymous)"), cmp.Or(m.Tool, "(all)"), string(m.Mode), m.SetAt})
	}
	return c.answer(
		part{name: "report", fields: []field{{"since", r.Since}}},
		part{name: "tenants", heading: "TENANT\tMODE\tPASSED\tWOULD BE REFUSED\tSAFE TO ENFORCE\tWHY NOT",
			rows: tenants},
		part{name: "refused", title: "what would be refused:",
			heading: "TENANT\tCLIENT\tNAME\tMETHOD\tTOOL\tLACKS\tREASON\tCALLS\tLAST", rows: refused},
		part{name: "anonymous", title: "requests without a valid token:",
			heading: "PROGRAM\tMETHOD\tTOOL\tREASON\tOUTCOME\tCALLS\tLAST", rows: anonymous},
		part{name: "modes", title: "modes:", heading: "TENANT\tTOOL\tMODE\tSINCE", rows: modes},
	)
}

// verdict says whether everything can be enforced: enforced (it is), yes, writes (the tools that
// change something can be), or no.
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
