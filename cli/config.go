package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/shared/flags"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

// anyKey stands for a key-encryption key that is not created yet.
var anyKey = config.Secret(base64.StdEncoding.EncodeToString(make([]byte, 32)))

func (c *command) configCommands() *cobra.Command {
	return c.noun(groupRun, "config", "Show and check the settings",
		c.verb("show", "Show every setting with its value", "--origin", configShow),
		c.verb("validate", "Check the settings, and change nothing", "--config gatehouse.yaml", configValidate),
	)
}

// configShow prints the settings with their values, secrets as dots, and those that a running
// server was started with where they differ.
func configShow(fs *pflag.FlagSet) action {
	origin := fs.Bool("origin", false, "show where each value comes from")
	return func(ctx context.Context, c *command) error {
		other, err := c.differentSettings(ctx)
		if err != nil {
			c.program.message("warning", err.Error())
		}
		c.fillURLs()
		var rows [][]any
		var names []string
		c.flags.VisitAll(func(f *pflag.Flag) {
			value, from := f.Value.String(), c.origin[f.Name]
			if flags.IsSecret(f) && value != "" {
				value = hiddenValue
			}
			if from == "" {
				from = "default"
			}
			row := []any{f.Name, value}
			if *origin {
				row = append(row, from)
			}
			if len(other) > 0 {
				row = append(row, other[f.Name])
			}
			names, rows = append(names, f.Name), append(rows, row)
		})
		heading := "SETTING\tVALUE"
		if *origin {
			heading += "\tORIGIN"
		}
		if len(other) > 0 {
			heading += "\tRUNNING"
			c.program.message("warning", describeDifferent(c.dataDir, other, names))
		}
		return c.list(heading, rows)
	}
}

// configValidate checks the settings without opening a store or a port.
func configValidate(*pflag.FlagSet) action {
	return func(_ context.Context, c *command) error {
		if err := c.validate(); err != nil {
			return err
		}
		c.fillURLs()
		auth := c.authConfig()
		if c.embedded() && auth.KeyEncryptionKey == "" {
			auth.KeyEncryptionKey = anyKey // serve creates it in the data folder
		}
		if err := auth.Check(); err != nil {
			return openError(err)
		}
		if err := c.mcpConfig().Check(); err != nil {
			return openError(err)
		}
		if err := c.checkDemo(); err != nil {
			return err
		}
		var insecure []string
		text := "the settings are valid"
		for _, o := range append(auth.InsecureSettings(), c.mcpConfig().InsecureSettings()...) {
			if !slices.Contains(insecure, o.Setting) {
				insecure = append(insecure, o.Setting)
				text += fmt.Sprintf("\n%s: %s", o.Setting, o.Risk)
			}
		}
		return c.done(text, field{"valid", true}, field{"insecure_settings", insecure})
	}
}
