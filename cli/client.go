package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/flags"
)

func (c *command) clientCommands() *cobra.Command {
	const id = "cli_TwQ2h0S3kdmVy7RZ1nLb5g"
	return c.noun(groupAgents, "client", "Manage registered clients: agents, applications and servers",
		c.verb("create", "Register a machine client, or an application that people authorize",
			"--tenant acme --name nightly --scopes customers:read", clientCreate,
			"tenant|redirect-uri|server", "scopes|redirect-uri|server"),
		c.verb("list", "List the clients", "--tenant acme", clientList),
		c.verb("disable ID", "Reject a client and its tokens until it is enabled; its grants stay", id,
			simple("client.disable", "client_id",
				"client %s is disabled, and its tokens are refused; its grants stay")),
		c.verb("enable ID", "Enable a disabled client", id,
			simple("client.enable", "client_id",
				"client %s is enabled; earlier tokens stay refused, and its grants are renewed")),
		c.verb("delete ID", "Delete a client, and revoke all its grants", id,
			simple("client.delete", "client_id", "client %s is gone, and every grant of it is revoked")),
		c.verb("replace-secret ID", "Replace a client's secret; the old one is valid for a while", id+" --overlap 1h",
			clientReplaceSecret),
	)
}

func clientCreate(fs *pflag.FlagSet) action {
	s := authserver.ClientSpec{}
	fs.StringVar(&s.Name, "name", "", "display name (default its id)")
	fs.StringVar(&s.Tenant, "tenant", "", "id of the tenant to which the client belongs")
	flags.ListVar(fs, &s.Scopes, "scopes", "the most that the client may do: scopes, comma-separated")
	fs.BoolVar(&s.Public, "public", false, "a public client: an application that cannot keep a secret, and gets none")
	fs.BoolVar(&s.PushRequired, "require-pushed-requests", false,
		"the application must use pushed authorization requests (RFC 9126)")
	flags.StringsVar(fs, &s.RedirectURIs, "redirect-uri",
		"redirect URI of an application that people authorize; may be repeated")
	fs.StringVar(&s.Resource, "server", "",
		"URI of the protected server that the client is: it may introspect tokens for it, read the list of revoked "+
			"grants, and exchange its callers' tokens for other servers within --scopes")
	fs.BoolVar(&s.TokenExchange, "token-exchange", false, "it may exchange its tokens for narrower ones (RFC 8693)")
	fs.BoolVar(&s.Assertions, "assertions", false,
		"it may present assertions of the identity provider that the tenant trusts (RFC 7523)")
	flags.StringsVar(fs, &s.PostLogoutRedirectURIs, "post-logout-redirect-uri",
		"URI to which people may be redirected after sign-out; may be repeated")
	return func(ctx context.Context, c *command) error {
		var made authserver.ClientMade
		if err := c.act(ctx, "client.create", s, &made); err != nil {
			return err
		}
		text, fields := "client_id      "+made.Client.ID, []field{{"client_id", made.Client.ID}}
		if made.Secret != "" {
			text += "\nclient_secret  " + made.Secret + "   (shown this once)"
			fields = append(fields, field{"client_secret", made.Secret})
		}
		return c.done(text, fields...)
	}
}

func clientReplaceSecret(fs *pflag.FlagSet) action {
	overlap := fs.Duration("overlap", 24*time.Hour, "how long the old secret stays valid; 0 ends it at once")
	return func(ctx context.Context, c *command) error {
		var secret string
		if err := c.act(ctx, "client.replace_secret", authserver.SecretTurn{Client: c.operand, Overlap: *overlap},
			&secret); err != nil {
			return err
		}
		return c.done("client_secret  "+secret+"   (shown this once)", field{"client_id", c.operand},
			field{"client_secret", secret})
	}
}

func clientList(fs *pflag.FlagSet) action {
	f := authserver.ClientFilter{}
	fs.StringVar(&f.TenantID, "tenant", "", "id of a tenant (default all)")
	pageFlags(fs, &f.Limit, &f.After, "client")
	return func(ctx context.Context, c *command) error {
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

func (c *command) initialTokenCommands() *cobra.Command {
	return c.noun(groupAgents, "initial-token", "Create initial access tokens for client registration (RFC 7591)",
		c.verb("create", "Create a token with which the clients of a tenant register themselves",
			"--tenant acme --uses 5 --lifetime 24h", initialTokenCreate, "tenant"))
}

func initialTokenCreate(fs *pflag.FlagSet) action {
	s := authserver.InitialTokenSpec{}
	fs.StringVar(&s.Tenant, "tenant", "", "id of the tenant to which the clients will belong")
	flags.ListVar(fs, &s.Scopes, "scopes",
		"the most that the clients may do: scopes, comma-separated (default the tenant's)")
	fs.IntVar(&s.Uses, "uses", 1, "number of clients that may register with it")
	fs.DurationVar(&s.Lifetime, "lifetime", time.Hour, "lifetime of the token")
	return func(ctx context.Context, c *command) error {
		var token string
		if err := c.act(ctx, "initial_token.create", s, &token); err != nil {
			return err
		}
		return c.done(token, field{"initial_token", token})
	}
}
