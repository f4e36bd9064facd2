package cli

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

// Bounds of completion: how long the store is asked for, and how many words are offered.
const (
	completeWithin = 3 * time.Second
	maxCompletions = 100
)

// completeFlags completes the values of a command's flags, and its operand.
func (c *command) completeFlags(cmd *cobra.Command) {
	words := map[string][]string{
		"algorithm": {"ES256", "RS256", "EdDSA"}, "resource-algorithm": {"ES256", "RS256", "EdDSA"},
		"log-level": {"debug", "info", "warn", "error"}, "registration": {"open", "token", "closed"},
		"registrations": {"operator", "document", "dynamic", "tenant", "any"}, "dpop-nonce": {"optional", "required"},
		"outcome": {"ok", "refused", "failed", "observed"},
		"MODE":    {"observe", "enforce_writes", "enforce"}, "KEEP": {"all", "refusals_and_writes"},
	}
	kinds := map[string]string{"tenant": "tenant", "client": "client", "user": "user", "email": "user", "role": "role",
		"grant": "grant", "server": "resource"}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		switch {
		case words[f.Name] != nil:
			_ = cmd.RegisterFlagCompletionFunc(f.Name,
				cobra.FixedCompletions(words[f.Name], cobra.ShellCompDirectiveNoFileComp))
		case kinds[f.Name] != "" && commandName(cmd) != "user create":
			_ = cmd.RegisterFlagCompletionFunc(f.Name, c.ids(kinds[f.Name]))
		}
	})
	kind, _, _ := strings.Cut(commandName(cmd), " ")
	_, operand, _ := strings.Cut(cmd.Use, " ")
	if operand == "TENANT" {
		kind = "tenant"
	}
	complete := c.ids(kind)
	if words[operand] != nil {
		complete = cobra.FixedCompletions(words[operand], cobra.ShellCompDirectiveNoFileComp)
	}
	if operand == "" || strings.HasPrefix(operand, "[--") {
		return
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, prefix string) ([]string,
		cobra.ShellCompDirective) {
		if len(args) > 0 { // there is one operand
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, prefix)
	}
}

// ids completes the ids of one kind from the store. It offers nothing, and says nothing, when there
// is no store.
func (c *command) ids(kind string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		c.program.Stderr, c.name = io.Discard, commandName(cmd)
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
		defer cancel()
		tenant, _ := cmd.Flags().GetString("tenant")
		found, err := c.stored(ctx, cmd, kind, tenant)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		found = slices.DeleteFunc(found, func(word string) bool { return !strings.HasPrefix(word, prefix) })
		return found[:min(len(found), maxCompletions)], cobra.ShellCompDirectiveNoFileComp
	}
}

// stored lists the ids of one kind, each with a description.
func (c *command) stored(ctx context.Context, cmd *cobra.Command, kind, tenant string) (words []string, err error) {
	if err := c.load(cmd); err != nil {
		return nil, err
	}
	operation, arguments := kind+".list", any(struct{}{})
	switch kind {
	case "client":
		arguments = authserver.ClientFilter{TenantID: tenant, Limit: 1000}
	case "grant":
		arguments = authserver.GrantFilter{TenantID: tenant, Active: true, Limit: 1000}
	case "user":
		arguments = authserver.PeopleAsked{Tenant: tenant, Limit: 1000}
	case "role", "issuer":
		arguments = tenant
	case "attempt":
		var found authserver.AttemptsFound
		err = c.act(ctx, operation, authserver.AttemptFilter{Limit: 1000}, &found)
		for _, a := range found.Attempts {
			words = append(words, cobra.CompletionWithDesc(a.ID, cmp.Or(a.ClientName, a.Client)))
		}
		return words, err
	}
	var found []struct{ KID, URI, Email, Issuer, ID, Name, State, ClientID, TenantID string }
	err = c.act(ctx, operation, arguments, &found)
	for _, f := range found {
		words = append(words, cobra.CompletionWithDesc(cmp.Or(f.KID, f.URI, f.Email, f.Issuer, f.ID, f.Name),
			cmp.Or(f.Name, f.State, f.ClientID, f.TenantID)))
	}
	return words, err
}
