package cli

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

func clientCreate(fs *flag.FlagSet) action {
	s := authserver.ClientSpec{}
	fs.StringVar(&s.Name, "name", "", "`name` for people (default its id)")
	fs.StringVar(&s.Tenant, "tenant", "", "`id` of the tenant to which the client belongs")
	scopes := scopesFlag(fs, "the most that the client may do: `scopes`, comma-separated")
	fs.BoolVar(&s.Public, "public", false, "an application that cannot keep a secret: it gets none")
	fs.BoolVar(&s.PushRequired, "require-pushed-requests", false,
		"an application that pushes every authorization request (RFC 9126): those that a browser brings whole are "+
			"refused")
	fs.Func("redirect-uri", "`URI` to which answers go, for an application that people let in; may be repeated",
		func(uri string) error {
			s.RedirectURIs = append(s.RedirectURIs, uri)
			return nil
		})
	fs.StringVar(&s.Resource, "server", "",
		"`URI` of the protected server that the client is: it may ask about tokens for it and which grants have "+
			"ended, and pass its callers on to other servers within --scopes")
	fs.BoolVar(&s.TokenExchange, "token-exchange", false, "let it exchange its tokens for narrower ones")
	fs.BoolVar(&s.Assertions, "assertions", false,
		"let people in by assertions of the identity provider that their organisation trusts")
	fs.Func("post-logout-redirect-uri", "`URI` to which people may go on from signing out; may be repeated",
		func(uri string) error {
			s.PostLogoutRedirectURIs = append(s.PostLogoutRedirectURIs, uri)
			return nil
		})
	return func(ctx context.Context, c *call) error {
		s.Scopes = config.List(*scopes)
		var made authserver.ClientMade
		if err := c.act(ctx, "client.create", s, &made); err != nil {
			return err
		}
		said, facts := "client_id      "+made.Client.ID, []fact{{"client_id", made.Client.ID}}
		if made.Secret != "" {
			said += "\nclient_secret  " + made.Secret + "   (shown this once)"
			facts = append(facts, fact{"client_secret", made.Secret})
		}
		return c.done(said, facts...)
	}
}

func clientReplaceSecret(fs *flag.FlagSet) action {
	overlap := fs.Duration("overlap", 24*time.Hour,
		"how `long` the secret before counts beside the new one; 0 ends it at once")
	return func(ctx context.Context, c *call) error {
		var secret string
		if err := c.act(ctx, "client.replace_secret", authserver.SecretTurn{Client: c.operand, Overlap: *overlap},
			&secret); err != nil {
			return err
		}
		return c.done("client_secret  "+secret+"   (shown this once)", fact{"client_id", c.operand},
			fact{"client_secret", secret})
	}
}

func clientDisable(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "client.disable", c.operand, nil); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("client %s is disabled, and its tokens are refused; its grants stay", c.operand),
			fact{"client_id", c.operand})
	}
}

func clientEnable(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "client.enable", c.operand, nil); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("client %s can act again; tokens of before stay refused, and its grants bring others",
			c.operand), fact{"client_id", c.operand})
	}
}

func clientDelete(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "client.delete", c.operand, nil); err != nil {
			return err
		}
		return c.done(fmt.Sprintf("client %s is gone, and every grant of it has ended", c.operand),
			fact{"client_id", c.operand})
	}
}

func clientList(fs *flag.FlagSet) action {
	f := authserver.ClientFilter{}
	fs.StringVar(&f.TenantID, "tenant", "", "`id` of a tenant (default all)")
	pageFlags(fs, &f.Limit, &f.After, "client")
	return func(ctx context.Context, c *call) error {
		var clients []authserver.Client
		if err := c.act(ctx, "client.list", f, &clients); err != nil {
			return err
		}
		if n := len(clients); n > 0 && n == f.Limit {
			c.more(clients[n-1].ID)
		}
		return c.listNamed(ctx, "ID\tNAME\tTENANT\tGRANT TYPES\tORIGIN\tSTATE\tCREATED", func(n *names) (rows [][]any) {
			for _, k := range clients {
				rows = append(rows, []any{k.ID, k.Name, n.tenant(k.TenantID), k.GrantTypes, k.Origin,
					state(!k.DisabledAt.IsZero()), k.CreatedAt})
			}
			return rows
		})
	}
}

// pageFlags registers the flags of a list that may be long.
func pageFlags(fs *flag.FlagSet, limit *int, after *string, noun string) {
	fs.IntVar(limit, "limit", 100, "at most `this many`")
	fs.StringVar(after, "after", "", "`id` of a "+noun+": begin with the one after it")
}

// more says that a list goes on.
func (c *call) more(last string) {
	c.program.complain("note", fmt.Sprintf("there may be more: --after %s", last))
}

func initialTokenCreate(fs *flag.FlagSet) action {
	s := authserver.InitialTokenSpec{}
	fs.StringVar(&s.Tenant, "tenant", "", "`id` of the tenant to which the clients will belong")
	scopes := scopesFlag(fs, "the most that the clients may do: `scopes`, comma-separated (default the tenant's)")
	fs.IntVar(&s.Uses, "uses", 1, "how `many` clients may register with it")
	fs.DurationVar(&s.Lifetime, "lifetime", time.Hour, "how `long` it may be used")
	return func(ctx context.Context, c *call) error {
		s.Scopes = config.List(*scopes)
		var token string
		if err := c.act(ctx, "initial_token.create", s, &token); err != nil {
			return err
		}
		return c.done(token, fact{"initial_token", token})
	}
}

func grantList(fs *flag.FlagSet) action {
	f := authserver.GrantFilter{}
	fs.StringVar(&f.TenantID, "tenant", "", "`id` of a tenant (default all)")
	fs.StringVar(&f.ClientID, "client", "", "`id` of a client (default all)")
	fs.StringVar(&f.UserID, "user", "", "`address` or id of a person (default all)")
	fs.BoolVar(&f.Active, "active", false, "only those that are not revoked")
	pageFlags(fs, &f.Limit, &f.After, "grant")
	return func(ctx context.Context, c *call) error {
		var grants []authserver.Grant
		if err := c.act(ctx, "grant.list", f, &grants); err != nil {
			return err
		}
		if n := len(grants); n > 0 && n == f.Limit {
			c.more(grants[n-1].ID)
		}
		return c.listNamed(ctx, "ID\tTENANT\tCLIENT\tUSER\tRESOURCE\tSCOPES\tCREATED\tSTATE\tREVOKED\tREASON",
			func(n *names) (rows [][]any) {
				for _, g := range grants {
					state := "active"
					if g.Ended() {
						state = "revoked"
					} else if g.Suspended {
						state = "suspended"
					}
					rows = append(rows, []any{
						g.ID, n.tenant(g.TenantID), n.client(g.ClientID), n.user(g.UserID), g.Resource, g.Scopes,
						g.CreatedAt, state, g.EndedAt, g.EndReason,
					})
				}
				return rows
			})
	}
}

func grantRevoke(fs *flag.FlagSet) action {
	s := authserver.GrantSelection{}
	fs.StringVar(&s.Reason, "reason", "", "`why`, for the record")
	fs.StringVar(&s.ClientID, "client", "", "in place of an ID: all of the client of this `id`")
	fs.StringVar(&s.User, "user", "", "in place of an ID: all of the person of this `address` or id")
	fs.StringVar(&s.TenantID, "tenant", "",
		"in place of an ID: all of the tenant of this `id`; with --client or --user, theirs in it")
	return func(ctx context.Context, c *call) error {
		s.ID = c.operand
		if s.ID == "" && s.ClientID == "" && s.User == "" && s.TenantID == "" {
			return misused(fmt.Sprintf("%s %s ID, or with --client, --user or --tenant", Name, c.command.name),
				fmt.Errorf("%s: ID, --client, --user or --tenant is missing", c.command.name))
		}
		var done authserver.GrantsRevoked
		if err := c.act(ctx, "grant.revoke", s, &done); err != nil {
			return err
		}
		if s.ID != "" {
			return c.done(fmt.Sprintf("grant %s is revoked, and every token of it", s.ID), fact{"id", s.ID})
		}
		return c.done(fmt.Sprintf("revoked %d grants, and every token of them", done.Revoked),
			fact{"revoked", done.Revoked})
	}
}
