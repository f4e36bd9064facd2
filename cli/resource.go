package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/flags"
)

func (c *command) resourceCommands() *cobra.Command {
	return c.noun(groupServers, "resource", "Manage the protected servers for which tokens are issued",
		c.verb("put URI", "Create or replace a protected server",
			"https://notes.example.com/mcp --name Notes --scope 'notes:read=Read your notes' --baseline notes:read",
			resourcePut, "scope"),
		c.verb("list", "List the protected servers", "", resourceList),
		c.verb("remove URI", "Issue no more tokens for a protected server", "https://notes.example.com/mcp",
			simple("resource.remove", "uri", "no token is issued any more for %s")),
	)
}

func resourcePut(fs *pflag.FlagSet) action {
	r := authserver.Resource{}
	var scopes, reads, writes, baseline []string
	fs.StringVar(&r.Name, "name", "", "display name (default the URI)")
	fs.StringVar(&r.Algorithm, "algorithm", "ES256", "signing algorithm of its tokens: ES256, RS256 or EdDSA")
	fs.DurationVar(&r.AccessTokenLifetime, "lifetime", 0, "lifetime of its access tokens (default the issuer's)")
	flags.StringsVar(fs, &scopes, "scope", "scope and its description for people, as NAME=WORDS; may be repeated")
	flags.ListVar(fs, &reads, "read-scopes", "scopes that change nothing, comma-separated (default by their names)")
	flags.ListVar(fs, &writes, "write-scopes",
		"scopes that can change something, comma-separated (default by their names)")
	flags.ListVar(fs, &baseline, "baseline", "scopes of a client that asks for none, comma-separated")
	flags.StringsVar(fs, &r.Aliases, "alias", "what clients send in place of its URI, exactly; may be repeated")
	return func(ctx context.Context, c *command) error {
		r.URI = c.operand
		for _, s := range scopes {
			name, words, ok := strings.Cut(s, "=")
			if !ok {
				return usageError("give it as 'notes:read=Read your notes'",
					fmt.Errorf("--scope %.80q has no description", s))
			}
			r.Scopes = append(r.Scopes, authserver.Scope{Name: name, Description: words})
		}
		for _, marked := range []struct {
			flag   string
			scopes []string
			mark   func(*authserver.Scope)
		}{
			{"--baseline", baseline, func(s *authserver.Scope) { s.Baseline = true }},
			{"--read-scopes", reads, func(s *authserver.Scope) { s.Access = authserver.AccessRead }},
			{"--write-scopes", writes, func(s *authserver.Scope) {
				s.Access = authserver.AccessWrite // last, because it is the more careful of the two
			}},
		} {
			for _, name := range marked.scopes {
				i := slices.IndexFunc(r.Scopes, func(s authserver.Scope) bool { return s.Name == name })
				if i < 0 {
					return usageError("name it with --scope, too",
						fmt.Errorf("%s names %q, which is no scope of the resource", marked.flag, name))
				}
				marked.mark(&r.Scopes[i])
			}
		}
		if err := c.act(ctx, "resource.put", r, nil); err != nil {
			return err
		}
		return c.done("tokens are issued for "+r.URI, field{"uri", r.URI})
	}
}

func resourceList(*pflag.FlagSet) action {
	return listOf("resource.list", struct{}{}, "URI\tNAME\tALGORITHM\tACCESS TOKEN LIFETIME\tFROM\tSCOPES",
		func(_ *names, r authserver.ResourceFound) []any {
			from := "store"
			if r.Fixed {
				from = "configuration"
			}
			return []any{r.URI, r.Name, r.Algorithm, r.AccessTokenLifetime.Round(time.Second), from, r.ScopeNames()}
		})
}
