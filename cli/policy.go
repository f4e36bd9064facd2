package cli

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/flags"
)

func (c *command) policyCommands() *cobra.Command {
	return c.noun(groupPeople, "policy", "Limit what the agents of a tenant may do",
		c.verb("show TENANT", "Show the policy of a tenant", "acme", policyShow),
		c.verb("set", "Set the scopes, clients and token lifetimes that a tenant allows; the rest stays as it is",
			"--tenant acme --registrations operator,tenant --max-access-token-lifetime 5m", policySet, "tenant"),
	)
}

// anyValue is the value that removes a restriction of a policy.
const anyValue = "any"

// limitList defines a list of the policy: without the flag it stays as it is, and "any" is the
// empty list.
func limitList(fs *pflag.FlagSet, to **[]string, name, usage string) {
	flags.Var(fs, "list", name, usage, func(words string) error {
		list := []string{}
		if words != anyValue {
			if list = config.List(words); len(list) == 0 {
				return errors.New("it names nothing: an empty variable of the shell would remove the " +
					"restriction; any does that")
			}
		}
		*to = &list
		return nil
	}, func() string {
		if *to == nil {
			return ""
		}
		return strings.Join(anyList(**to), ",")
	})
}

// limitDuration defines a duration of the policy: without the flag it stays as it is.
func limitDuration(fs *pflag.FlagSet, to **time.Duration, name, usage string) {
	flags.Var(fs, "duration", name, usage, func(s string) error {
		d, err := time.ParseDuration(s)
		*to = &d
		return err
	}, func() string {
		if *to == nil {
			return ""
		}
		return (*to).String()
	})
}

func policySet(fs *pflag.FlagSet) action {
	s := authserver.PolicySpec{}
	fs.StringVar(&s.Tenant, "tenant", "", "id of the tenant")
	limitList(fs, &s.Scopes, "scopes", "the most that its agents may ever do: scopes, comma-separated")
	flags.ListVar(fs, &s.AddScopes, "add-scopes", "scopes to add to those that its agents may have, comma-separated")
	flags.ListVar(fs, &s.RemoveScopes, "remove-scopes", "scopes to remove from them, comma-separated")
	limitList(fs, &s.Clients, "clients", "ids of the only clients that are allowed, comma-separated, or any")
	limitList(fs, &s.Registrations, "registrations",
		"how allowed clients may have been registered, comma-separated: operator, document, dynamic, tenant; or any")
	limitDuration(fs, &s.MaxAccessTokenLifetime, "max-access-token-lifetime",
		"longest lifetime of an access token, e.g. 5m; 0: the resource's")
	limitDuration(fs, &s.MaxRefreshTokenLifetime, "max-refresh-token-lifetime",
		"time after a person's consent in which a grant can be refreshed, e.g. 24h; 0: the issuer's")
	forceFlag(fs, &s.Force)
	return func(ctx context.Context, c *command) error {
		var p authserver.Policy
		if err := c.act(ctx, "policy.set", s, &p); err != nil {
			return err
		}
		return c.fields(policyFields(p))
	}
}

func policyShow(*pflag.FlagSet) action {
	return func(ctx context.Context, c *command) error {
		var p authserver.Policy
		if err := c.act(ctx, "policy.show", c.operand, &p); err != nil {
			return err
		}
		return c.fields(policyFields(p))
	}
}

// policyFields are what a policy allows. An empty list is any, and no lifetime the issuer's.
func policyFields(p authserver.Policy) []field {
	return []field{{"scopes", p.Scopes}, {"clients", anyList(p.Clients)}, {"registrations", anyList(p.Registrations)},
		{"max_access_token_lifetime", p.MaxAccessTokenLifetime},
		{"max_refresh_token_lifetime", p.MaxRefreshTokenLifetime}}
}

func anyList(words []string) []string {
	if len(words) == 0 {
		return []string{anyValue}
	}
	return words
}
