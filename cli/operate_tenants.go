package cli

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
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
		return c.answer(
			part{name: "tenant", facts: []fact{{"id", t.ID}, {"name", t.Name}, {"state", tenantState(t.Tenant)},
				{"created", t.CreatedAt}}},
			part{name: "policy", title: "policy:", facts: policyFacts(t.Policy)}, rolesPart(t.Roles),
			membersPart(t.Members),
		)
	}
}

func tenantRename(fs *flag.FlagSet) action {
	name := fs.String("name", "", "`name` for people")
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "tenant.rename", authserver.TenantName{ID: c.operand, Name: *name}, nil); err != nil {
			return err
		}
		return c.done("tenant "+c.operand+" has another name", fact{"id", c.operand}, fact{"name", *name})
	}
}

func tenantState(t authserver.Tenant) string {
	if t.SuspendedAt.IsZero() {
		return "active"
	}
	return "suspended"
}

func tenantSuspend(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "tenant.suspend", c.operand, nil); err != nil {
			return err
		}
		return c.done("tenant "+c.operand+" is suspended, and its tokens are refused; its people, clients and "+
			"grants stay", fact{"id", c.operand})
	}
}

func tenantResume(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "tenant.resume", c.operand, nil); err != nil {
			return err
		}
		return c.done("tenant "+c.operand+" is resumed; tokens of before stay refused, and its grants bring others",
			fact{"id", c.operand})
	}
}

func tenantDelete(fs *flag.FlagSet) action {
	yes := yesFlag(fs)
	return func(ctx context.Context, c *call) error {
		if !*yes {
			if err := c.confirm("tenant "+c.operand+" goes for good, with its memberships, roles, clients and grants",
				c.operand); err != nil {
				return err
			}
		}
		if err := c.act(ctx, "tenant.delete", c.operand, nil); err != nil {
			return err
		}
		return c.done("tenant "+c.operand+" is gone, and every grant for it is revoked; its people keep their accounts",
			fact{"id", c.operand})
	}
}

// yesFlag registers --yes of a command that asks before it does what cannot be taken back.
func yesFlag(fs *flag.FlagSet) *bool {
	return fs.Bool("yes", false, "do not ask: it cannot be taken back")
}

// confirm asks on the terminal for a word that only somebody who means it types. Where there is no
// terminal, it wants --yes.
func (c *call) confirm(what, word string) error {
	in, ok := c.program.Stdin.(*os.File)
	if ok {
		info, err := in.Stat()
		ok = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	unasked := misused(fmt.Sprintf("%s %s %s --yes", Name, c.command.name, word),
		fmt.Errorf("%s: it cannot be taken back, and nobody can be asked here", c.command.name))
	if !ok {
		return unasked
	}
	fmt.Fprintf(c.program.Stderr, "%s. Type %s to go on: ", what, word)
	line, err := bufio.NewReader(in).ReadString('\n')
	if errors.Is(err, io.EOF) && line == "" { // /dev/null is a terminal to none but the kernel
		fmt.Fprintln(c.program.Stderr)
		return unasked
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if strings.TrimSpace(line) != word {
		return errors.New("nothing was done")
	}
	return nil
}

// anyOf is the word that takes a restriction of a policy away.
const anyOf = "any"

// ceilingList registers a list of the policy: what is not named stays as it is, and "any" is the
// empty list.
func ceilingList(fs *flag.FlagSet, to **[]string, name, usage string) {
	fs.Func(name, usage, func(words string) error {
		list := []string{}
		if words != anyOf {
			if list = config.List(words); len(list) == 0 {
				return errors.New("it names nothing: a variable of the shell that is empty would take the " +
					"restriction away; any does that")
			}
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
	ceilingList(fs, &s.Scopes, "scopes", "the most that its agents may ever do: `scopes`, comma-separated")
	moreList(fs, &s.AddScopes, "add-scopes",
		"`scopes` that its agents may have beside those they may have now, comma-separated")
	moreList(fs, &s.RemoveScopes, "remove-scopes", "`scopes` that its agents may have no more, comma-separated")
	ceilingList(fs, &s.Clients, "clients", "`ids` of the only clients that are let in, comma-separated, or any")
	ceilingList(fs, &s.Registrations, "registrations",
		"`ways` in which clients may have become known, comma-separated: operator, document, dynamic, tenant; or any")
	ceilingLife(fs, &s.MaxAccessTokenLifetime, "max-access-token-lifetime",
		"the longest `life` of an access token, e.g. 5m; 0: the resource's")
	ceilingLife(fs, &s.MaxRefreshTokenLifetime, "max-refresh-token-lifetime",
		"how `long` after a person's consent a permission can be renewed, e.g. 24h; 0: as long as the issuer lets it")
	forceFlag(fs, &s.Force)
	return func(ctx context.Context, c *call) error {
		var p authserver.Policy
		if err := c.act(ctx, "policy.set", s, &p); err != nil {
			return err
		}
		return c.facts(policyFacts(p))
	}
}

// moreList is a flag whose words are added to a list, comma-separated.
func moreList(fs *flag.FlagSet, to *[]string, name, usage string) {
	fs.Func(name, usage, func(words string) error {
		*to = append(*to, config.List(words)...)
		return nil
	})
}

func policyShow(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		var p authserver.Policy
		if err := c.act(ctx, "policy.show", c.operand, &p); err != nil {
			return err
		}
		return c.facts(policyFacts(p))
	}
}

// policyFacts are what a policy allows. An empty list is any, and no life the issuer's.
func policyFacts(p authserver.Policy) []fact {
	return []fact{{"scopes", p.Scopes}, {"clients", anyList(p.Clients)}, {"registrations", anyList(p.Registrations)},
		{"max_access_token_lifetime", p.MaxAccessTokenLifetime},
		{"max_refresh_token_lifetime", p.MaxRefreshTokenLifetime}}
}

func anyList(words []string) []string {
	if len(words) == 0 {
		return []string{anyOf}
	}
	return words
}

func roleList(fs *flag.FlagSet) action {
	tenant := fs.String("tenant", "", "`id` of the tenant")
	return func(ctx context.Context, c *call) error {
		var roles []authserver.Role
		if err := c.act(ctx, "role.list", *tenant, &roles); err != nil {
			return err
		}
		return c.list(rolesPart(roles).heading, rolesPart(roles).rows)
	}
}

func rolesPart(roles []authserver.Role) part {
	p := part{name: "roles", title: "roles:", heading: "ROLE\tADMIN\tSCOPES\tINCLUDES\tGIVES"}
	for _, r := range roles {
		p.rows = append(p.rows, []any{r.Name, r.Admin, r.Scopes, r.Includes, r.Gives})
	}
	return p
}

func roleDelete(fs *flag.FlagSet) action {
	tenant := fs.String("tenant", "", "`id` of the tenant")
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "role.delete", authserver.RoleName{Tenant: *tenant, Role: c.operand}, nil); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("role %s of %s is gone", c.operand, *tenant), fact{"tenant", *tenant},
			fact{"role", c.operand})
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
		return c.list(membersPart(members).heading, membersPart(members).rows)
	}
}

func membersPart(members []authserver.Member) part {
	p := part{name: "members", title: "members:", heading: "MEMBER\tNAME\tROLE\tADMIN\tSTATE\tID"}
	for _, m := range members {
		p.rows = append(p.rows, []any{m.Email, m.Name, m.Role, m.Admin, state(m.Disabled), m.UserID})
	}
	return p
}

func memberRemove(fs *flag.FlagSet) action {
	s := authserver.RemovalSpec{}
	fs.StringVar(&s.Email, "email", "", "`address` of the person")
	fs.StringVar(&s.Tenant, "tenant", "", "`id` of the tenant")
	forceFlag(fs, &s.Force)
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "member.remove", s, nil); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("%s belongs to %s no more, and what they allowed there has ended", s.Email, s.Tenant),
			fact{"email", s.Email}, fact{"tenant", s.Tenant})
	}
}

func userList(fs *flag.FlagSet) action {
	a := peopleFlags(fs, "`id` of a tenant (default all)")
	return func(ctx context.Context, c *call) error {
		var users []authserver.User
		if err := c.act(ctx, "user.list", *a, &users); err != nil {
			return err
		}
		var rows [][]any
		for _, u := range users {
			rows = append(rows, []any{u.Email, u.Name, u.Operator, state(u.Disabled), u.ID, u.CreatedAt})
		}
		return c.list("USER\tNAME\tOPERATOR\tSTATE\tID\tCREATED", rows)
	}
}

// forceFlag registers --force of a command that may leave nobody who administers.
func forceFlag(fs *flag.FlagSet, force *authserver.Force) {
	fs.BoolVar((*bool)(force), "force", false,
		"also when nobody is left then who administers a tenant or this installation, or could allow an agent "+
			"anything there, as when the account is in wrong hands; the audit says so")
}

func userDisable(fs *flag.FlagSet) action {
	s := authserver.DisableSpec{}
	forceFlag(fs, &s.Force)
	return func(ctx context.Context, c *call) error {
		s.User = c.operand
		if err := c.act(ctx, "user.disable", s, nil); err != nil {
			return err
		}
		return c.done(c.operand+" is shut out; their sessions, and everything that they allowed, have ended",
			fact{"email", c.operand})
	}
}

func userDelete(fs *flag.FlagSet) action {
	s := authserver.DeletionSpec{}
	forceFlag(fs, &s.Force)
	yes := yesFlag(fs)
	return func(ctx context.Context, c *call) error {
		if !*yes {
			if err := c.confirm("user "+c.operand+" goes for good, with their personal data, memberships and grants",
				c.operand); err != nil {
				return err
			}
		}
		s.User = c.operand
		var done authserver.UserDeleted
		if err := c.act(ctx, "user.delete", s, &done); err != nil {
			return err
		}
		said := "user " + done.ID + " is deleted; their sessions, and everything that they allowed, have ended"
		if done.Plain > 0 {
			said += fmt.Sprintf("\n%d audit records from before this version say their address, or from where they "+
				"signed in; those go with --audit-retention", done.Plain)
		}
		return c.done(said, fact{"id", done.ID}, fact{"plain_records", done.Plain})
	}
}

func userEnable(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "user.enable", c.operand, nil); err != nil {
			return err
		}
		return c.done(c.operand+" can sign in again; what has ended stays ended", fact{"email", c.operand})
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
		said, facts := c.operand+" has another password, and their sessions have ended", []fact{{"email", c.operand}}
		if made != "" {
			said += "\npassword, shown this once: " + made
			facts = append(facts, fact{"password", made})
		}
		return c.done(said, facts...)
	}
}

func state(disabled bool) string {
	if disabled {
		return "disabled"
	}
	return "active"
}
