// Package usage counts requests by tenant, client and tool in each hour, and detects what is
// unusual. It stores sums, never requests.
//
// Requests are counted in memory, and the sums are added to the rows of the database every few
// seconds. A process that is killed loses at most FlushEvery if the database answers. Replicas add
// to the same rows.
package usage

import (
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
)

// Key is what is counted separately.
type Key struct {
	Hour   int64  // its start, in Unix seconds
	Tenant string // empty: anonymous
	Client string
	Agent  string // User-Agent of an anonymous request
	Method string
	Name   string // of a tool or prompt, or of a resource's rule
	// Outcome is one of guard.Outcome….
	Outcome string
	Reason  string // of the denial, enforced or not
	Lacking string // scopes, space-separated
}

// Sum is what is counted for a Key.
type Sum struct {
	Calls   int64
	Micros  int64 // total duration
	Slowest int64 // in microseconds
	Last    int64 // start of the last request, in Unix seconds
}

func (s Sum) plus(o Sum) Sum {
	return Sum{s.Calls + o.Calls, s.Micros + o.Micros, max(s.Slowest, o.Slowest), max(s.Last, o.Last)}
}

const hour = int64(time.Hour / time.Second)

// hourOf returns the start of an hour.
func hourOf(t time.Time) int64 { return t.Unix() - t.Unix()%hour }

// Other is the tenant for everything beyond the limits.
const Other = guard.Other

// overflow returns the key for keys beyond the limit. It keeps the outcome, which decides whether
// rules can be enforced.
func (k Key) overflow() Key { return Key{Hour: k.Hour, Tenant: Other, Outcome: k.Outcome} }

// share returns the key for keys beyond a tenant's limit.
func (k Key) share() Key { return Key{Hour: k.Hour, Tenant: k.Tenant, Name: Other, Outcome: k.Outcome} }
