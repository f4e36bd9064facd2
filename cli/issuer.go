package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/flags"
)

func (c *command) issuerCommands() *cobra.Command {
	return c.noun(groupPeople, "issuer", "Manage the identity providers that tenants trust",
		c.verb("trust ISSUER", "Accept the assertions of a tenant's identity provider about its people and clients",
			"https://login.acme.example --tenant acme --jwks-uri https://login.acme.example/keys", issuerTrust,
			"tenant", "jwks-uri|jwks-file"),
		c.verb("list", "List the identity providers that tenants trust", "--tenant acme", issuerList),
		c.verb("distrust ISSUER",
			"Accept no more assertions of an identity provider, and revoke the grants made by them",
			"https://login.acme.example",
			simple("issuer.distrust", "issuer",
				"%s is no longer trusted, and the grants made by its assertions are revoked")),
	)
}

func issuerTrust(fs *pflag.FlagSet) action {
	s := authserver.IssuerSpec{}
	fs.StringVar(&s.Tenant, "tenant", "", "id of the tenant whose identity provider it is")
	flags.URLVar(fs, &s.JWKSURI, "jwks-uri", "URL of its keys")
	fs.BoolVar(&s.VerifiedEmails, "verified-emails", false,
		"every e-mail address that it asserts is verified, and its people cannot change theirs; otherwise each "+
			"assertion must say so")
	file := fs.String("jwks-file", "", "file of its keys (a JSON Web Key set), when they have no URL")
	return func(ctx context.Context, c *command) error {
		s.Issuer = c.operand
		if *file != "" {
			keys, err := os.ReadFile(*file)
			if err != nil {
				return usageError("", fmt.Errorf("reading the keys: %w", err))
			}
			s.JWKS = string(keys)
		}
		if err := c.act(ctx, "issuer.trust", s, nil); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("tenant %s trusts %s", s.Tenant, s.Issuer), field{"tenant", s.Tenant},
			field{"issuer", s.Issuer})
	}
}

func issuerList(fs *pflag.FlagSet) action {
	return listOf("issuer.list", fs.String("tenant", "", "id of a tenant (default all)"), "ISSUER\tTENANT\tKEYS\tSINCE",
		func(n *names, i authserver.TrustedIssuer) []any {
			return []any{i.Issuer, n.tenant(i.TenantID), cmp.Or(i.JWKSURI, "stored"), i.CreatedAt}
		})
}
