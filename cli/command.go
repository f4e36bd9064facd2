package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/config/configfile"
	"github.com/gatehouse-mcp/gatehouse/shared/flags"
)

// command is the command that is being run: its settings, operands and output.
type command struct {
	program *Program
	settings
	flags   *pflag.FlagSet // of the settings
	origin  configfile.Origin
	name    string   // without the program's, as "tenant create"
	operand string   // the first operand
	rest    []string // all operands
	gateway string   // file of the gateway that is meant; empty: the built-in MCP server
	json    bool     // write the result as JSON
	as      string   // name of the operator; empty: the local user's
}

// action does what a command is for, once its flags and settings are read.
type action func(ctx context.Context, c *command) error

// The groups of commands in the help.
const (
	groupRun     = "run"
	groupAgents  = "agents"
	groupPeople  = "people"
	groupServers = "servers"
	groupOperate = "operate"
	groupGateway = "gateway"
)

// root returns the program's commands.
func (c *command) root() *cobra.Command {
	root := &cobra.Command{
		Use: Name, Short: "Gatehouse authorizes AI agents to use MCP servers, each tool by its scopes.",
		Version:       Version,
		SilenceErrors: true, SilenceUsage: true,
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true}, // the unknown command is the error
		Args:               unknownCommand, RunE: c.showHelp,
	}
	root.SetIn(c.program.Stdin)
	root.SetOut(c.program.Stdout) // before cobra makes the completion command, which keeps it
	root.SetErr(c.program.Stderr)
	for _, g := range []string{groupRun, groupAgents, groupPeople, groupServers, groupOperate, groupGateway} {
		root.AddGroup(&cobra.Group{ID: g, Title: strings.ToUpper(g[:1]) + g[1:]})
	}
	c.flags = pflag.NewFlagSet(Name, pflag.ContinueOnError)
	c.settings.register(c.flags)
	root.PersistentFlags().AddFlagSet(c.flags)
	root.AddCommand(c.serveCommand(), c.migrateCommands(), c.configCommands(), c.settingsCommand(), versionCommand(),
		c.clientCommands(), c.initialTokenCommands(), c.grantCommands(), c.attemptCommands(),
		c.tenantCommands(), c.policyCommands(), c.roleCommands(), c.userCommands(), c.memberCommands(),
		c.issuerCommands(), c.resourceCommands(), c.usageCommands(), c.rolloutCommands(), c.callsCommands(),
		c.explainCommand(), c.applyCommand(), c.keyCommands(), c.auditCommands(), c.jobCommands(), c.gatewayCommands())
	root.SetHelpFunc(c.help)
	root.SetFlagErrorFunc(flagError)
	root.SetVersionTemplate(Name + " " + Version + "\n")
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd("completion") // cobra leaves it out of a program that has no arguments
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Run, cmd.RunE = nil, helpTopic
		case "completion":
			cmd.Args, cmd.RunE = unknownCommand, c.showHelp
		default:
			c.addCommonFlags(cmd)
		}
	}
	c.completeFlags(root)
	return root
}

// noun returns a command whose subcommands act on one kind of thing. By itself it prints its help.
func (c *command) noun(group, name, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: short, GroupID: group, Args: unknownCommand, RunE: c.showHelp,
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
	}
	cmd.AddCommand(verbs...)
	return cmd
}

// verb returns a command that does something. use is its name and its operand, as in "show ID"; an
// operand in brackets may be left out. example is what follows the name. Of each of required, the
// names of flags separated by |, at least one flag must be given.
func (c *command) verb(use, short, example string, flags func(*pflag.FlagSet) action, required ...string,
) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Example: example}
	act := flags(cmd.Flags())
	for _, group := range required {
		names := strings.Split(group, "|")
		for _, name := range names {
			f := cmd.Flags().Lookup(name)
			f.Usage += " (required"
			if others := slices.DeleteFunc(slices.Clone(names),
				func(n string) bool { return n == name }); len(others) > 0 {
				f.Usage += ", or --" + strings.Join(others, ", or --")
			}
			f.Usage += ")"
		}
		if len(names) == 1 {
			_ = cmd.MarkFlagRequired(names[0]) // for completion; the flag is there
		}
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := c.readOperands(cmd, args); err != nil {
			return err
		}
		return c.checkFlags(cmd, required)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := c.load(cmd); err != nil {
			return err
		}
		return act(cmd.Context(), c)
	}
	return cmd
}

// load reads the settings that are not on the command line from the environment and the file.
func (c *command) load(cmd *cobra.Command) (err error) {
	c.origin, err = configfile.Load(cmd.Flags(), configfile.Options{
		Getenv: c.program.Getenv, Prefix: "GATEHOUSE_", FileFlag: "config",
		Setting: func(name string) bool { return c.flags.Lookup(name) != nil || name == "json" || name == "as" },
	})
	if err != nil {
		return usageError(cmd.CommandPath()+" -h lists what it takes", err)
	}
	return nil
}

// addCommonFlags adds the flags that many commands have to a command and its subcommands.
func (c *command) addCommonFlags(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		c.addCommonFlags(sub)
	}
	if cmd.RunE == nil || cmd.HasSubCommands() && cmd.Example == "" {
		return
	}
	fs, path := cmd.Flags(), commandName(cmd)
	if isOfTools(strings.ReplaceAll(path, " ", ".")) || slices.Contains([]string{"attempt list", "attempt show",
		"audit list", "audit verify", "explain"}, path) {
		fs.StringVar(&c.gateway, "gateway", "", "file of a gateway: its servers are meant, not the built-in MCP server")
	}
	if !slices.Contains([]string{"serve", "gateway serve", "settings", "version"}, path) {
		fs.BoolVar(&c.json, "json", false, "print JSON: times as in RFC 3339, durations in seconds")
	}
	if changes(path) {
		flags.Var(fs, "string", "as", "name of the operator, for the audit (default the local user's)",
			func(name string) error {
				if !audit.ValidOperator(name) {
					return errors.New("it has 1 to 64 letters, digits and . _ @ + -, with a letter or digit at " +
						"both ends")
				}
				c.as = name
				return nil
			}, func() string { return c.as })
	}
	c.completeFlags(cmd)
}

// changes says whether a command changes something that is audited in the operator's name.
func changes(path string) bool {
	noun, verb, _ := strings.Cut(path, " ")
	return path == "apply" || verb != "" &&
		!slices.Contains([]string{"migrate", "gateway", "config", "attempt"}, noun) &&
		!slices.Contains([]string{"list", "show", "report", "verify"}, verb)
}

// commandName is a command's name without the program's.
func commandName(cmd *cobra.Command) string { return strings.TrimPrefix(cmd.CommandPath(), Name+" ") }

// readOperands checks the number of operands. An operand without a value is missing also where it
// may be left out: it is an unset variable of the shell, and with one "grant revoke --tenant" would
// revoke all grants of the tenant.
func (c *command) readOperands(cmd *cobra.Command, args []string) error {
	c.name, c.rest = commandName(cmd), args
	_, operand, _ := strings.Cut(cmd.Use, " ")
	optional := strings.HasPrefix(operand, "[")
	if strings.HasPrefix(operand, "[--") { // any number
		return nil
	}
	if operand != "" && len(args) > 0 {
		c.operand, args = args[0], args[1:]
	}
	switch missing := strings.TrimSpace(c.operand) == "" && (len(c.rest) > 0 || !optional); {
	case len(args) > 0 && cmd.HasSubCommands():
		return unknownCommand(cmd, args)
	case len(args) > 0:
		return usageError(cmd.CommandPath()+" -h lists what it takes",
			fmt.Errorf("%s does not take %.80q", c.name, args[0]))
	case operand != "" && missing:
		return usageError(fmt.Sprintf("%s %s", cmd.CommandPath(), operand),
			fmt.Errorf("%s: %s is missing", c.name, strings.Trim(operand, "[]")))
	}
	return nil
}

// checkFlags rejects a command of which a required flag is missing, or a flag has no value: an
// unset variable of the shell. Without it the command would do more than was meant, as with
// --client of grant revoke, or --tool of rollout set.
func (c *command) checkFlags(cmd *cobra.Command, required []string) error {
	fs, err := cmd.Flags(), error(nil)
	for _, group := range required {
		names := strings.Split(group, "|")
		given := func(name string) bool { f := fs.Lookup(name); return f.Changed && f.Value.String() != "false" }
		if err == nil && !slices.ContainsFunc(names, given) {
			err = fmt.Errorf("%s: --%s is missing", c.name, strings.Join(names, " or --"))
		}
	}
	must := strings.Split(strings.Join(required, "|"), "|")
	fs.Visit(func(f *pflag.Flag) {
		if err == nil && c.flags.Lookup(f.Name) == nil && (changes(c.name) || slices.Contains(must, f.Name)) &&
			strings.TrimSpace(f.Value.String()) == "" {
			err = fmt.Errorf("%s: --%s has no value", c.name, f.Name)
		}
	})
	if err != nil {
		return usageError(cmd.CommandPath()+" -h lists what it takes, with an example", err)
	}
	return nil
}

// unknownCommand rejects the name of a subcommand that there is not.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := cmd.CommandPath() + " -h lists the commands"
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + cmd.CommandPath() + " " + near[0] + "?"
	}
	return usageError(hint, fmt.Errorf("there is no command %.80q",
		strings.TrimPrefix(cmd.CommandPath()+" "+args[0], Name+" ")))
}

// flagError adds a hint to an error about a flag.
func flagError(cmd *cobra.Command, err error) error {
	hint := cmd.CommandPath() + " -h lists what it takes"
	if unknown := (*pflag.NotExistError)(nil); errors.As(err, &unknown) {
		name := strings.TrimLeft(unknown.GetSpecifiedShortnames(), "-")
		if name == "" {
			name = unknown.GetSpecifiedName()
		}
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		if near := config.Nearest(name, known); config.Distance(name, near) <= 1+len(name)/4 {
			hint = "did you mean --" + near + "?"
		}
	}
	return usageError(hint, err)
}
