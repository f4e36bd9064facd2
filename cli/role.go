package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/flags"
)

func (c *command) roleCommands() *cobra.Command {
	return c.noun(groupPeople, "role", "Manage the roles of a tenant: the scopes that its members may grant",
		c.verb("put", "Create or replace a role of a tenant",
			"--tenant acme --role clerk --scopes customers:read,tickets:write", rolePut, "tenant", "role",
			"scopes|includes"),
		c.verb("list", "List the roles of a tenant with their scopes", "--tenant acme", roleList, "tenant"),
		c.verb("delete ROLE", "Delete a role that no member has", "clerk --tenant acme", roleDelete, "tenant"),
	)
}

func rolePut(fs *pflag.FlagSet) action {
	s := authserver.RoleSpec{}
	fs.StringVar(&s.Tenant, "tenant", "", "id of the tenant")
	fs.StringVar(&s.Role, "role", "", "name of the role, e.g. reader")
	flags.ListVar(fs, &s.Scopes, "scopes", "scopes of the role, comma-separated")
	flags.ListVar(fs, &s.Includes, "includes", "roles of the tenant whose scopes it has too, comma-separated")
	fs.BoolVar(&s.Admin, "admin", false,
		"members with the role administer the tenant's clients and roles, on pages of their own")
	forceFlag(fs, &s.Force)
	return func(ctx context.Context, c *command) error {
		if err := c.act(ctx, "role.put", s, nil); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("role %s of %s", s.Role, s.Tenant), field{"tenant", s.Tenant}, field{"role", s.Role})
	}
}

func roleList(fs *pflag.FlagSet) action {
	return listOf("role.list", fs.String("tenant", "", "id of the tenant"), roleHeading, roleRow)
}

const roleHeading = "ROLE\tADMIN\tSCOPES\tINCLUDES\tGIVES"

func roleRow(_ *names, r authserver.Role) []any {
	return []any{r.Name, r.Admin, r.Scopes, r.Includes, r.Gives}
}

func roleDelete(fs *pflag.FlagSet) action {
	tenant := fs.String("tenant", "", "id of the tenant")
	return func(ctx context.Context, c *command) error {
		if err := c.act(ctx, "role.delete", authserver.RoleName{Tenant: *tenant, Role: c.operand}, nil); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("role %s of %s is gone", c.operand, *tenant), field{"tenant", *tenant},
			field{"role", c.operand})
	}
}
