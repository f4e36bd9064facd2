package cli

import (
	"context"
	"flag"
	"fmt"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
)

func callsSet(fs *flag.FlagSet) action {
	s := operator.CallSetting{}
	fs.StringVar(&s.Tenant, "tenant", "", "`id` of a tenant, or '*' for every tenant that has no setting of its own")
	return func(ctx context.Context, c *call) error {
		s.Keep = c.operand
		if s.Tenant != "" && s.Tenant != operator.Everyone {
			if err := c.knowsTenant(ctx, s.Tenant); err != nil {
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
		}[s.Keep]), fact{"tenant", s.Tenant}, fact{"keep", s.Keep})
	}
}

func callsShow(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		var settings []operator.CallSetting
		if err := c.act(ctx, "calls.show", struct{}{}, &settings); err != nil {
			return err
		}
		return c.listNamed(ctx, "TENANT\tKEPT\tSINCE", func(n *names) (rows [][]any) {
			for _, s := range settings {
				rows = append(rows, []any{n.tenant(s.Tenant), s.Keep, s.SetAt})
			}
			return rows
		})
	}
}
