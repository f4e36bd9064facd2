// Package usage owns how much of what is used by whom: sums by the hour, never a request, and what
// in them is unusual.
//
// A request is counted in memory, which costs it no more than a moment, and memory is added to the
// database's rows every few seconds: a process that is killed loses what it counted since,
// FlushEvery at most when the database answers. Replicas add to the same rows.
package usage

import (
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
)

// Key is what is counted apart.
type Key struct {
	Hour   int64  // when it began, in Unix seconds
	Tenant string // empty: nobody, a request without a good token
	Client string
	Agent  string // what nobody's program calls itself
	Method string
	Name   string // of a tool or a prompt; of a resource, its rule's
	// Outcome is one of guard's words.
	Outcome string
	Reason  string // why it was refused, or would have been
	Lacking string // scopes, divided by spaces
}

// Sum is what was counted.
type Sum struct {
	Calls   int64
	Micros  int64 // that they took together
	Slowest int64 // in microseconds
	Last    int64 // when the last one began, in Unix seconds
}

func (s Sum) plus(o Sum) Sum {
	return Sum{s.Calls + o.Calls, s.Micros + o.Micros, max(s.Slowest, o.Slowest), max(s.Last, o.Last)}
}

const hour = int64(time.Hour / time.Second)

// hourOf is when the hour of a moment began.
func hourOf(t time.Time) int64 { return t.Unix() - t.Unix()%hour }

// Other is the tenant under which all is counted that has no room of its own.
const Other = guard.Other

// overflow is the key under which all keys are counted that have no room. What became of the
// requests stays: whether rules can be enforced hangs on it.
func (k Key) overflow() Key { return Key{Hour: k.Hour, Tenant: Other, Outcome: k.Outcome} }

// share is the key under which those of a tenant are counted that are more than its share: it shuts
// out no other.
func (k Key) share() Key { return Key{Hour: k.Hour, Tenant: k.Tenant, Name: Other, Outcome: k.Outcome} }
