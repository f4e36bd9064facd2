package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/flags"
)

func (c *command) explainCommand() *cobra.Command {
	cmd := c.verb("explain", "Show which tools a caller can list and call, and by which rule", "--token - < token.txt",
		explain, "token|client")
	cmd.GroupID = groupServers
	return cmd
}

// maxToken bounds what is read as a token, in bytes.
const maxToken = 64 << 10

func explain(fs *pflag.FlagSet) action {
	var token config.Secret
	a := authserver.ScopesAsked{}
	flags.SecretVar(fs, &token, "token",
		"access token; - reads it from standard input, where other users of the machine cannot see it")
	fs.StringVar(&a.Client, "client", "", "id of a client, in place of a token")
	fs.StringVar(&a.Tenant, "tenant", "", "id of the tenant for which the client acts")
	fs.StringVar(&a.User, "user", "",
		"e-mail address or id of the person for whom it acts (default the member with the most scopes)")
	return func(ctx context.Context, c *command) error {
		asked := operator.ExplainQuery{Token: token.Reveal(), Tenant: a.Tenant, Client: a.Client}
		switch {
		case (token == "") == (a.Client == ""):
			return usageError(Name+" explain --token - <FILE, or "+Name+" explain --client ID --tenant ID",
				errors.New("explain: --token and --client exclude each other"))
		case token == "-":
			text, err := io.ReadAll(io.LimitReader(c.program.Stdin, maxToken))
			if err != nil {
				return fmt.Errorf("reading the token: %w", err)
			}
			asked.Token = strings.TrimSpace(string(text))
		}
		if token != "" && (a.Tenant != "" || a.User != "") {
			return usageError("the token names its tenant and user",
				errors.New("explain: --token goes with neither --tenant nor --user"))
		}
		var found authserver.ScopesFound
		if a.Client != "" {
			if err := c.act(ctx, "client.scopes", a, &found); err != nil {
				return err
			}
			asked.Scopes = found.Scopes
		}
		var e operator.Explanation
		if err := c.act(ctx, "tools.explain", asked, &e); err != nil {
			return err
		}
		return c.explanation(e, found.Limits)
	}
}

func (c *command) explanation(e operator.Explanation, limits []string) error {
	caller := []field{{"tenant", e.Tenant}, {"client", e.Client}, {"scopes", e.Scopes}}
	if e.Subject != "" {
		caller = append(caller, field{"subject", e.Subject}, field{"expires", e.Expires})
	}
	var notes, tools [][]any
	for _, note := range append(limits, e.Notes...) {
		notes = append(notes, []any{note})
	}
	for _, t := range e.Tools {
		call := "refused"
		if t.Passes {
			call = "passes"
		}
		tools = append(tools, []any{t.Name, t.Listed, call, t.Why})
	}
	return c.answer(
		part{name: "caller", fields: caller},
		part{name: "notes", heading: "NOTE", rows: notes},
		part{name: "tools", heading: "TOOL\tLISTED\tCALL\tWHY", rows: tools},
	)
}
