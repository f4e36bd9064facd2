package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/config/configfile"
)

// action is what a command does once its words are read.
type action func(ctx context.Context, c *call) error

// command is one thing the program can be told to do.
type command struct {
	name string // one word or two
	// what must follow without a flag, e.g. "ID"; in brackets: what may, however many words; empty:
	// nothing
	operand string
	summary string
	example string // its words after the name
	// flags registers the command's own flags and returns the action that reads them.
	flags func(fs *flag.FlagSet) action
}

// commands is all that the program can be told, in the order of the help.
func commands() []command {
	return []command{
		{"serve", "", "run both wings in one process", "--data-dir /srv/gatehouse --demo=false", serveFlags},
		{"migrate", "", "bring the database schema up to date, and stop", "--data-dir /srv/gatehouse", migrateFlags},
		{"migrate status", "", "show how far the database schema is, and what is missing", "--data-dir /srv/gatehouse",
			migrateStatus},
		{"migrate repair", "", "finish a migration during which an earlier program was killed",
			"--data-dir /srv/gatehouse", migrateRepair},
		{"apply", "", "make resources, tenants, policies, roles and clients as a file says: all of it, or nothing",
			"-f organisation.yaml --dry-run", apply},
		{"tenant create", "", "make a tenant, with the roles agent-admin and reader",
			"--id acme --name 'Acme Corporation'", tenantCreate},
		{"tenant list", "", "list the tenants", "--json", tenantList},
		{"tenant show", "ID", "show a tenant with its policy, roles and people", "acme", tenantShow},
		{"tenant rename", "ID", "give a tenant another name for people", "acme --name 'Acme & Sons'", tenantRename},
		{"tenant suspend", "ID", "keep everybody from everything that is for a tenant, and refuse its tokens, until " +
			"it is resumed", "acme", tenantSuspend},
		{"tenant resume", "ID", "end the suspension of a tenant", "acme", tenantResume},
		{"tenant delete", "ID",
			"remove a tenant with its memberships, roles, clients and trusted issuers, and revoke every grant for it",
			"acme --yes", tenantDelete},
		{"policy show", "TENANT", "show what a tenant allows", "acme", policyShow},
		{"policy set", "", "say which scopes, clients and lives of tokens a tenant allows; what is not named stays",
			"--tenant acme --registrations operator,tenant --max-access-token-lifetime 5m", policySet},
		{"role put", "", "make or replace a role of a tenant",
			"--tenant acme --role clerk --scopes customers:read,tickets:write", rolePut},
		{"role list", "", "list the roles of a tenant, and what each gives", "--tenant acme", roleList},
		{"role delete", "ROLE", "remove a role that nobody has", "clerk --tenant acme", roleDelete},
		{"resource put", "URI", "make or replace a protected server whose tokens are issued",
			"https://notes.example.com/mcp --name Notes --scope 'notes:read=Read your notes' --baseline notes:read",
			resourcePut},
		{"resource list", "", "list the protected servers", "", resourceList},
		{"resource remove", "URI", "issue no more tokens for a protected server", "https://notes.example.com/mcp",
			resourceRemove},
		{"user create", "", "make a person with a local account",
			"--email ann@acme.example --tenant acme --role reader", userCreate},
		{"user list", "", "list the people", "--tenant acme", userList},
		{"user disable", "EMAIL", "shut a person out, and end all that they allowed, at once", "ann@acme.example",
			userDisable},
		{"user enable", "EMAIL", "let a person in again who was shut out", "ann@acme.example", userEnable},
		{"user delete", "ID-OR-EMAIL",
			"delete a person and their personal data, and revoke all that they allowed, at once",
			"ann@acme.example --yes", userDelete},
		{"user set-password", "EMAIL", "replace a person's password, and end their sessions", "ann@acme.example",
			userSetPassword},
		{"member put", "", "give a person a role in a tenant",
			"--email ann@acme.example --tenant acme --role agent-admin", memberPut},
		{"member list", "", "list the people of a tenant", "--tenant acme", memberList},
		{"member remove", "", "take a person out of a tenant, and end what they allowed there",
			"--email ann@acme.example --tenant acme", memberRemove},
		{"client create", "", "make a machine client, or an application that people let in",
			"--tenant acme --name nightly --scopes customers:read", clientCreate},
		{"client list", "", "list the clients", "--tenant acme", clientList},
		{"client disable", "ID", "keep a client from everything, and refuse its tokens, until it is enabled; its " +
			"grants stay", "cli_TwQ2h0S3kdmVy7RZ1nLb5g", clientDisable},
		{"client enable", "ID", "let a client act again that was disabled", "cli_TwQ2h0S3kdmVy7RZ1nLb5g", clientEnable},
		{"client delete", "ID", "make a client unknown, and end all its grants at once", "cli_TwQ2h0S3kdmVy7RZ1nLb5g",
			clientDelete},
		{"client replace-secret", "ID", "give a client another secret; the one before counts for a while beside it",
			"cli_TwQ2h0S3kdmVy7RZ1nLb5g --overlap 1h", clientReplaceSecret},
		{"initial-token create", "", "make a token with which a tenant's clients register themselves",
			"--tenant acme --uses 5 --lifetime 24h", initialTokenCreate},
		{"issuer trust", "ISSUER", "let a tenant's own identity provider say who lets which client in",
			"https://login.acme.example --tenant acme --jwks-uri https://login.acme.example/keys", issuerTrust},
		{"issuer list", "", "list the identity providers that tenants trust", "--tenant acme", issuerList},
		{"issuer distrust", "ISSUER", "end the trust in one, and what it let in", "https://login.acme.example",
			issuerDistrust},
		{"grant list", "", "list what agents were allowed", "--tenant acme --active", grantList},
		{"grant revoke", "[ID]", "revoke a grant, or all of a client, a person or a tenant, with every token, at once",
			"grt_Jm3xR8uW0aYcT6vK2pQe9s --reason 'laptop lost'", grantRevoke},
		{"key list", "", "list the signing keys: next, active, retired", "--all", keyList},
		{"key rotate", "", "make the next signing key", "--algorithm ES256", keyRotate},
		{"key withdraw", "KID", "take a signing key out of use at once, with every token of it",
			"wq2XfTzL0mB8cD5vR1nYk7sJgHpEaUiOZx3M4tCbFhQ --emergency", keyWithdraw},
		{"key reseal", "", "seal the signing keys under another key-encryption key", "--new-key-file new-key.txt",
			keyReseal},
		{"usage list", "", "show which tools were used by whom", "--tenant acme --since 168h", usageList},
		{"rollout set", "MODE", "say how strictly the rules count for a tenant: observe, enforce_writes or enforce",
			"observe --tenant acme", rolloutSet},
		{"rollout report", "", "show who would be refused what, and where it is safe to enforce",
			"--tenant acme --within 72h", rolloutReport},
		{"explain", "", "show which tools a caller sees, and by which rule", "--token - < token.txt", explain},
		{"attempt list", "", "list the attempts of clients to connect, and the step at which each stopped",
			"--failed --since 1h", attemptList},
		{"attempt show", "ID", "show one attempt of a client to connect", "con_4f1c2a", attemptShow},
		{"audit list", "", "show who did what, what was refused, and what is unusual", "--tenant acme --since 24h",
			auditList},
		{"calls set", "KEEP", "say of which tool calls of a tenant records are kept: all, or refusals_and_writes",
			"refusals_and_writes --tenant acme", callsSet},
		{"calls show", "", "show of which tool calls records are kept, where it is not of all", "--json", callsShow},
		{"audit verify", "", "prove that no audit record was changed, taken out, put in or moved since it was sealed",
			"--head 1041:9f2c4b…", auditVerify},
		{"job list", "", "show the work that clears away what is over, and how its last runs went", "--json", jobList},
		{"job run", "NAME", "do such work now", "refresh-tokens", jobRun},
		{"gateway serve", "", "put existing MCP servers behind the guard, as a file says", "--file gateway.yaml",
			gatewayServe},
		{"gateway init", "[-- PROGRAM]", "read what an MCP server offers, and write a file to begin with",
			"--upstream http://127.0.0.1:9000/mcp --name notes", gatewayInit},
		{"gateway approve", "", "look at the servers' tools again, and write down that they are as they should be",
			"--look", gatewayApprove},
		{"config show", "", "show every setting with its value", "--origin", configShow},
		{"config validate", "", "say whether the settings are right, and change nothing", "--config gatehouse.yaml",
			configValidate},
		{"completion", "SHELL", "print what makes bash, zsh or fish complete these words",
			"bash > /etc/bash_completion.d/gatehouse", completion},
	}
}

// ofTools says whether a command is about MCP servers, of which a gateway may have some.
func (c command) ofTools() bool {
	return slices.Contains([]string{"usage list", "rollout set", "rollout report", "explain", "attempt list",
		"attempt show", "audit list", "audit verify", "calls set", "calls show"}, c.name)
}

// acts says whether a command does something that the audit keeps, in the operator's name.
func (c command) acts() bool {
	noun, verb, _ := strings.Cut(c.name, " ")
	return c.name == "apply" || verb != "" && !slices.Contains([]string{"migrate", "gateway", "config", "attempt"},
		noun) &&
		!slices.Contains([]string{"list", "show", "report", "verify"}, verb)
}

// find splits the words into a command and what follows it.
func find(words []string) (command, []string, error) {
	for n := min(2, len(words)); n > 0; n-- { // migrate status is no operand of migrate
		for _, c := range commands() {
			if c.name == strings.Join(words[:n], " ") {
				return c, words[n:], nil
			}
		}
	}
	var same []string
	for _, c := range commands() {
		if noun, verb, ok := strings.Cut(c.name, " "); ok && noun == words[0] {
			same = append(same, verb)
		}
	}
	if len(same) > 0 {
		return command{}, nil, misused(fmt.Sprintf("%s %s %s", Name, words[0], strings.Join(same, "|")),
			fmt.Errorf("%s what?", words[0]))
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
	json    bool     // answer in JSON
	as      string   // the name of the operator; empty: the local user's
	flags   *flag.FlagSet
	own     map[string]bool // flags that are the command's alone
	origin  configfile.Origin
}

// register registers all flags of the command; own are those that are not every command's.
func (c *call) register(fs *flag.FlagSet) (act action, own map[string]bool) {
	act = c.command.flags(fs)
	if c.command.ofTools() {
		fs.StringVar(&c.gateway, "gateway", "",
			"`file` of a gateway, whose servers are meant in place of the companion's")
	}
	if !strings.HasSuffix(c.command.name, "serve") && c.command.name != "completion" {
		fs.BoolVar(&c.json, "json", false, "answer in JSON: times as in RFC 3339, durations in seconds")
	}
	if c.command.acts() {
		fs.Func("as", "`name` of the operator who does it, for the audit (default the local user's)",
			func(name string) error {
				if !audit.ValidOperator(name) {
					return errors.New("it has 1 to 64 letters, digits and . _ @ + -, with a letter or digit at " +
						"both ends")
				}
				c.as = name
				return nil
			})
	}
	own = map[string]bool{}
	fs.VisitAll(func(f *flag.Flag) { own[f.Name] = true })
	c.settings.register(fs)
	return act, own
}

// parse reads flags, environment and file.
func (c *call) parse(words []string) (action, error) {
	fs := flag.NewFlagSet(c.command.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	act, own := c.register(fs)
	c.own = own
	maybe := c.command.operand == "[ID]"
	one := maybe || c.command.operand != "" && c.command.operand[0] != '['
	before := one && len(words) > 0 && !isFlag(fs, words[0])
	if before {
		c.operand, words = words[0], words[1:]
	}
	var err error
	c.flags = fs
	c.origin, err = configfile.Load(fs, configfile.Options{
		Args: words, Getenv: c.program.Getenv, Prefix: "GATEHOUSE_", FileFlag: "config",
		Setting: func(name string) bool { return !own[name] || name == "json" || name == "as" },
	})
	switch {
	case errors.Is(err, flag.ErrHelp):
		c.describe(fs, own)
		return nil, err
	case err != nil:
		return nil, misused(fmt.Sprintf("%s %s -h lists what it takes", Name, c.command.name), err)
	}
	if err := c.operands(fs, one, maybe, before); err != nil {
		return nil, err
	}
	return act, c.lacks()
}

// operands reads the words that are no flags; named says that the operand came before the flags. An
// operand without a value is missing also where it may be left out: it is a variable of the shell
// that is not set, and "grant revoke --tenant" with one would revoke all.
func (c *call) operands(fs *flag.FlagSet, one, maybe, named bool) error {
	rest := fs.Args()
	if c.command.operand != "" && !one {
		c.rest = rest
		return nil
	}
	if one && !named && len(rest) > 0 {
		c.operand, rest, named = rest[0], rest[1:], true
	}
	if len(rest) > 0 {
		return misused(fmt.Sprintf("%s %s -h lists what it takes", Name, c.command.name),
			fmt.Errorf("%s does not take %.80q", c.command.name, rest[0]))
	}
	if one && (named || !maybe) && strings.TrimSpace(c.operand) == "" {
		return misused(fmt.Sprintf("%s %s %s", Name, c.command.name, c.command.operand),
			fmt.Errorf("%s: %s is missing", c.command.name, strings.Trim(c.command.operand, "[]")))
	}
	return nil
}

// isFlag says whether a word is one of the flags, or asks for help. Not every word that begins with
// a hyphen is: one key id in 64 does.
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
	fmt.Fprintf(w, "\n%s help COMMAND, or COMMAND -h, tells more. Every setting may be an environment variable too: "+
		"--data-dir is\n", Name)
	fmt.Fprintf(w, "GATEHOUSE_DATA_DIR. A YAML file with the same names is read with --config. %s config show "+
		"--origin says what counts.\n", Name)
}

// describe prints a command's help: its own flags first, then the settings that every command
// reads.
func (c *call) describe(fs *flag.FlagSet, own map[string]bool) {
	w := c.program.Stdout
	fmt.Fprintf(w, "%s %s [flags]: %s\n", Name, strings.TrimSpace(c.command.name+" "+c.command.operand),
		c.command.summary)
	fmt.Fprintf(w, "\nexample\n  %s\n", strings.TrimSpace(Name+" "+c.command.name+" "+c.command.example))
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
			_, usage := flag.UnquoteUsage(f)
			if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" {
				usage += " (default " + f.DefValue + ")"
			}
			if others, must := c.requires(f.Name); must && len(others) > 0 {
				usage += " (required, or " + flagsOf(others) + ")"
			} else if must {
				usage += " (required)"
			}
			fmt.Fprintf(w, "  %s\n        %s\n", strings.TrimSpace("--"+f.Name+" "+valueType(f)), usage)
		})
	}
	show("flags", func(name string) bool { return own[name] })
	show("settings, the same for every command", func(name string) bool { return !own[name] })
}

// valueType names the type of a flag's value in its help: duration, int, url, list or string;
// empty: it has none.
func valueType(f *flag.Flag) string {
	if b, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
		return ""
	}
	if g, ok := f.Value.(flag.Getter); ok {
		switch g.Get().(type) {
		case time.Duration:
			return "duration"
		case int, int64, uint, uint64:
			return "int"
		}
	}
	named, usage := flag.UnquoteUsage(f)
	switch {
	case strings.Contains(usage, "comma-separated"):
		return "list"
	case strings.EqualFold(named, "url"):
		return "url"
	}
	return "string"
}
