package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

func (c *command) userCommands() *cobra.Command {
	return c.noun(groupPeople, "user", "Manage people and their accounts",
		c.verb("create", "Create a person with a local account", "--email ann@acme.example --tenant acme --role reader",
			userCreate, "email"),
		c.verb("list", "List the people", "--tenant acme", userList),
		c.verb("disable EMAIL", "Disable a person, and revoke everything that they allowed", "ann@acme.example",
			userDisable),
		c.verb("enable EMAIL", "Let a disabled person sign in again", "ann@acme.example",
			simple("user.enable", "email", "%s can sign in again; what was revoked stays revoked")),
		c.verb("delete ID-OR-EMAIL",
			"Delete a person with their personal data, and revoke everything that they allowed",
			"ann@acme.example --yes", userDelete),
		c.verb("set-password EMAIL", "Replace a person's password, and end their sessions", "ann@acme.example",
			userSetPassword),
	)
}

func userCreate(fs *pflag.FlagSet) action {
	s := authserver.UserSpec{}
	fs.StringVar(&s.Email, "email", "", "e-mail address with which the person signs in")
	fs.BoolVar(&s.Verified, "verified", false,
		"you have verified that the address is the person's: clients with the scope email get email_verified")
	fs.StringVar(&s.Name, "name", "", "display name (default the part before the @)")
	fs.StringVar(&s.Tenant, "tenant", "", "id of a tenant to make the person a member of")
	fs.StringVar(&s.Role, "role", authserver.RoleReader, "role in that tenant")
	fs.BoolVar(&s.Operator, "operator", false, "the person may use the operator's console")
	stdin := passwordFlag(fs)
	return func(ctx context.Context, c *command) error {
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
		text, fields := fmt.Sprintf("user %s (%s)", made.User.Email, made.User.ID),
			[]field{{"id", made.User.ID}, {"email", made.User.Email}}
		return c.doneWithPassword(text, fields, made.Password)
	}
}

// doneWithPassword adds a password that was generated to a result.
func (c *command) doneWithPassword(text string, fields []field, password string) error {
	if password != "" {
		text += "\npassword, shown this once: " + password
		fields = append(fields, field{"password", password})
	}
	return c.done(text, fields...)
}

func passwordFlag(fs *pflag.FlagSet) *bool {
	return fs.Bool("password-stdin", false,
		"read the password from standard input (default a random one, which is shown once)")
}

// readPassword reads a line of standard input.
func (c *command) readPassword() (string, error) {
	line, err := bufio.NewReader(c.program.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	password := strings.TrimRight(line, "\r\n")
	if password == "" {
		return "", usageError("printf '%s\\n' \"$PASSWORD\" | "+Name+" "+c.name+" --password-stdin …",
			errors.New("there is no password on standard input"))
	}
	return password, nil
}

// peopleFlags defines the flags of a list of people.
func peopleFlags(fs *pflag.FlagSet, tenant string) *authserver.PeopleAsked {
	a := &authserver.PeopleAsked{}
	fs.StringVar(&a.Tenant, "tenant", "", tenant)
	limitFlag(fs, &a.Limit)
	return a
}

func userList(fs *pflag.FlagSet) action {
	return listOf("user.list", peopleFlags(fs, "id of a tenant (default all)"),
		"USER\tNAME\tOPERATOR\tSTATE\tID\tCREATED", func(_ *names, u authserver.User) []any {
			return []any{u.Email, u.Name, u.Operator, state(u.Disabled), u.ID, u.CreatedAt}
		})
}

// forceFlag defines --force of a command that may leave no administrator.
func forceFlag(fs *pflag.FlagSet, force *authserver.Force) {
	fs.BoolVar((*bool)(force), "force", false,
		"even if this leaves a tenant or the installation without an administrator, or without anyone who can "+
			"allow an agent anything, for an account in wrong hands; the audit records it")
}

func userDisable(fs *pflag.FlagSet) action {
	s := authserver.DisableSpec{}
	forceFlag(fs, &s.Force)
	return func(ctx context.Context, c *command) error {
		s.User = c.operand
		if err := c.act(ctx, "user.disable", s, nil); err != nil {
			return err
		}
		return c.done(c.operand+" is disabled; their sessions, and everything that they allowed, are revoked",
			field{"email", c.operand})
	}
}

func userDelete(fs *pflag.FlagSet) action {
	s := authserver.DeletionSpec{}
	forceFlag(fs, &s.Force)
	yes := yesFlag(fs)
	return func(ctx context.Context, c *command) error {
		if !*yes {
			if err := c.confirm("user "+c.operand+" is deleted for good, with their personal data, memberships "+
				"and grants",
				c.operand); err != nil {
				return err
			}
		}
		s.User = c.operand
		var done authserver.UserDeleted
		if err := c.act(ctx, "user.delete", s, &done); err != nil {
			return err
		}
		text := "user " + done.ID + " is deleted; their sessions, and everything that they allowed, are revoked"
		if done.Plain > 0 {
			text += fmt.Sprintf("\n%d audit records of an earlier version hold their e-mail address, or the "+
				"address from which they signed in; those are removed after --audit-retention", done.Plain)
		}
		return c.done(text, field{"id", done.ID}, field{"plain_records", done.Plain})
	}
}

func userSetPassword(fs *pflag.FlagSet) action {
	stdin := passwordFlag(fs)
	return func(ctx context.Context, c *command) error {
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
		return c.doneWithPassword(c.operand+" has another password, and their sessions have ended",
			[]field{{"email", c.operand}}, made)
	}
}

func state(disabled bool) string {
	if disabled {
		return "disabled"
	}
	return "active"
}

// yesFlag defines --yes of a command that asks before it does what cannot be undone.
func yesFlag(fs *pflag.FlagSet) *bool {
	return fs.Bool("yes", false, "do not ask for confirmation: it cannot be undone")
}

// confirm asks on the terminal for a word that shows that it is meant. Where there is no terminal,
// --yes is needed.
func (c *command) confirm(what, word string) error {
	in, ok := c.program.Stdin.(*os.File)
	if ok {
		info, err := in.Stat()
		ok = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	unasked := usageError(fmt.Sprintf("%s %s %s --yes", Name, c.name, word),
		fmt.Errorf("%s: it cannot be undone, and there is no terminal to ask for confirmation", c.name))
	if !ok {
		return unasked
	}
	fmt.Fprintf(c.program.Stderr, "%s. Type %s to confirm: ", what, word)
	line, err := bufio.NewReader(in).ReadString('\n')
	if errors.Is(err, io.EOF) && line == "" { // /dev/null is a character device, too
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
