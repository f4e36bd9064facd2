package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

func (c *command) grantCommands() *cobra.Command {
	return c.noun(groupAgents, "grant", "List and revoke what agents were authorized to do",
		c.verb("list", "List the grants", "--tenant acme --active", grantList),
		c.verb("revoke [ID]", "Revoke a grant, or all of a client, a person or a tenant, with every token",
			"grt_Jm3xR8uW0aYcT6vK2pQe9s --reason 'laptop lost'", grantRevoke),
	)
}

func grantList(fs *pflag.FlagSet) action {
	f := authserver.GrantFilter{}
	fs.StringVar(&f.TenantID, "tenant", "", "id of a tenant (default all)")
	fs.StringVar(&f.ClientID, "client", "", "id of a client (default all)")
	fs.StringVar(&f.UserID, "user", "", "e-mail address or id of a person (default all)")
	fs.BoolVar(&f.Active, "active", false, "only those that are not revoked")
	pageFlags(fs, &f.Limit, &f.After, "grant")
	return func(ctx context.Context, c *command) error {
		var grants []authserver.Grant
		if err := c.act(ctx, "grant.list", f, &grants); err != nil {
			return err
		}
		if n := len(grants); n > 0 && n == f.Limit {
			c.more(grants[n-1].ID)
		}
		return c.listNamed(ctx, "ID\tTENANT\tCLIENT\tUSER\tRESOURCE\tSCOPES\tCREATED\tSTATE\tREVOKED\tREASON",
			func(n *names) (rows [][]any) {
				for _, g := range grants {
					state := "active"
					if g.Revoked() {
						state = "revoked"
					} else if g.Suspended {
						state = "suspended"
					}
					rows = append(rows, []any{
						g.ID, n.tenant(g.TenantID), n.client(g.ClientID), n.user(g.UserID), g.Resource, g.Scopes,
						g.CreatedAt, state, g.RevokedAt, g.RevokeReason,
					})
				}
				return rows
			})
	}
}

func grantRevoke(fs *pflag.FlagSet) action {
	s := authserver.GrantSelection{}
	fs.StringVar(&s.Reason, "reason", "", "reason, for the audit")
	fs.StringVar(&s.ClientID, "client", "", "in place of an ID: all grants of the client with this id")
	fs.StringVar(&s.User, "user", "", "in place of an ID: all grants of the person with this e-mail address or id")
	fs.StringVar(&s.TenantID, "tenant", "",
		"in place of an ID: all grants of the tenant with this id; with --client or --user, theirs in it")
	return func(ctx context.Context, c *command) error {
		s.ID = c.operand
		if s.ID == "" && s.ClientID == "" && s.User == "" && s.TenantID == "" {
			return usageError(fmt.Sprintf("%s %s ID, or with --client, --user or --tenant", Name, c.name),
				fmt.Errorf("%s: ID, --client, --user or --tenant is missing", c.name))
		}
		var done authserver.GrantsRevoked
		if err := c.act(ctx, "grant.revoke", s, &done); err != nil {
			return err
		}
		if s.ID != "" {
			return c.done(fmt.Sprintf("grant %s is revoked, and every token of it", s.ID), field{"id", s.ID})
		}
		return c.done(fmt.Sprintf("revoked %d grants, and every token of them", done.Revoked),
			field{"revoked", done.Revoked})
	}
}
