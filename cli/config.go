package cli

import (
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

// anyKey stands for a key-encryption key that is not there yet.
var anyKey = config.Secret(base64.StdEncoding.EncodeToString(make([]byte, 32)))

// configShow shows what counts. A secret shows as dots. Where a server runs on the data folder that
// was started with other settings, it says with which.
func configShow(fs *flag.FlagSet) action {
	origin := fs.Bool("origin", false, "say where each value comes from")
	return func(ctx context.Context, c *call) error {
		other, err := c.runningOtherwise(ctx)
		if err != nil {
			c.program.complain("warning", err.Error())
		}
		c.locate()
		var rows [][]any
		var names []string
		c.flags.VisitAll(func(f *flag.Flag) {
			if c.own[f.Name] {
				return
			}
			value, from := f.Value.String(), c.origin[f.Name]
			if config.IsSecret(f) && value != "" {
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
			c.program.complain("warning", otherwise(c.dataDir, other, names))
		}
		return c.list(heading, rows)
	}
}

// configValidate holds the settings against all that can be known without opening a store or a
// port.
func configValidate(*flag.FlagSet) action {
	return func(_ context.Context, c *call) error {
		if err := c.check(); err != nil {
			return err
		}
		c.locate()
		issuing := c.issuing()
		if c.embedded() && issuing.KeyEncryptionKey == "" {
			issuing.KeyEncryptionKey = anyKey // it is made in the data folder
		}
		if err := issuing.Check(); err != nil {
			return opening(err)
		}
		if err := c.serving().Check(); err != nil {
			return opening(err)
		}
		if err := c.demoStaysHere(); err != nil {
			return err
		}
		var relaxed []string
		said := "the settings are right"
		for _, r := range append(issuing.Relaxations(), c.serving().Relaxations()...) {
			if !slices.Contains(relaxed, r.Setting) {
				relaxed = append(relaxed, r.Setting)
				said += fmt.Sprintf("\nrelaxed by %s: %s", r.Setting, r.Means)
			}
		}
		return c.done(said, fact{"valid", true}, fact{"relaxations", relaxed})
	}
}
