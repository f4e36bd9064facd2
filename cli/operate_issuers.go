package cli

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

func issuerTrust(fs *flag.FlagSet) action {
	s := authserver.IssuerSpec{}
	fs.StringVar(&s.Tenant, "tenant", "", "`id` of the tenant whose identity provider it is")
	fs.StringVar(&s.JWKSURI, "jwks-uri", "", "`URL` of its keys")
	fs.BoolVar(&s.VerifiedEmails, "verified-emails", false,
		"every e-mail address that it asserts is verified, and its people cannot change theirs; otherwise it must "+
			"say so of each")
	file := fs.String("jwks-file", "", "`file` of its keys (a JSON Web Key set), when they are at no address")
	return func(ctx context.Context, c *call) error {
		s.Issuer = c.operand
		if *file != "" {
			keys, err := os.ReadFile(*file)
			if err != nil {
				return misused("", fmt.Errorf("reading the keys: %w", err))
			}
			s.JWKS = string(keys)
		}
		if err := c.act(ctx, "issuer.trust", s, nil); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("tenant %s trusts %s", s.Tenant, s.Issuer), fact{"tenant", s.Tenant},
			fact{"issuer", s.Issuer})
	}
}

func issuerList(fs *flag.FlagSet) action {
	tenant := fs.String("tenant", "", "`id` of a tenant (default all)")
	return func(ctx context.Context, c *call) error {
		var issuers []authserver.TrustedIssuer
		if err := c.act(ctx, "issuer.list", *tenant, &issuers); err != nil {
			return err
		}
		return c.listNamed(ctx, "ISSUER\tTENANT\tKEYS\tSINCE", func(n *names) (rows [][]any) {
			for _, i := range issuers {
				rows = append(rows, []any{i.Issuer, n.tenant(i.TenantID), cmp.Or(i.JWKSURI, "kept here"), i.CreatedAt})
			}
			return rows
		})
	}
}

func issuerDistrust(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "issuer.distrust", c.operand, nil); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("%s is trusted no more, and what its assertions let in has ended", c.operand),
			fact{"issuer", c.operand})
	}
}
