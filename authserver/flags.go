package authserver

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/shared/flags"
)

// RegisterFlags registers the flags of lifetimes and limits, which every program that runs the
// authorization server has. Their defaults are Config's.
func (c *Config) RegisterFlags(fs *pflag.FlagSet) {
	defaults(c)
	fs.DurationVar(&c.AuthorizationCodeLifetime, "authorization-code-lifetime", c.AuthorizationCodeLifetime,
		"lifetime of an authorization code, at most 10m")
	fs.DurationVar(&c.RefreshTokenIdleTimeout, "refresh-token-idle-timeout", c.RefreshTokenIdleTimeout,
		"a refresh token that is not used for so long expires")
	fs.DurationVar(&c.RefreshTokenLifetime, "refresh-token-lifetime", c.RefreshTokenLifetime,
		"time after the authorization at which its refresh tokens expire, however often they were rotated")
	flags.OptionalDurationVar(fs, &c.ReplayWindow, "replay-window",
		"time in which a used refresh token returns the same successor again, because the response may have been "+
			"lost, at most 5m; 0: never; a stolen one can be used unnoticed for as long")
	fs.DurationVar(&c.SessionLifetime, "session-lifetime", c.SessionLifetime, "how long a person stays signed in")
	flags.OptionalDurationVar(fs, &c.KeyRotationInterval, "key-rotation-interval",
		"how long a signing key signs before the next one replaces it, at least 1h; 0: until an operator rotates it")
	fs.DurationVar(&c.ClientIdleTimeout, "client-idle-timeout", c.ClientIdleTimeout,
		"clients that registered themselves are deleted when they are not used for so long")
	flags.OptionalDurationVar(fs, &c.AuditRetention, "audit-retention",
		"how long audit records are kept, at least 24h; 0: forever")
	fs.StringVar(&c.DPoPNonce, "dpop-nonce", c.DPoPNonce,
		"whether DPoP proofs must have a nonce: required, or optional (one is offered, and is checked when used)")
	fs.DurationVar(&c.DPoPWindow, "dpop-window", c.DPoPWindow,
		"time by which the iat of a DPoP proof may differ from the clock, at most 5m")
	fs.Int64Var(&c.MaxClients, "max-clients", c.MaxClients,
		"number of clients that may register themselves; beyond it those are deleted first that no person allowed")
	fs.Int64Var(&c.AuthorizationsPerMinute, "authorizations-per-minute", c.AuthorizationsPerMinute,
		"number of authorization, device and pushed requests from one address in a minute")
	fs.Int64Var(&c.IntrospectionsPerMinute, "introspections-per-minute", c.IntrospectionsPerMinute,
		"number of tokens that one client may introspect in a minute")
	fs.Int64Var(&c.SignInsPerAddress, "sign-ins-per-address", c.SignInsPerAddress,
		"number of wrong passwords from one address in five minutes, a tenth of them for one account; a browser or an "+
			"address from which the account signed in before has a tenth of its own")
	fs.Int64Var(&c.SignInsPerAccount, "sign-ins-per-account", c.SignInsPerAccount,
		"number of wrong passwords for one account in an hour, from all addresses")
	fs.Int64Var(&c.MaxInFlight, "max-in-flight", c.MaxInFlight,
		"number of requests served at once at each replica, at least 4; refreshing, revoking and introspecting "+
			"tokens may use all of it, other requests a quarter; a request that waits for half a second gets 503")
	fs.Int64Var(&c.RegistrationsPerHour, "registrations-per-hour", c.RegistrationsPerHour,
		"number of clients that may be registered from one address in an hour")
}

// The bounds of the configuration.
const (
	maxAuthorizationCodeLifetime = 10 * time.Minute // OAuth 2.1 section 4.1.2
	maxReplayWindow              = 5 * time.Minute
	maxLifetime                  = 10 * 365 * 24 * time.Hour
	minKeyRotationInterval       = time.Hour // a rotated key stays published for about as long
)

// checkFlags rejects lifetimes and limits that are out of bounds.
func (c *Config) checkFlags() error {
	for _, l := range []struct {
		name  string
		value time.Duration
		most  time.Duration
	}{
		{"authorization-code-lifetime", c.AuthorizationCodeLifetime, maxAuthorizationCodeLifetime},
		{"refresh-token-idle-timeout", c.RefreshTokenIdleTimeout, maxLifetime},
		{"refresh-token-lifetime", c.RefreshTokenLifetime, maxLifetime},
		{"session-lifetime", c.SessionLifetime, maxLifetime}, {"client-idle-timeout", c.ClientIdleTimeout, maxLifetime},
	} {
		if l.value < time.Second || l.value > l.most {
			return fmt.Errorf("%s %s is not between 1s and %s", l.name, l.value, l.most)
		}
	}
	switch {
	case c.KeyRotationInterval >= 0 &&
		(c.KeyRotationInterval < minKeyRotationInterval || c.KeyRotationInterval > maxLifetime):
		return fmt.Errorf("key-rotation-interval %s is not between %s and %s; 0 means never", c.KeyRotationInterval,
			minKeyRotationInterval, maxLifetime)
	case c.ReplayWindow > maxReplayWindow:
		return fmt.Errorf("replay-window %s is longer than %s: a stolen refresh token could be used unnoticed for so "+
			"long", c.ReplayWindow, maxReplayWindow)
	case c.RefreshTokenIdleTimeout > c.RefreshTokenLifetime:
		return fmt.Errorf("refresh-token-idle-timeout %s is longer than refresh-token-lifetime %s",
			c.RefreshTokenIdleTimeout, c.RefreshTokenLifetime)
	case c.ClientIdleTimeout < c.RefreshTokenIdleTimeout:
		return fmt.Errorf("client-idle-timeout %s is shorter than refresh-token-idle-timeout %s: clients would be "+
			"deleted before their tokens expire", c.ClientIdleTimeout, c.RefreshTokenIdleTimeout)
	case c.AuditRetention >= 0 && c.AuditRetention < 24*time.Hour:
		return fmt.Errorf("audit-retention %s is shorter than a day", c.AuditRetention)
	}
	for _, l := range []struct {
		name  string
		value int64
	}{
		{"max-clients", c.MaxClients}, {"registrations-per-hour", c.RegistrationsPerHour},
		{"authorizations-per-minute", c.AuthorizationsPerMinute},
		{"introspections-per-minute", c.IntrospectionsPerMinute}, {"sign-ins-per-address", c.SignInsPerAddress},
		{"sign-ins-per-account", c.SignInsPerAccount}, {"max-in-flight", c.MaxInFlight},
	} {
		if l.value < 1 {
			return fmt.Errorf("%s is %d, expected at least 1", l.name, l.value)
		}
	}
	return nil
}
