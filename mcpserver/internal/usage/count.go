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

// FlushEvery is how often what was counted is added to the database.
const FlushEvery = 5 * time.Second

const (
	maxKeys   = 10_000           // counted apart in one hour, by one replica
	maxEach   = maxKeys / 10     // of them one tenant's: a rule with a star opens as many names as a caller makes up
	maxAgents = 50               // of them programs that show no good token: strangers choose their names
	lastWait  = 5 * time.Second  // for the last flush
	flushWait = 10 * time.Second // for each other
)

// Counter counts decisions. It is safe for concurrent use.
type Counter struct {
	book *auditstore.DB
	now  func() time.Time
	log  *slog.Logger

	flushing sync.Mutex // one at a time

	mu       sync.Mutex
	pending  map[Key]Sum
	hour     int64 // of what follows
	known    map[Key]bool
	each     map[string]int // of them each tenant's
	agents   map[string]bool
	overflow Overflow
	refusals refusals
}

// Overflow is what found no room since the start, and what could not be written.
type Overflow struct {
	Refusals int64 // at the door, that are not kept
	Requests int64 // counted under Other
	Agents   int64 // whose program's name was left away
	Failed   int64 // flushes that did not succeed
	Pending  int   // keys that wait to be written
	said     bool  // in this hour
}

// NewCounter makes a counter. Run it, or flush it when it was used.
func NewCounter(b *auditstore.DB, now func() time.Time, log *slog.Logger) *Counter {
	return &Counter{book: b, now: now, log: log, pending: map[Key]Sum{}, known: map[Key]bool{}, each: map[string]int{},
		agents: map[string]bool{}}
}

// Record counts a decision about what is called name. It never waits for a store, and keeps nothing
// of the message.
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

// count adds a sum, under a key that has room, and says whether it is the first of this hour that
// has none, among all or among its tenant's own.
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

// Overflow says what found no room.
func (c *Counter) Overflow() Overflow {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.overflow
	o.Pending, o.Refusals = len(c.pending), c.refusals.dropped
	return o
}

// Flush adds what was counted to the database. What cannot be written waits for the next time. An
// answer of the database that is lost may count twice.
func (c *Counter) Flush(ctx context.Context) error {
	c.flushing.Lock()
	defer c.flushing.Unlock()
	c.mu.Lock()
	taken := c.pending
	c.pending = map[Key]Sum{}
	refused := c.refusals.take()
	c.mu.Unlock()
	err := writeRefusals(ctx, c.book, refused) // what cannot be written is lost: the next of its kind says the same
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

// Run flushes from time to time, looks for what is unusual and forgets what is old, until ctx ends;
// then it flushes once more.
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

// step bounds one step in time, so that a store that hangs does not stop the others.
func (c *Counter) step(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, flushWait)
	defer cancel()
	return do(ctx)
}

// sorted are the keys in one order for all replicas, so that none waits for a row of another that
// waits for one of it.
func sorted(sums map[Key]Sum) []Key {
	keys := make([]Key, 0, len(sums))
	for k := range sums {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compare)
	return keys
}
