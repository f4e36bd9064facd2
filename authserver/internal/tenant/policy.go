package tenant

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Policy is the most that a tenant allows. It applies to every token from its next issue on: a
// grant that it denies stays, and works again when it is allowed.
type Policy struct {
	// Scopes are the most that any agent of the tenant may get.
	Scopes []string
	// Clients are the only client ids that are allowed, and Registrations the only kinds (see
	// client.Kinds). Empty allows any; when both are set, both must match. For a protected server
	// that exchanges its callers' tokens, the calling client is checked.
	Clients, Registrations []string
	// MaxAccessTokenLifetime bounds the lifetime of access tokens, and MaxRefreshTokenLifetime how
	// long after consent a grant can be refreshed; both in whole seconds. 0 means the issuer's
	// setting. Neither extends it.
	MaxAccessTokenLifetime, MaxRefreshTokenLifetime time.Duration
}

// The bounds of a policy.
const (
	MaxClients     = 1000             // client ids
	MinTokenLife   = 30 * time.Second // with less, clients refresh all the time
	MinRefreshLife = time.Minute
	MaxLife        = 10 * 365 * 24 * time.Hour
)

// Picks reports whether the policy denies any clients at all.
func (p Policy) Picks() bool { return len(p.Clients)+len(p.Registrations) > 0 }

// Refuses returns why a client is denied; empty when it is allowed.
func (p Policy) Refuses(clientID, kind string) string {
	switch {
	case len(p.Registrations) > 0 && !slices.Contains(p.Registrations, kind):
		return fmt.Sprintf("it authorizes only applications that became known in one of these ways: %s; this one: %s",
			strings.Join(p.Registrations, ", "), kind)
	case len(p.Clients) > 0 && !slices.Contains(p.Clients, clientID):
		return "it authorizes only applications that it has named, and this one is not among them"
	}
	return ""
}

// Life returns the lifetime of an access token, bounded by the policy.
func (p Policy) Life(otherwise time.Duration) time.Duration {
	return shorter(p.MaxAccessTokenLifetime, otherwise)
}

// Renewable returns how long a grant can be refreshed, bounded by the policy.
func (p Policy) Renewable(otherwise time.Duration) time.Duration {
	return shorter(p.MaxRefreshTokenLifetime, otherwise)
}

func shorter(ceiling, otherwise time.Duration) time.Duration {
	if ceiling == 0 {
		return otherwise
	}
	return min(ceiling, otherwise)
}
