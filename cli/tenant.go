package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/flags"
)

func (c *command) tenantCommands() *cobra.Command {
	return c.noun(groupPeople, "tenant", "Manage tenants: the organisations whose people authorize agents",
		c.verb("create", "Create a tenant with the roles agent-admin and reader",
			"--id acme --name 'Acme Corporation'", tenantCreate, "id"),
		c.verb("list", "List the tenants", "--json", tenantList),
		c.verb("show ID", "Show a tenant with its policy, roles and members", "acme", tenantShow),
		c.verb("rename ID", "Change the display name of a tenant", "acme --name 'Acme & Sons'", tenantRename, "name"),
		c.verb("suspend ID", "Reject the people, clients and tokens of a tenant until it is resumed", "acme",
			simple("tenant.suspend", "id",
				"tenant %s is suspended, and its tokens are refused; its people, clients and grants stay")),
		c.verb("resume ID", "End the suspension of a tenant", "acme",
			simple("tenant.resume", "id",
				"tenant %s is resumed; earlier tokens stay refused, and its grants are renewed")),
		c.verb("delete ID", "Delete a tenant with its memberships, roles, clients and trusted issuers, and revoke "+
			"its grants",
			"acme --yes", tenantDelete),
	)
}

func tenantCreate(fs *pflag.FlagSet) action {
	t := authserver.TenantSpec{}
	fs.StringVar(&t.ID, "id", "", "id of the tenant, e.g. acme; it is the tenant_id of tokens and never changes")
	fs.StringVar(&t.Name, "name", "", "display name (default the id)")
	flags.ListVar(fs, &t.Scopes, "scopes",
		"the most that its agents may ever do: scopes, comma-separated (default all)")
	return func(ctx context.Context, c *command) error {
		var made authserver.Tenant
		if err := c.act(ctx, "tenant.create", t, &made); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("tenant %s, with the roles %s and %s", made.ID, authserver.RoleAdmin,
			authserver.RoleReader), field{"id", made.ID}, field{"name", made.Name}, field{"scopes", made.Scopes})
	}
}

func tenantList(*pflag.FlagSet) action {
	return listOf("tenant.list", struct{}{}, "ID\tNAME\tSTATE\tSCOPES", func(_ *names, t authserver.Tenant) []any {
		return []any{t.ID, t.Name, tenantState(t), t.Scopes}
	})
}

func tenantShow(*pflag.FlagSet) action {
	return func(ctx context.Context, c *command) error {
		var t authserver.TenantShown
		if err := c.act(ctx, "tenant.show", c.operand, &t); err != nil {
			return err
		}
		roles := part{name: "roles", title: "roles:", heading: roleHeading}
		for _, r := range t.Roles {
			roles.rows = append(roles.rows, roleRow(nil, r))
		}
		members := part{name: "members", title: "members:", heading: memberHeading}
		for _, m := range t.Members {
			members.rows = append(members.rows, memberRow(nil, m))
		}
		return c.answer(
			part{name: "tenant", fields: []field{{"id", t.ID}, {"name", t.Name}, {"state", tenantState(t.Tenant)},
				{"created", t.CreatedAt}}},
			part{name: "policy", title: "policy:", fields: policyFields(t.Policy)}, roles, members,
		)
	}
}

func tenantRename(fs *pflag.FlagSet) action {
	name := fs.String("name", "", "display name")
	return func(ctx context.Context, c *command) error {
		if err := c.act(ctx, "tenant.rename", authserver.TenantName{ID: c.operand, Name: *name}, nil); err != nil {
			return err
		}
		return c.done("tenant "+c.operand+" has another name", field{"id", c.operand}, field{"name", *name})
	}
}

func tenantState(t authserver.Tenant) string {
	if t.SuspendedAt.IsZero() {
		return "active"
	}
	return "suspended"
}

func tenantDelete(fs *pflag.FlagSet) action {
	yes := yesFlag(fs)
	return func(ctx context.Context, c *command) error {
		if !*yes {
			if err := c.confirm("tenant "+c.operand+" is deleted for good, with its memberships, roles, clients "+
				"and grants",
				c.operand); err != nil {
				return err
			}
		}
		if err := c.act(ctx, "tenant.delete", c.operand, nil); err != nil {
			return err
		}
		return c.done("tenant "+c.operand+" is gone, and every grant for it is revoked; its people keep their accounts",
			field{"id", c.operand})
	}
}
