package authserver

import (
	"flag"
	"fmt"
	"time"
)

// RegisterLives says on the command line how long things live and how many there may be. Every
// program that runs this wing has the same words for it; their defaults are Config's.
func (c *Config) RegisterLives(fs *flag.FlagSet) {
	defaults(c)
	fs.DurationVar(&c.CodeLife, "code-life", c.CodeLife, "`life` of an authorization code, at most 10m")
	fs.DurationVar(&c.RefreshIdle, "refresh-idle", c.RefreshIdle,
		"a refresh token that is not used for so `long` is over")
	fs.DurationVar(&c.RefreshLife, "refresh-life", c.RefreshLife,
		"a permission cannot be renewed any more after so `long`, however often it was")
	fs.Var((*window)(&c.ReplayWindow), "replay-window",
		"for so `long` a spent refresh token brings the same successor again, because the answer may have been lost; "+
			"0: never")
	fs.DurationVar(&c.SessionLife, "session-life", c.SessionLife, "how `long` a person stays signed in")
	fs.Var((*window)(&c.KeyAge), "key-age",
		"a signing key signs for so `long`, then the next takes its place by itself; 0: when somebody rotates")
	fs.DurationVar(&c.ClientIdle, "client-idle", c.ClientIdle,
		"clients that made themselves known and that nobody uses for so `long` are unknown again")
	fs.Var((*window)(&c.AuditRetention), "audit-retention",
		"how `long` audit lines are kept, at least 24h; 0: for ever")
	fs.StringVar(&c.DPoPNonce, "dpop-nonce", c.DPoPNonce,
		"`whether` DPoP proofs must have a nonce: required, or optional (one is offered)")
	fs.DurationVar(&c.DPoPWindow, "dpop-window", c.DPoPWindow,
		"`time` that the iat of a DPoP proof may be from now, at most 5m")
	fs.Int64Var(&c.MostClients, "most-clients", c.MostClients, "how `many` clients may register by themselves")
	fs.Int64Var(&c.AuthorizationsPerMinute, "authorizations-per-minute", c.AuthorizationsPerMinute,
		"how `many` authorization, device and pushed requests may come from one address in a minute")
	fs.Int64Var(&c.IntrospectionsPerMinute, "introspections-per-minute", c.IntrospectionsPerMinute,
		"how `many` tokens one client may introspect in a minute")
	fs.Int64Var(&c.SignInsPerAddress, "sign-ins-per-address", c.SignInsPerAddress,
		"how `many` wrong passwords may come from one address in five minutes, a tenth of them for one account")
	fs.Int64Var(&c.SignInsPerAccount, "sign-ins-per-account", c.SignInsPerAccount,
		"how `many` wrong passwords may come for one account in an hour, from wherever")
	fs.Int64Var(&c.MostInFlight, "most-in-flight", c.MostInFlight,
		"how `many` requests are worked on at once, at least 4; a quarter of them at most other than refreshing, "+
			"revoking and introspecting tokens")
	fs.Int64Var(&c.RegistrationsPerHour, "registrations-per-hour", c.RegistrationsPerHour,
		"how `many` clients may be registered from one address in an hour")
}

// window is a duration of which 0 means none, as people write it, and is kept as a negative one, as
// Config has it.
type window time.Duration

func (w *window) String() string { return max(time.Duration(*w), 0).String() }

func (w *window) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not a length of time such as 30s", s)
	}
	if d == 0 {
		d = -1
	}
	*w = window(d)
	return nil
}

// The bounds of what may be configured.
const (
	maxCodeLife     = 10 * time.Minute // OAuth 2.1 §4.1.2
	maxReplayWindow = 5 * time.Minute
	maxLife         = 10 * 365 * 24 * time.Hour
	minKeyAge       = time.Hour // each key that was turned stays published for about as long
)

// checkLives refuses lives that cannot be meant.
func (c *Config) checkLives() error {
	for _, l := range []struct {
		name  string
		value time.Duration
		most  time.Duration
	}{
		{"code life", c.CodeLife, maxCodeLife}, {"refresh idle", c.RefreshIdle, maxLife},
		{"refresh life", c.RefreshLife, maxLife}, {"session life", c.SessionLife, maxLife},
		{"client idle", c.ClientIdle, maxLife},
	} {
		if l.value < time.Second || l.value > l.most {
			return fmt.Errorf("%s %s is not between 1s and %s", l.name, l.value, l.most)
		}
	}
	switch {
	case c.KeyAge >= 0 && (c.KeyAge < minKeyAge || c.KeyAge > maxLife):
		return fmt.Errorf("key age %s is not between %s and %s; 0 means never", c.KeyAge, minKeyAge, maxLife)
	case c.ReplayWindow > maxReplayWindow:
		return fmt.Errorf("replay window %s is longer than %s: whoever steals a refresh token shares its chain "+
			"unnoticed for so long", c.ReplayWindow, maxReplayWindow)
	case c.RefreshIdle > c.RefreshLife:
		return fmt.Errorf("refresh idle %s is longer than refresh life %s", c.RefreshIdle, c.RefreshLife)
	case c.ClientIdle < c.RefreshIdle:
		return fmt.Errorf("client idle %s is shorter than refresh idle %s: clients would be unknown before their "+
			"tokens are over", c.ClientIdle, c.RefreshIdle)
	case c.AuditRetention >= 0 && c.AuditRetention < 24*time.Hour:
		return fmt.Errorf("audit retention %s is shorter than a day", c.AuditRetention)
	}
	for _, l := range []struct {
		name  string
		value int64
	}{
		{"most-clients", c.MostClients}, {"registrations-per-hour", c.RegistrationsPerHour},
		{"authorizations-per-minute", c.AuthorizationsPerMinute},
		{"introspections-per-minute", c.IntrospectionsPerMinute}, {"sign-ins-per-address", c.SignInsPerAddress},
		{"sign-ins-per-account", c.SignInsPerAccount}, {"most-in-flight", c.MostInFlight},
	} {
		if l.value < 1 {
			return fmt.Errorf("%s is %d, expected at least 1", l.name, l.value)
		}
	}
	return nil
}
