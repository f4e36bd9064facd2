package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
)

func (c *command) usageCommands() *cobra.Command {
	return c.noun(groupServers, "usage", "Show how tools are used",
		c.verb("list", "List which tools were used by which clients, and with what outcome",
			"--tenant acme --since 168h",
			usageList))
}

func usageList(fs *pflag.FlagSet) action {
	tenant := fs.String("tenant", "", "id of a tenant (default all)")
	client := fs.String("client", "", "id of a client (default all)")
	since := fs.Duration("since", 24*time.Hour, "how far back, in whole hours")
	limit := 0
	limitFlag(fs, &limit)
	return func(ctx context.Context, c *command) error {
		var used []operator.UsageRow
		if err := c.act(ctx, "usage.list", operator.UsageQuery{Tenant: *tenant, Client: *client,
			Since: c.program.Now().Add(-*since), Limit: limit}, &used); err != nil {
			return err
		}
		return c.listNamed(ctx, "TENANT\tCLIENT\tPROGRAM\tMETHOD\tTOOL\tOUTCOME\tREASON\tCALLS\tMEAN\tSLOWEST\tLAST",
			func(n *names) (rows [][]any) {
				for _, u := range used {
					mean := time.Duration(u.Micros/max(u.Calls, 1)) * time.Microsecond
					rows = append(rows, []any{
						n.tenant(u.Tenant), n.client(u.Client), u.Agent, u.Method, u.Name, u.Outcome, u.Reason, u.Calls,
						mean, time.Duration(u.Slowest) * time.Microsecond, lastUse(u),
					})
				}
				return rows
			})
	}
}

func lastUse(u operator.UsageRow) time.Time { return time.Unix(u.Last, 0) }
