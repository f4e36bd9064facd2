package roof

import (
	"context"
	"flag"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

func tenantShow(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		var t authserver.TenantShown
		if err := c.act(ctx, "tenant.show", c.operand, &t); err != nil {
			return err
		}
		if err := c.say("tenant %s: %s, since %s\n", t.ID, t.Name, when(t.CreatedAt)); err != nil {
			return err
		}
		if err := c.showPolicy(t.Policy); err != nil {
			return err
		}
		if err := c.say(""); err != nil {
			return err
		}
		if err := c.showRoles(t.Roles); err != nil {
			return err
		}
		if err := c.say(""); err != nil {
			return err
		}
		return c.showMembers(t.Members)
	}
}

func tenantRename(fs *flag.FlagSet) action {
	name := fs.String("name", "", "`name` for people")
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "tenant.rename", authserver.TenantName{ID: c.operand, Name: *name}, nil); err != nil {
			return err
		}
		return c.say("tenant %s has another name", c.operand)
	}
}

// anyOf is the word that takes a restriction of a policy away.
const anyOf = "any"

// ceilingList registers a list of the policy: what is not named stays as it is, and "any" is the empty list.
func ceilingList(fs *flag.FlagSet, to **[]string, name, usage string) {
	fs.Func(name, usage, func(words string) error {
		list := []string{}
		if words != anyOf {
			list = config.List(words)
		}
		*to = &list
		return nil
	})
}

// ceilingLife registers a length of time of the policy: what is not named stays as it is.
func ceilingLife(fs *flag.FlagSet, to **time.Duration, name, usage string) {
	fs.Func(name, usage, func(words string) error {
		d, err := time.ParseDuration(words)
		*to = &d
		return err
	})
}

func policySet(fs *flag.FlagSet) action {
	s := authserver.PolicySpec{}
	fs.StringVar(&s.Tenant, "tenant", "", "`id` of the tenant")
	ceilingList(fs, &s.Scopes, "scopes", "the most that its agents may ever do: `scopes` divided by commas")
	ceilingList(fs, &s.Clients, "clients", "`ids` of the only clients that are let in, divided by commas, or any")
	ceilingList(fs, &s.Registrations, "registrations", "`ways` in which clients may have become known, divided by commas: operator, document, dynamic, tenant; or any")
	ceilingLife(fs, &s.TokenLife, "max-token-life", "the longest `life` of an access token, e.g. 5m; 0: the resource's")
	ceilingLife(fs, &s.RefreshLife, "max-refresh-life", "how `long` after a person's consent a permission can be renewed, e.g. 24h; 0: as long as the issuer lets it")
	return func(ctx context.Context, c *call) error {
		var p authserver.Policy
		if err := c.act(ctx, "policy.set", s, &p); err != nil {
			return err
		}
		return c.showPolicy(p)
	}
}

func policyShow(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		var p authserver.Policy
		if err := c.act(ctx, "policy.show", c.operand, &p); err != nil {
			return err
		}
		return c.showPolicy(p)
	}
}

func (c *call) showPolicy(p authserver.Policy) error {
	list := func(words []string) string {
		if len(words) == 0 {
			return anyOf
		}
		return strings.Join(words, " ")
	}
	life := func(d time.Duration, otherwise string) string {
		if d == 0 {
			return otherwise
		}
		return d.String()
	}
	return c.table("POLICY\tALLOWS", []string{
		"scopes\t" + strings.Join(p.Scopes, " "), "clients\t" + list(p.Clients), "registrations\t" + list(p.Registrations),
		"max-token-life\t" + life(p.TokenLife, "the resource's"), "max-refresh-life\t" + life(p.RefreshLife, "the issuer's"),
	})
}

func roleList(fs *flag.FlagSet) action {
	tenant := fs.String("tenant", "", "`id` of the tenant")
	return func(ctx context.Context, c *call) error {
		var roles []authserver.Role
		if err := c.act(ctx, "role.list", *tenant, &roles); err != nil {
			return err
		}
		return c.showRoles(roles)
	}
}

func (c *call) showRoles(roles []authserver.Role) error {
	var rows []string
	for _, r := range roles {
		rows = append(rows, strings.Join([]string{r.Name, yes(r.Admin), dash(strings.Join(r.Scopes, " ")), dash(strings.Join(r.Includes, " ")), strings.Join(r.Gives, " ")}, "\t"))
	}
	return c.table("ROLE\tADMIN\tSCOPES\tINCLUDES\tGIVES", rows)
}

func roleDelete(fs *flag.FlagSet) action {
	tenant := fs.String("tenant", "", "`id` of the tenant")
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "role.delete", authserver.RoleName{Tenant: *tenant, Role: c.operand}, nil); err != nil {
			return err
		}
		return c.say("role %s of %s is gone", c.operand, *tenant)
	}
}

func peopleFlags(fs *flag.FlagSet, tenants string) *authserver.PeopleAsked {
	a := &authserver.PeopleAsked{}
	fs.StringVar(&a.Tenant, "tenant", "", tenants)
	fs.IntVar(&a.Limit, "limit", 100, "at most `this many`")
	return a
}

func memberList(fs *flag.FlagSet) action {
	a := peopleFlags(fs, "`id` of the tenant")
	return func(ctx context.Context, c *call) error {
		var members []authserver.Member
		if err := c.act(ctx, "member.list", *a, &members); err != nil {
			return err
		}
		return c.showMembers(members)
	}
}

func (c *call) showMembers(members []authserver.Member) error {
	var rows []string
	for _, m := range members {
		rows = append(rows, strings.Join([]string{m.Email, m.Name, m.Role, yes(m.Admin), state(m.Disabled), m.UserID}, "\t"))
	}
	return c.table("MEMBER\tNAME\tROLE\tADMIN\tSTATE\tID", rows)
}

func memberRemove(fs *flag.FlagSet) action {
	s := authserver.MemberName{}
	fs.StringVar(&s.Email, "email", "", "`address` of the person")
	fs.StringVar(&s.Tenant, "tenant", "", "`id` of the tenant")
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "member.remove", s, nil); err != nil {
			return err
		}
		return c.say("%s belongs to %s no more, and what they allowed there has ended", s.Email, s.Tenant)
	}
}

func userList(fs *flag.FlagSet) action {
	a := peopleFlags(fs, "`id` of a tenant (default all)")
	return func(ctx context.Context, c *call) error {
		var users []authserver.User
		if err := c.act(ctx, "user.list", *a, &users); err != nil {
			return err
		}
		var rows []string
		for _, u := range users {
			rows = append(rows, strings.Join([]string{u.Email, u.Name, yes(u.Operator), state(u.Disabled), u.ID, when(u.CreatedAt)}, "\t"))
		}
		return c.table("USER\tNAME\tOPERATOR\tSTATE\tID\tCREATED", rows)
	}
}

func userDisable(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "user.disable", c.operand, nil); err != nil {
			return err
		}
		return c.say("%s is shut out; their sessions, and everything that they allowed, have ended", c.operand)
	}
}

func userEnable(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "user.enable", c.operand, nil); err != nil {
			return err
		}
		return c.say("%s can sign in again; what has ended stays ended", c.operand)
	}
}

func userSetPassword(fs *flag.FlagSet) action {
	stdin := passwordFlag(fs)
	return func(ctx context.Context, c *call) error {
		s := authserver.PasswordSpec{User: c.operand}
		var err error
		if *stdin {
			if s.Password, err = c.readPassword(); err != nil {
				return err
			}
		}
		var made string
		if err := c.act(ctx, "user.set_password", s, &made); err != nil {
			return err
		}
		if made == "" {
			return c.say("%s has another password, and their sessions have ended", c.operand)
		}
		return c.say("%s has another password, and their sessions have ended\npassword, shown this once: %s", c.operand, made)
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "-"
}

func state(disabled bool) string {
	if disabled {
		return "disabled"
	}
	return "active"
}
