package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
)

func (c *command) callsCommands() *cobra.Command {
	return c.noun(groupServers, "calls", "Choose which tool calls are recorded",
		c.verb("set KEEP", "Set which tool calls of a tenant are recorded: all, or refusals_and_writes",
			"refusals_and_writes --tenant acme", callsSet, "tenant"),
		c.verb("show", "Show the tenants whose tool calls are not all recorded", "--json", callsShow),
	)
}

func callsSet(fs *pflag.FlagSet) action {
	s := operator.CallSetting{}
	fs.StringVar(&s.Tenant, "tenant", "", "id of a tenant, or '*' for every tenant without a setting of its own")
	return func(ctx context.Context, c *command) error {
		s.Keep = c.operand
		if s.Tenant != "" && s.Tenant != operator.Everyone {
			if err := c.checkTenant(ctx, s.Tenant); err != nil {
				return err
			}
		}
		if err := c.act(ctx, "calls.set", s, nil); err != nil {
			return err
		}
		whose := "tenant " + s.Tenant
		if s.Tenant == operator.Everyone {
			whose = "every tenant without a setting of its own"
		}
		return c.done(fmt.Sprintf("%s: records are kept of %s", whose, map[string]string{
			operator.KeepAll:               "all calls",
			operator.KeepRefusalsAndWrites: "calls that were refused, or that change something",
		}[s.Keep]), field{"tenant", s.Tenant}, field{"keep", s.Keep})
	}
}

func callsShow(*pflag.FlagSet) action {
	return listOf("calls.show", struct{}{}, "TENANT\tKEPT\tSINCE", func(n *names, s operator.CallSetting) []any {
		return []any{n.tenant(s.Tenant), s.Keep, s.SetAt}
	})
}
