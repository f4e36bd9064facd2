package usage

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/auditstore"
)

// FlushEvery is the interval of writing usage to the database.
const FlushEvery = 5 * time.Second

const (
	maxKeys   = 10_000           // keys of one hour at one replica
	maxEach   = maxKeys / 10     // of one tenant: a pattern allows as many names as callers invent
	maxAgents = 50               // programs without a valid token, which choose their names
	lastWait  = 5 * time.Second  // timeout of the last flush
	flushWait = 10 * time.Second // timeout of other flushes
)

// Counter counts decisions. It is safe for concurrent use.
type Counter struct {
	book *auditstore.DB
	now  func() time.Time
	log  *slog.Logger

	flushing sync.Mutex // one at a time

	mu       sync.Mutex
	pending  map[Key]Sum
	hour     int64 // of the fields below
	known    map[Key]bool
	each     map[string]int // keys of each tenant
	agents   map[string]bool
	overflow Overflow
	refusals refusals
}

// Overflow counts what was not kept or not written since the start.
type Overflow struct {
	Refusals int64 // refusals that were not kept
	Requests int64 // counted under Other
	Agents   int64 // without the name of their program
	Failed   int64 // failed flushes
	Pending  int   // keys that are not written yet
	said     bool  // logged in this hour
}

// NewCounter returns a counter. Run it, or flush it after use.
func NewCounter(b *auditstore.DB, now func() time.Time, log *slog.Logger) *Counter {
	return &Counter{book: b, now: now, log: log, pending: map[Key]Sum{}, known: map[Key]bool{}, each: map[string]int{},
		agents: map[string]bool{}}
}

// Record counts a decision. It never waits for a store, and keeps nothing of the message.
func (c *Counter) Record(r *guard.Record, name string) {
	k := Key{
		Hour: hourOf(r.At), Tenant: r.Caller.TenantID, Client: r.Caller.ClientID, Agent: r.Agent,
		Method: r.MethodLabel(), Name: name,
		Outcome: r.Outcome(), Reason: r.Refused, Lacking: strings.Join(r.Decision.Lacking, " "),
	}
	micros := r.Duration.Microseconds()
	s := Sum{Calls: 1, Micros: micros, Slowest: micros, Last: r.At.Unix()}
	c.mu.Lock()
	full, own := c.count(k, s)
	if r.Denial != nil && !r.Passed {
		c.refusals.add(r)
	}
	c.mu.Unlock()
	if own {
		c.log.Warn("a tenant's usage is counted under the name "+Other+
			" until the hour ends: too many different callers and tools", "tenant", k.Tenant, "most", maxEach)
	}
	if full {
		c.log.Warn("usage is counted under "+Other+" until the hour ends: too many different callers and tools", "most",
			maxKeys)
	}
}

// count adds a sum to its key, or to another if there are too many, and reports whether that is the
// first time in this hour, in total or for the tenant.
func (c *Counter) count(k Key, s Sum) (full, own bool) {
	if k.Hour > c.hour {
		c.hour, c.overflow.said = k.Hour, false
		clear(c.known)
		clear(c.each)
		clear(c.agents)
	}
	if k.Agent != "" && !c.agents[k.Agent] {
		if len(c.agents) >= maxAgents {
			k.Agent = Other
			c.overflow.Agents++
		} else {
			c.agents[k.Agent] = true
		}
	}
	asked := k
	if !c.known[k] && c.each[k.Tenant] >= maxEach {
		own = c.each[k.Tenant] == maxEach
		k = k.share()
	}
	if !c.known[k] {
		if len(c.known) >= maxKeys || len(c.pending) >= 2*maxKeys {
			k = k.overflow()
			full, c.overflow.said = !c.overflow.said, true
		} else {
			c.known[k] = true
			c.each[k.Tenant]++
		}
	}
	if k != asked {
		c.overflow.Requests++
	}
	c.pending[k] = c.pending[k].plus(s)
	return full, own
}

// Overflow returns what was not kept.
func (c *Counter) Overflow() Overflow {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.overflow
	o.Pending, o.Refusals = len(c.pending), c.refusals.dropped
	return o
}

// Flush writes usage to the database. What cannot be written is retried with the next flush. It may
// be counted twice if the response of the database is lost.
func (c *Counter) Flush(ctx context.Context) error {
	c.flushing.Lock()
	defer c.flushing.Unlock()
	c.mu.Lock()
	taken := c.pending
	c.pending = map[Key]Sum{}
	refused := c.refusals.take()
	c.mu.Unlock()
	err := writeRefusals(ctx, c.book, refused) // lost if it cannot be written: the next of its kind says the same
	if err = errors.Join(err, write(ctx, c.book, taken)); err == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.overflow.Failed++
	for k, s := range taken {
		c.pending[k] = c.pending[k].plus(s)
	}
	return err
}

// Run flushes, detects what is unusual and deletes old rows periodically until ctx is done; then it
// flushes once more.
func (c *Counter) Run(ctx context.Context) {
	flush, look, sweep := time.NewTicker(FlushEvery), time.NewTicker(lookEvery), time.NewTicker(sweepEvery)
	defer flush.Stop()
	defer look.Stop()
	defer sweep.Stop()
	for {
		var err error
		var step string
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
			defer cancel()
			if err := c.Flush(ctx); err != nil {
				c.log.Error("usage of the last seconds is lost", "error", err)
			}
			return
		case <-flush.C:
			step, err = "write usage", c.step(ctx, c.Flush)
		case <-look.C:
			step, err = "look for what is unusual",
				c.step(ctx, func(ctx context.Context) error { _, err := Detect(ctx, c.book, c.now()); return err })
		case <-sweep.C:
			step, err = "forget old usage", c.step(ctx, func(ctx context.Context) error {
				return errors.Join(forget(ctx, c.book, c.now()), forgetRefusals(ctx, c.book, c.now()),
					forgetSignals(ctx, c.book, c.now()))
			})
		}
		if err != nil && ctx.Err() == nil {
			c.log.Error("background step did not succeed", "step", step, "error", err)
		}
	}
}

// step limits the time of one step, so that a store that hangs does not stop the others.
func (c *Counter) step(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, flushWait)
	defer cancel()
	return do(ctx)
}

// sorted returns the keys in the same order at all replicas, to prevent deadlocks.
func sorted(sums map[Key]Sum) []Key {
	keys := make([]Key, 0, len(sums))
	for k := range sums {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compare)
	return keys
}
