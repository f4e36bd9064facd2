package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/cli"
)

// generated is the line of a reference page below which everything is generated.
const generated = "<!-- Generated from the code by: go test ./cli -run Reference -update -->\n"

// reference holds the generated half of a page against the code.
func reference(t *testing.T, page, want string) {
	t.Helper()
	path := filepath.Join("..", "docs", "reference", page)
	text, err := os.ReadFile(path)
	must(t, err)
	intro, got, ok := strings.Cut(string(text), generated)
	if !ok {
		t.Fatalf("%s has no line %s", page, generated)
	}
	switch {
	case got == "\n"+want:
	case *update:
		must(t, os.WriteFile(path, []byte(intro+generated+"\n"+want), 0o644))
	default:
		t.Errorf("%s is stale: go test ./cli -run Reference -update", page)
	}
}

// The page of the commands has each with its flags, their types and defaults, and an example.
func TestReferenceOfCommands(t *testing.T) {
	var page strings.Builder
	settings := cli.Settings()
	root := cli.Root()
	for _, g := range root.Groups() {
		fmt.Fprintf(&page, "## %s\n\n", g.Title)
		var walk func(*cobra.Command)
		walk = func(cmd *cobra.Command) {
			level := "###"
			if cmd.HasParent() && cmd.Parent() != root {
				level = "####"
			}
			fmt.Fprintf(&page, "%s %s\n\n%s.\n\n", level, cmd.CommandPath(), cell(cmd.Short))
			if cmd.Example != "" || !cmd.HasSubCommands() {
				fmt.Fprintf(&page, "```text\n%s\n", cli.UsageLine(cmd))
				if cmd.Example != "" {
					fmt.Fprintf(&page, "\n# for example\n%s %s\n", cmd.CommandPath(), cmd.Example)
				}
				page.WriteString("```\n\n")
			}
			var rows []string
			cmd.Flags().VisitAll(func(f *pflag.Flag) {
				if settings.Lookup(f.Name) == nil && f.Name != "help" && f.Name != "json" {
					rows = append(rows, flagRow(f))
				}
			})
			if len(rows) > 0 {
				page.WriteString("| flag | type | default | |\n|---|---|---|---|\n" + strings.Join(rows, "") + "\n")
			}
			for _, sub := range cmd.Commands() {
				walk(sub)
			}
		}
		for _, cmd := range root.Commands() {
			if cmd.GroupID == g.ID {
				walk(cmd)
			}
		}
	}
	reference(t, "cli.md", strings.TrimSuffix(page.String(), "\n"))
}

// The page of the settings has each with its type, its default and the name of its variable, and
// the settings of the programs that are one server each.
func TestReferenceOfSettings(t *testing.T) {
	page := "## gatehouse\n\n| flag | environment | type | default | |\n|---|---|---|---|---|\n"
	cli.Settings().VisitAll(func(f *pflag.Flag) {
		variable := "GATEHOUSE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		flag, rest, _ := strings.Cut(flagRow(f), " | ")
		page += flag + " | `" + variable + "` | " + rest
	})
	for _, program := range []string{"authserver", "mcpserver"} {
		var said strings.Builder
		c := exec.Command("go", "run", "./"+program+"/cmd/"+program, "--help")
		c.Dir, c.Stderr = "..", &said
		must(t, c.Run())
		_, flags, _ := strings.Cut(said.String(), "\n")
		page += "\n## " + program + "\n\n```text\n" + flags + "```\n"
	}
	reference(t, "settings.md", page)
}

// flagRow is a row of a table: a flag, its type, its default, and what it is for.
func flagRow(f *pflag.Flag) string {
	kind, usage := pflag.UnquoteUsage(f)
	name, standard := "`--"+f.Name+"`", f.DefValue
	if f.Shorthand != "" {
		name += ", `-" + f.Shorthand + "`"
	}
	if kind == "" {
		kind = "bool"
	}
	switch {
	case slices.Contains([]string{"", "false", "0", "0s"}, standard):
		standard = ""
	case kind == "duration":
		standard = strings.TrimSuffix(strings.TrimSuffix(standard, "m0s"), "h0") // 10m0s, 336h0m0s
		if last := standard[len(standard)-1]; last >= '0' && last <= '9' {
			standard += map[bool]string{true: "h", false: "m"}[strings.Contains(f.DefValue, "h")]
		}
		standard = "`" + standard + "`"
	default:
		standard = "`" + standard + "`"
	}
	return fmt.Sprintf("| %s | %s | %s | %s |\n", name, kind, standard, cell(usage))
}

// cell writes a text as Markdown has it in a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", `\<`, "*", `\*`).Replace(text)
}
