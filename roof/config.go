package roof

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

// configShow shows what counts. A secret shows as dots.
func configShow(fs *flag.FlagSet) action {
	origin := fs.Bool("origin", false, "say where each value comes from")
	return func(_ context.Context, c *call) error {
		c.locate()
		var rows [][]any
		c.flags.VisitAll(func(f *flag.Flag) {
			if c.own[f.Name] {
				return
			}
			value, from := f.Value.String(), c.origin[f.Name]
			if config.IsSecret(f) && value != "" {
				value = "••••••••"
			}
			if from == "" {
				from = "default"
			}
			row := []any{f.Name, value}
			if *origin {
				row = append(row, from)
			}
			rows = append(rows, row)
		})
		if *origin {
			return c.list("SETTING\tVALUE\tORIGIN", rows)
		}
		return c.list("SETTING\tVALUE", rows)
	}
}

// configValidate holds the settings against all that can be known without opening a store or a port.
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
