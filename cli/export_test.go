package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Root returns the program's commands.
func Root() *cobra.Command { return (&command{program: &Program{}}).root() }

// Commands returns the commands that do something, by their names, in the order of the help.
func Commands() (names []string, all map[string]*cobra.Command) {
	all = map[string]*cobra.Command{}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		name := commandName(cmd)
		if cmd.Example != "" || cmd.Name() == "settings" || name == "version" || name == "resource list" {
			names, all[name] = append(names, name), cmd
		}
		for _, sub := range cmd.Commands() {
			if name != "completion" {
				walk(sub)
			}
		}
	}
	walk(Root())
	return names, all
}

// Settings returns the flags that are settings.
func Settings() *pflag.FlagSet {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	(&settings{}).register(fs)
	return fs
}

// UsageLine is how a command is called.
func UsageLine(cmd *cobra.Command) string { return usageLine(cmd) }

// OperandOf is the operand of a command.
func OperandOf(cmd *cobra.Command) string {
	_, operand, _ := strings.Cut(cmd.Use, " ")
	return operand
}
