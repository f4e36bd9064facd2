package tenant

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Policy is the most that a tenant allows. It counts for every token from its next issue on: a
// grant that it refuses stays, and goes on when it is allowed again.
type Policy struct {
	// Scopes are the most that any agent of the tenant may do.
	Scopes []string
	// Clients are the ids of the only clients that are let in, and Registrations the only ways in
	// which they may have become known: see client.Kinds. Empty lets in any; where both are given,
	// both must be met. A protected server that passes its callers on is no agent: it is asked
	// about the client that called it.
	Clients, Registrations []string
	// MaxAccessTokenLifetime is the longest life of an access token, and MaxRefreshTokenLifetime
	// for how long after a person's consent a permission can be renewed; both in whole seconds. 0
	// is what the issuer has. Neither makes anything longer.
	MaxAccessTokenLifetime, MaxRefreshTokenLifetime time.Duration
}

// The bounds of what a policy says.
const (
	MaxClients     = 1000             // ids of clients
	MinTokenLife   = 30 * time.Second // shorter, and a client renews all the time
	MinRefreshLife = time.Minute
	MaxLife        = 10 * 365 * 24 * time.Hour
)

// Picks says whether the policy refuses any clients at all.
func (p Policy) Picks() bool { return len(p.Clients)+len(p.Registrations) > 0 }

// Refuses says in plain words why a client of this id and kind is not let in; empty: it is.
func (p Policy) Refuses(clientID, kind string) string {
	switch {
	case len(p.Registrations) > 0 && !slices.Contains(p.Registrations, kind):
		return fmt.Sprintf("it lets in only applications that became known in one of these ways: %s; this one: %s",
			strings.Join(p.Registrations, ", "), kind)
	case len(p.Clients) > 0 && !slices.Contains(p.Clients, clientID):
		return "it lets in only applications that it has named, and this one is not among them"
	}
	return ""
}

// Life is the life of an access token that could otherwise live this long.
func (p Policy) Life(otherwise time.Duration) time.Duration {
	return shorter(p.MaxAccessTokenLifetime, otherwise)
}

// Renewable is for how long a permission can be renewed that could otherwise be for so long.
func (p Policy) Renewable(otherwise time.Duration) time.Duration {
	return shorter(p.MaxRefreshTokenLifetime, otherwise)
}

func shorter(ceiling, otherwise time.Duration) time.Duration {
	if ceiling == 0 {
		return otherwise
	}
	return min(ceiling, otherwise)
}
