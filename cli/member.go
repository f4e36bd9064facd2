package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

func (c *command) memberCommands() *cobra.Command {
	return c.noun(groupPeople, "member", "Manage the members of tenants",
		c.verb("put", "Give a person a role in a tenant", "--email ann@acme.example --tenant acme --role agent-admin",
			memberPut, "email", "tenant"),
		c.verb("list", "List the members of a tenant", "--tenant acme", memberList, "tenant"),
		c.verb("remove", "Remove a person from a tenant, and revoke the grants that they gave there",
			"--email ann@acme.example --tenant acme", memberRemove, "email", "tenant"),
	)
}

func memberPut(fs *pflag.FlagSet) action {
	s := authserver.MemberSpec{}
	fs.StringVar(&s.Email, "email", "", "e-mail address of the person")
	fs.StringVar(&s.Tenant, "tenant", "", "id of the tenant")
	fs.StringVar(&s.Role, "role", authserver.RoleReader, "role in that tenant; it replaces an earlier one")
	forceFlag(fs, &s.Force)
	return func(ctx context.Context, c *command) error {
		if err := c.act(ctx, "member.put", s, nil); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("%s is %s of %s", s.Email, s.Role, s.Tenant), field{"email", s.Email},
			field{"tenant", s.Tenant}, field{"role", s.Role})
	}
}

func memberList(fs *pflag.FlagSet) action {
	return listOf("member.list", peopleFlags(fs, "id of the tenant"), memberHeading, memberRow)
}

const memberHeading = "MEMBER\tNAME\tROLE\tADMIN\tSTATE\tID"

func memberRow(_ *names, m authserver.Member) []any {
	return []any{m.Email, m.Name, m.Role, m.Admin, state(m.Disabled), m.UserID}
}

func memberRemove(fs *pflag.FlagSet) action {
	s := authserver.RemovalSpec{}
	fs.StringVar(&s.Email, "email", "", "e-mail address of the person")
	fs.StringVar(&s.Tenant, "tenant", "", "id of the tenant")
	forceFlag(fs, &s.Force)
	return func(ctx context.Context, c *command) error {
		if err := c.act(ctx, "member.remove", s, nil); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("%s is no longer a member of %s, and the grants that they gave there are revoked",
			s.Email, s.Tenant), field{"email", s.Email}, field{"tenant", s.Tenant})
	}
}
