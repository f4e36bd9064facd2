package cli

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

// scopesFlag registers a list of scopes.
func scopesFlag(fs *flag.FlagSet, usage string) *string { return fs.String("scopes", "", usage) }

func tenantCreate(fs *flag.FlagSet) action {
	id := fs.String("id", "", "`id` of the tenant, e.g. acme; it is the tenant_id of tokens and never changes")
	name := fs.String("name", "", "`name` for people (default the id)")
	scopes := scopesFlag(fs, "the most that its agents may ever do: `scopes`, comma-separated (default all there are)")
	return func(ctx context.Context, c *call) error {
		var t authserver.Tenant
		if err := c.act(ctx, "tenant.create", authserver.TenantSpec{ID: *id, Name: *name, Scopes: config.List(*scopes)},
			&t); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("tenant %s, with the roles %s and %s", t.ID, authserver.RoleAdmin,
			authserver.RoleReader), fact{"id", t.ID}, fact{"name", t.Name}, fact{"scopes", t.Scopes})
	}
}

func tenantList(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		var tenants []authserver.Tenant
		if err := c.act(ctx, "tenant.list", struct{}{}, &tenants); err != nil {
			return err
		}
		var rows [][]any
		for _, t := range tenants {
			rows = append(rows, []any{t.ID, t.Name, tenantState(t), t.Scopes})
		}
		return c.list("ID\tNAME\tSTATE\tSCOPES", rows)
	}
}

func rolePut(fs *flag.FlagSet) action {
	s := authserver.RoleSpec{}
	fs.StringVar(&s.Tenant, "tenant", "", "`id` of the tenant")
	fs.StringVar(&s.Role, "role", "", "`name` of the role, e.g. reader")
	scopes := scopesFlag(fs, "what the role gives: `scopes`, comma-separated")
	includes := fs.String("includes", "", "`roles` of the tenant, comma-separated, whose scopes it gives too")
	fs.BoolVar(&s.Admin, "admin", false,
		"people of the role look after the tenant's clients and roles, on pages of their own")
	forceFlag(fs, &s.Force)
	return func(ctx context.Context, c *call) error {
		s.Scopes, s.Includes = config.List(*scopes), config.List(*includes)
		if err := c.act(ctx, "role.put", s, nil); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("role %s of %s", s.Role, s.Tenant), fact{"tenant", s.Tenant}, fact{"role", s.Role})
	}
}

func userCreate(fs *flag.FlagSet) action {
	s := authserver.UserSpec{}
	fs.StringVar(&s.Email, "email", "", "`address` with which the person signs in")
	fs.BoolVar(&s.Verified, "verified", false,
		"you have verified that the address is the person's: clients that may read it get email_verified")
	fs.StringVar(&s.Name, "name", "", "`name` for people (default what stands before the @)")
	fs.StringVar(&s.Tenant, "tenant", "", "`id` of the tenant to which the person belongs (default none yet)")
	fs.StringVar(&s.Role, "role", authserver.RoleReader, "`role` in that tenant")
	fs.BoolVar(&s.Operator, "operator", false, "the person may use the operator's door")
	stdin := passwordFlag(fs)
	return func(ctx context.Context, c *call) error {
		if *stdin {
			var err error
			if s.Password, err = c.readPassword(); err != nil {
				return err
			}
		}
		var made authserver.UserMade
		if err := c.act(ctx, "user.create", s, &made); err != nil {
			return err
		}
		said, facts := fmt.Sprintf("user %s (%s)", made.User.Email, made.User.ID),
			[]fact{{"id", made.User.ID}, {"email", made.User.Email}}
		if made.Password != "" {
			said += "\npassword, shown this once: " + made.Password
			facts = append(facts, fact{"password", made.Password})
		}
		return c.done(said, facts...)
	}
}

func passwordFlag(fs *flag.FlagSet) *bool {
	return fs.Bool("password-stdin", false, "read the password from standard input (default a random one, shown once)")
}

// readPassword reads a line of standard input.
func (c *call) readPassword() (string, error) {
	line, err := bufio.NewReader(c.program.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	password := strings.TrimRight(line, "\r\n")
	if password == "" {
		return "", misused("printf '%s\\n' \"$PASSWORD\" | "+Name+" "+c.command.name+" --password-stdin …",
			errors.New("there is no password on standard input"))
	}
	return password, nil
}

func memberPut(fs *flag.FlagSet) action {
	s := authserver.MemberSpec{}
	fs.StringVar(&s.Email, "email", "", "`address` of the person")
	fs.StringVar(&s.Tenant, "tenant", "", "`id` of the tenant")
	fs.StringVar(&s.Role, "role", authserver.RoleReader, "`role` in that tenant, in place of an earlier one")
	forceFlag(fs, &s.Force)
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "member.put", s, nil); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("%s is %s of %s", s.Email, s.Role, s.Tenant), fact{"email", s.Email},
			fact{"tenant", s.Tenant}, fact{"role", s.Role})
	}
}
