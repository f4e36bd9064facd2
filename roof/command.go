package roof

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

// action is what a command does once its words are read.
type action func(ctx context.Context, c *call) error

// command is one thing the program can be told to do.
type command struct {
	name    string // one word or two
	operand string // what must follow without a flag, e.g. "ID"; in brackets: what may, however many words; empty: nothing
	summary string
	// flags registers the command's own flags and returns the action that reads them.
	flags func(fs *flag.FlagSet) action
}

// commands is all that the program can be told, in the order of the help.
func commands() []command {
	return []command{
		{"serve", "", "run both wings in one process", serveFlags},
		{"migrate", "", "bring the database schema up to date, and stop", migrateFlags},
		{"tenant create", "", "make a tenant, with the roles agent-admin and reader", tenantCreate},
		{"tenant list", "", "list the tenants", tenantList},
		{"role put", "", "make or replace a role of a tenant", rolePut},
		{"user create", "", "make a person with a local account", userCreate},
		{"member put", "", "give a person a role in a tenant", memberPut},
		{"client create", "", "make a machine client, or an application that people let in", clientCreate},
		{"client list", "", "list the clients", clientList},
		{"client delete", "ID", "make a client unknown, and end all its grants at once", clientDelete},
		{"client replace-secret", "ID", "give a client another secret; the one before counts for a while beside it", clientReplaceSecret},
		{"initial-token create", "", "make a token with which a tenant's clients register themselves", initialTokenCreate},
		{"issuer trust", "ISSUER", "let a tenant's own identity provider say who lets which client in", issuerTrust},
		{"issuer list", "", "list the identity providers that tenants trust", issuerList},
		{"issuer distrust", "ISSUER", "end the trust in one, and what it let in", issuerDistrust},
		{"grant list", "", "list what agents were allowed", grantList},
		{"grant end", "ID", "end a grant, and every token of it, at once", grantEnd},
		{"keys list", "", "list the signing keys", keysList},
		{"keys rotate", "", "make the next signing key", keysRotate},
		{"keys withdraw", "KID", "take a signing key out of use at once", keysWithdraw},
		{"usage list", "", "show which tools were used by whom", usageList},
		{"rollout set", "MODE", "say how strictly the rules count for a tenant: observe, enforce_writes or enforce", rolloutSet},
		{"rollout report", "", "show who would be refused what, and where it is safe to enforce", rolloutReport},
		{"explain", "", "show which tools a caller sees, and by which rule", explain},
		{"connection list", "", "show how far each client came on its way in, and why no further", connectionList},
		{"connection show", "ID", "show one attempt whole", connectionShow},
		{"connections", "", "the same as connection list", connectionList},
		{"audit list", "", "show who did what, and what is unusual", auditList},
		{"gateway serve", "", "put existing MCP servers behind the guard, as a file says", gatewayServe},
		{"gateway init", "[-- PROGRAM]", "read what an MCP server offers, and write a file to begin with", gatewayInit},
		{"gateway approve", "", "look at the servers' tools again, and write down that they are as they should be", gatewayApprove},
	}
}

// ofTools says whether a command is about MCP servers, of which a gateway may have some.
func (c command) ofTools() bool {
	return slices.Contains([]string{"usage list", "rollout set", "rollout report", "explain", "connection list", "connection show", "connections", "audit list"}, c.name)
}

// find splits the words into a command and what follows it.
func find(words []string) (command, []string, error) {
	for _, c := range commands() {
		name := strings.Fields(c.name)
		if len(words) >= len(name) && slices.Equal(words[:len(name)], name) {
			return c, words[len(name):], nil
		}
	}
	var same []string
	for _, c := range commands() {
		if noun, verb, ok := strings.Cut(c.name, " "); ok && noun == words[0] {
			same = append(same, verb)
		}
	}
	if len(same) > 0 {
		return command{}, nil, misused(fmt.Sprintf("%s %s %s", Name, words[0], strings.Join(same, "|")), fmt.Errorf("%s what?", words[0]))
	}
	return command{}, nil, misused(Name+" help lists the commands", fmt.Errorf("there is no command %.80q", words[0]))
}

// call is one command with the words that were said.
type call struct {
	program *Program
	command command
	settings
	operand string
	rest    []string // of a command that takes many words
	gateway string   // the file of the gateway that is meant; empty: the MCP server
}

// parse reads flags, environment and file.
func (c *call) parse(words []string) (action, error) {
	fs := flag.NewFlagSet(c.command.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	act := c.command.flags(fs)
	if c.command.ofTools() {
		fs.StringVar(&c.gateway, "gateway", "", "`file` of a gateway, whose servers are meant in place of the companion's")
	}
	own := map[string]bool{}
	fs.VisitAll(func(f *flag.Flag) { own[f.Name] = true })
	c.settings.register(fs)
	one := c.command.operand != "" && c.command.operand[0] != '['
	if one && len(words) > 0 && !isFlag(fs, words[0]) {
		c.operand, words = words[0], words[1:]
	}
	err := config.Load(fs, config.LoadOptions{Args: words, Getenv: c.program.Getenv, Prefix: "GATEHOUSE_", FileFlag: "config"})
	switch {
	case errors.Is(err, flag.ErrHelp):
		c.describe(fs, own)
		return nil, err
	case err != nil:
		return nil, misused(fmt.Sprintf("%s %s -h lists what it takes", Name, c.command.name), err)
	}
	rest := fs.Args()
	if c.command.operand != "" && !one {
		c.rest = rest
		return act, nil
	}
	if one && c.operand == "" && len(rest) > 0 {
		c.operand, rest = rest[0], rest[1:]
	}
	if len(rest) > 0 {
		return nil, misused(fmt.Sprintf("%s %s -h lists what it takes", Name, c.command.name), fmt.Errorf("%s does not take %.80q", c.command.name, rest[0]))
	}
	if one && c.operand == "" {
		return nil, misused(fmt.Sprintf("%s %s %s", Name, c.command.name, c.command.operand), fmt.Errorf("%s: which?", c.command.name))
	}
	return act, nil
}

// isFlag says whether a word is one of the flags, or asks for help. Not every word that begins with a hyphen is: one key id in 64 does.
func isFlag(fs *flag.FlagSet, word string) bool {
	name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-"), "=")
	return strings.HasPrefix(word, "-") && (fs.Lookup(name) != nil || name == "h" || name == "help")
}

// help describes the program or one command.
func (p *Program) help(words []string) error {
	if len(words) == 0 {
		p.usage(p.Stdout)
		return nil
	}
	c, _, err := find(words)
	if err != nil {
		return err
	}
	_, err = (&call{program: p, command: c}).parse([]string{"-h"})
	return err
}

func (p *Program) usage(w io.Writer) {
	fmt.Fprintf(w, "%s lets AI agents in with exactly the tools they may use.\n\n", Name)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %s %-24s %s\n", Name, strings.TrimSpace(c.name+" "+c.operand), c.summary)
	}
	fmt.Fprintf(w, "  %s %-24s %s\n", Name, "version", "say which version this is")
	fmt.Fprintf(w, "\n%s help COMMAND, or COMMAND -h, tells more. Every flag may be an environment variable too:\n", Name)
	fmt.Fprintf(w, "-data-dir is GATEHOUSE_DATA_DIR. A JSON file with the same names is read with -config.\n")
}

// describe prints a command's help: its own flags first, then the settings that every command reads.
func (c *call) describe(fs *flag.FlagSet, own map[string]bool) {
	w := c.program.Stdout
	fmt.Fprintf(w, "%s %s [flags]: %s\n", Name, strings.TrimSpace(c.command.name+" "+c.command.operand), c.command.summary)
	show := func(title string, which func(string) bool) {
		printed := false
		fs.VisitAll(func(f *flag.Flag) {
			if !which(f.Name) {
				return
			}
			if !printed {
				fmt.Fprintf(w, "\n%s\n", title)
				printed = true
			}
			value, usage := flag.UnquoteUsage(f)
			if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" {
				usage += " (default " + f.DefValue + ")"
			}
			fmt.Fprintf(w, "  --%s %s\n        %s\n", f.Name, value, usage)
		})
	}
	show("flags", func(name string) bool { return own[name] })
	show("settings, the same for every command", func(name string) bool { return !own[name] })
}
