package roof

import (
	"context"
	"flag"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

func clientCreate(fs *flag.FlagSet) action {
	s := authserver.ClientSpec{}
	fs.StringVar(&s.Name, "name", "", "`name` for people (default its id)")
	fs.StringVar(&s.Tenant, "tenant", "", "`id` of the tenant to which the client belongs; required for a machine client")
	scopes := scopesFlag(fs, "the most that the client may do: `scopes` divided by commas; required for a machine client")
	fs.BoolVar(&s.Public, "public", false, "an application that cannot keep a secret: it gets none")
	fs.BoolVar(&s.PushRequired, "require-pushed-requests", false, "an application that pushes every authorization request (RFC 9126): those that a browser brings whole are refused")
	fs.Func("redirect-uri", "`URI` to which answers go, for an application that people let in; may be repeated", func(uri string) error {
		s.RedirectURIs = append(s.RedirectURIs, uri)
		return nil
	})
	fs.StringVar(&s.Resource, "server", "", "`URI` of the protected server that the client is: it may ask about tokens for it and which grants have ended, and pass its callers on to other servers within --scopes")
	fs.BoolVar(&s.TokenExchange, "token-exchange", false, "let it exchange its tokens for narrower ones")
	fs.BoolVar(&s.Assertions, "assertions", false, "let people in by assertions of the identity provider that their organisation trusts")
	fs.Func("post-logout-redirect-uri", "`URI` to which people may go on from signing out; may be repeated", func(uri string) error {
		s.PostLogoutRedirectURIs = append(s.PostLogoutRedirectURIs, uri)
		return nil
	})
	return func(ctx context.Context, c *call) error {
		s.Scopes = config.List(*scopes)
		var made authserver.ClientMade
		if err := c.act(ctx, "client.create", s, &made); err != nil {
			return err
		}
		if made.Secret == "" {
			return c.say("client_id      %s", made.Client.ID)
		}
		return c.say("client_id      %s\nclient_secret  %s   (shown this once)", made.Client.ID, made.Secret)
	}
}

func clientReplaceSecret(fs *flag.FlagSet) action {
	overlap := fs.Duration("overlap", 24*time.Hour, "how `long` the secret before counts beside the new one; 0 ends it at once")
	return func(ctx context.Context, c *call) error {
		var secret string
		if err := c.act(ctx, "client.replace_secret", authserver.SecretTurn{Client: c.operand, Overlap: *overlap}, &secret); err != nil {
			return err
		}
		return c.say("client_secret  %s   (shown this once)", secret)
	}
}

func clientDelete(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "client.delete", c.operand, nil); err != nil {
			return err
		}
		return c.say("client %s is gone, and every grant of it has ended", c.operand)
	}
}

func clientList(fs *flag.FlagSet) action {
	tenant := fs.String("tenant", "", "`id` of a tenant (default all)")
	return func(ctx context.Context, c *call) error {
		var clients []authserver.Client
		if err := c.act(ctx, "client.list", *tenant, &clients); err != nil {
			return err
		}
		var rows []string
		for _, k := range clients {
			rows = append(rows, strings.Join([]string{k.ID, dash(k.Name), dash(k.TenantID), strings.Join(k.GrantTypes, " "), k.Origin, when(k.CreatedAt)}, "\t"))
		}
		return c.table("ID\tNAME\tTENANT\tGRANT TYPES\tORIGIN\tCREATED", rows)
	}
}

func initialTokenCreate(fs *flag.FlagSet) action {
	s := authserver.InitialTokenSpec{}
	fs.StringVar(&s.Tenant, "tenant", "", "`id` of the tenant to which the clients will belong")
	scopes := scopesFlag(fs, "the most that the clients may do: `scopes` divided by commas (default the tenant's)")
	fs.IntVar(&s.Uses, "uses", 1, "how `many` clients may register with it")
	fs.DurationVar(&s.Life, "life", time.Hour, "how `long` it may be used")
	return func(ctx context.Context, c *call) error {
		s.Scopes = config.List(*scopes)
		var token string
		if err := c.act(ctx, "initial_token.create", s, &token); err != nil {
			return err
		}
		return c.say("%s", token)
	}
}

func grantList(fs *flag.FlagSet) action {
	f := authserver.GrantFilter{}
	fs.StringVar(&f.TenantID, "tenant", "", "`id` of a tenant (default all)")
	fs.StringVar(&f.ClientID, "client", "", "`id` of a client (default all)")
	fs.StringVar(&f.UserID, "user", "", "`id` of a person (default all)")
	fs.BoolVar(&f.Alive, "alive", false, "only those that have not ended")
	fs.IntVar(&f.Limit, "limit", 100, "at most `this many`")
	return func(ctx context.Context, c *call) error {
		var grants []authserver.Grant
		if err := c.act(ctx, "grant.list", f, &grants); err != nil {
			return err
		}
		var rows []string
		for _, g := range grants {
			state := "alive"
			if g.Ended() {
				state = "ended " + when(g.EndedAt) + ": " + g.EndReason
			}
			rows = append(rows, strings.Join([]string{g.ID, g.TenantID, g.ClientID, dash(g.UserID), strings.Join(g.Scopes, " "), when(g.CreatedAt), state}, "\t"))
		}
		return c.table("ID\tTENANT\tCLIENT\tUSER\tSCOPES\tCREATED\tSTATE", rows)
	}
}

func grantEnd(fs *flag.FlagSet) action {
	reason := fs.String("reason", "", "`why`, for the record")
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "grant.end", authserver.GrantEnd{ID: c.operand, Reason: *reason}, nil); err != nil {
			return err
		}
		return c.say("grant %s has ended, and every token of it", c.operand)
	}
}

func keysList(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		var keys []authserver.Key
		if err := c.act(ctx, "keys.list", struct{}{}, &keys); err != nil {
			return err
		}
		var rows []string
		for _, k := range keys {
			rows = append(rows, strings.Join([]string{k.KID, k.Algorithm, k.State, when(k.CreatedAt), when(k.ActiveAt)}, "\t"))
		}
		return c.table("KID\tALGORITHM\tSTATE\tCREATED\tSIGNS FROM", rows)
	}
}

func keysRotate(fs *flag.FlagSet) action {
	k := authserver.KeyTurn{}
	fs.StringVar(&k.Algorithm, "algorithm", "", "`algorithm` of the key (default the resources'; RS256 signs id tokens)")
	fs.BoolVar(&k.Soon, "now", false, "sign with it after ten seconds, before every resource has read it")
	return func(ctx context.Context, c *call) error {
		var kid string
		if err := c.act(ctx, "keys.rotate", k, &kid); err != nil {
			return err
		}
		return c.say("%s", kid)
	}
}

func keysWithdraw(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "keys.withdraw", c.operand, nil); err != nil {
			return err
		}
		return c.say("key %s is withdrawn", c.operand)
	}
}

func when(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
