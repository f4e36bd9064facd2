package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

func resourcePut(fs *flag.FlagSet) action {
	r := authserver.Resource{}
	fs.StringVar(&r.Name, "name", "", "`name` for people (default the URI)")
	fs.StringVar(&r.Algorithm, "algorithm", "ES256", "`algorithm` of its tokens' signatures: ES256, RS256 or EdDSA")
	fs.DurationVar(&r.AccessTokenLifetime, "lifetime", 0,
		"`lifetime` of its access tokens (default the issuer's)")
	fs.Func("scope", "a scope and what it opens in plain words, as `NAME=WORDS`; may be repeated",
		func(s string) error {
			name, words, ok := strings.Cut(s, "=")
			if !ok {
				return errors.New("give it as 'notes:read=Read your notes'")
			}
			r.Scopes = append(r.Scopes, authserver.Scope{Name: name, Description: words})
			return nil
		})
	reads := fs.String("read-scopes", "",
		"`scopes` with which nothing can be changed, comma-separated (default by their names)")
	writes := fs.String("write-scopes", "",
		"`scopes` with which something can be changed, comma-separated (default by their names)")
	baseline := fs.String("baseline", "", "`scopes` that a client gets which asks for none, comma-separated")
	fs.Func("alias", "what clients say in place of its URI, exactly; may be `repeated`", func(s string) error {
		r.Aliases = append(r.Aliases, s)
		return nil
	})
	return func(ctx context.Context, c *call) error {
		r.URI = c.operand
		for _, named := range []struct {
			flag, scopes string
			mark         func(*authserver.Scope)
		}{
			{"--baseline", *baseline, func(s *authserver.Scope) { s.Baseline = true }},
			{"--read-scopes", *reads, func(s *authserver.Scope) { s.Access = authserver.AccessRead }},
			{"--write-scopes", *writes, func(s *authserver.Scope) {
				s.Access = authserver.AccessWrite // and where both name it: what is more careful
			}},
		} {
			for _, name := range config.List(named.scopes) {
				i := slices.IndexFunc(r.Scopes, func(s authserver.Scope) bool { return s.Name == name })
				if i < 0 {
					return misused("name it with --scope, too",
						fmt.Errorf("%s names %q, which is no scope of the resource", named.flag, name))
				}
				named.mark(&r.Scopes[i])
			}
		}
		if err := c.act(ctx, "resource.put", r, nil); err != nil {
			return err
		}
		return c.done("tokens are issued for "+r.URI, fact{"uri", r.URI})
	}
}

func resourceList(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		var all []authserver.ResourceFound
		if err := c.act(ctx, "resource.list", struct{}{}, &all); err != nil {
			return err
		}
		var rows [][]any
		for _, r := range all {
			from := "store"
			if r.Fixed {
				from = "configuration"
			}
			rows = append(rows, []any{r.URI, r.Name, r.Algorithm, r.AccessTokenLifetime.Round(time.Second), from,
				r.ScopeNames()})
		}
		return c.list("URI\tNAME\tALGORITHM\tACCESS TOKEN LIFETIME\tFROM\tSCOPES", rows)
	}
}

func resourceRemove(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		if err := c.act(ctx, "resource.remove", c.operand, nil); err != nil {
			return err
		}
		return c.done("no token is issued any more for "+c.operand, fact{"uri", c.operand})
	}
}
