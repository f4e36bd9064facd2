package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpWidth is the width of the help in characters.
const helpWidth = 100

// help prints what a command does: its subcommands, or its own flags and those that most commands
// have. The other settings are a topic of their own.
func (c *command) help(cmd *cobra.Command, _ []string) {
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "%s\n\nUsage:\n  %s\n", strings.TrimSpace(cmp.Or(cmd.Long, cmd.Short)), usageLine(cmd))
	if cmd.Example != "" {
		fmt.Fprintf(w, "\nExample:\n  %s\n", exampleLine(cmd))
	}
	if cmd.HasSubCommands() {
		listCommands(w, cmd)
	}
	common, own := pflag.NewFlagSet("", 0), pflag.NewFlagSet("", 0)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		switch {
		case f.Name == "config" || f.Name == "data-dir" || f.Name == "json":
			common.AddFlag(f)
		case f.Name != "help" && f.Name != "version" && c.flags.Lookup(f.Name) == nil:
			own.AddFlag(f)
		}
	})
	if own.HasFlags() {
		fmt.Fprintf(w, "\nFlags:\n%s", own.FlagUsagesWrapped(helpWidth))
	}
	if cmd.HasSubCommands() && cmd.Example == "" {
		fmt.Fprintf(w, "\nUse \"%s COMMAND -h\" for more about a command.\n", cmd.CommandPath())
		return
	}
	fmt.Fprintf(w, "\nCommon flags:\n%s\nsettings: `%s settings`\n", common.FlagUsagesWrapped(helpWidth), Name)
}

// showHelp is what a noun does by itself.
func (c *command) showHelp(cmd *cobra.Command, args []string) error {
	c.help(cmd, args)
	return nil
}

// usageLine is how a command is called.
func usageLine(cmd *cobra.Command) string {
	line := strings.TrimSuffix(cmd.CommandPath(), cmd.Name()) + cmd.Use
	if cmd.HasSubCommands() && cmd.Example == "" {
		return line + " COMMAND"
	}
	return line + " [flags]"
}

func exampleLine(cmd *cobra.Command) string {
	return strings.TrimSpace(cmd.CommandPath() + " " + cmd.Example)
}

// listCommands prints the subcommands by their groups.
func listCommands(w io.Writer, cmd *cobra.Command) {
	groups := append(cmd.Groups(), &cobra.Group{Title: "Other commands"})
	if len(groups) == 1 {
		groups[0].Title = "Commands"
	}
	for _, g := range groups {
		title := "\n" + g.Title + ":\n"
		for _, sub := range cmd.Commands() {
			if sub.GroupID != g.ID || sub.Hidden {
				continue
			}
			fmt.Fprintf(w, "%s  %-22s %s\n", title, cmp.Or(map[bool]string{true: sub.Name()}[sub.HasSubCommands()],
				sub.Use),
				sub.Short)
			title = ""
		}
	}
}

// helpTopic prints the help of the command that is named.
func helpTopic(cmd *cobra.Command, args []string) error {
	target, rest, err := cmd.Root().Traverse(args)
	if err != nil || len(rest) > 0 {
		return unknownCommand(target, rest)
	}
	target.InitDefaultHelpFlag()
	return target.Help()
}

// settingsCommand lists the settings, which every command reads.
func (c *command) settingsCommand() *cobra.Command {
	return &cobra.Command{Use: "settings", Short: "List every setting, with its type and default", GroupID: groupRun,
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), `Settings are the same for every command. Each is a flag,
a variable of the environment (--data-dir is GATEHOUSE_DATA_DIR) and a name in the YAML file that
--config names. Flags win over the environment, and the environment over the file.
"%s config show --origin" prints which values are used.

%s`, Name, c.flags.FlagUsagesWrapped(helpWidth))
			return err
		}}
}
