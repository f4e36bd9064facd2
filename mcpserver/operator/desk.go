// Package operator owns what an operator sees and sets of protected MCP servers while they run: how
// strictly the rules count, what is used by whom, and why a caller sees what they see. The
// companion server has a desk, and so has the gateway.
package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/auditstore"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/calls"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/metrics"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/rollout"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/usage"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
)

// Server is one protected MCP server as its operator sees it.
type Server struct {
	// Name stands before the names of its tools, as crm in crm/read_note. Empty: there is no other.
	Name string
	// Table finds the rules of a tenant.
	Table func(tenantID string) *guard.Table
	// Tools are those of a tenant that are known by name, and the rules with a star that open
	// others. An empty tenant: nobody's, or all that there are.
	Tools func(tenantID string) []Tool
	// Inspect believes a token; see guard.Inspect.
	Inspect func(ctx context.Context, raw string) (guard.Inspected, error)
}

// Tool is a tool by its name, as the tenant's clients know it; or all others that a rule with a
// star is about.
type Tool struct {
	Name string
	// Own is the server's own name of it, where the tenant's is another.
	Own string
	// Pattern says that Name is that of a rule with a star, and the tools are all others that it
	// opens.
	Pattern bool
	// Away says why nobody of the tenant has it, whatever their scopes. Empty: the rules say who
	// has it.
	Away string
}

// name is a tool's name beside those of other servers; of no tool, the server's own.
func (s *Server) name(tool string) string { return nameOf(s.Name, tool) }

func nameOf(server, tool string) string {
	switch {
	case server == "":
		return tool
	case tool == "":
		return server
	}
	return server + rollout.Divider + tool
}

// Options are what a desk gets.
type Options struct {
	// AuditRetention is how long audit lines are kept. 0: 400 days; negative: for ever.
	AuditRetention time.Duration
	// CallRetention is how long records of tools' calls are kept. 0: 90 days; negative: for ever.
	CallRetention time.Duration
	// Serves says that calls are served, and recorded, by this process: a command only reads.
	Serves      bool
	Anonymous   bool // requests without a good token may pass
	Relaxations int  // how many settings take a protection away
	Now         func() time.Time
	Log         *slog.Logger
}

// Desk is the operator's door to protected servers. It is safe for concurrent use, once all servers
// are added.
type Desk struct {
	Options
	book    *auditstore.DB
	modes   *rollout.Modes
	usage   *usage.Counter
	metrics *metrics.Registry
	calls   *calls.Log
	servers []*Server
}

// Open opens a migrated database (sqlite:PATH or postgres://…), and reads the modes: those that
// cannot be read leave all rules to count. Close it after use.
func Open(ctx context.Context, database string, o Options) (*Desk, error) {
	b, err := auditstore.Open(ctx, database)
	if err != nil {
		return nil, err
	}
	d := &Desk{Options: o, book: b, modes: rollout.New(b, o.Now, o.Log), usage: usage.NewCounter(b, o.Now, o.Log)}
	d.metrics = metrics.New(d.gauges)
	d.calls = calls.New(ctx, b, o.Serves, o.Now, o.Log)
	if err := d.modes.Refresh(ctx); err != nil {
		o.Log.Error("the rollout's modes cannot be read: all rules count", "error", err)
	}
	return d, nil
}

// Add makes a server known.
func (d *Desk) Add(s Server) { d.servers = append(d.servers, &s) }

// Rollout says how strictly the rules of a server count.
func (d *Desk) Rollout(server string) guard.Rollout { return modesOf{d.modes, server} }

// modesOf are the modes of one server.
type modesOf struct {
	modes  *rollout.Modes
	server string
}

// Mode implements guard.Rollout.
func (m modesOf) Mode(tenantID, name string) guard.Mode {
	return m.modes.Mode(tenantID, nameOf(m.server, name))
}

// Record is told the decisions of a server, for the hours and for who collects numbers.
func (d *Desk) Record(server string) func(guard.Record) {
	return func(r guard.Record) {
		d.usage.Record(&r, nameOf(server, r.NameLabel()))
		d.metrics.Record(&r, nameOf(server, r.RuleLabel()))
		if r.Decision.Kind == guard.KindTool {
			d.calls.Record(&r, nameOf(server, r.Decision.Name))
		}
	}
}

// CallsWaiting is how many records of calls wait to be written.
func (d *Desk) CallsWaiting() int { return d.calls.State().Waiting }

// Begin records a call of a server's tool that is about to be passed on; see guard.Policy.
func (d *Desk) Begin(server string) func(context.Context, *guard.Record) error {
	return func(ctx context.Context, r *guard.Record) error {
		return d.calls.Begin(ctx, r, nameOf(server, r.Decision.Name))
	}
}

// Metrics answers GET /metrics. It asks nobody who they are, and tells tenants' names: give it a
// listener of its own.
func (d *Desk) Metrics() http.Handler { return d.metrics }

// gauges are what who collects numbers should know of the rest.
func (d *Desk) gauges() []metrics.Gauge {
	lost, lenient, anonymous := d.usage.Overflow(), 0, 0
	for _, m := range d.modes.All() {
		if m.Mode != guard.Enforce {
			lenient++
		}
	}
	if d.Anonymous {
		anonymous = 1
	}
	kept, down := d.calls.State(), 0
	if kept.Down {
		down = 1
	}
	return []metrics.Gauge{
		{Name: "gatehouse_relaxations", Help: "Settings that take a protection away.", Value: float64(d.Relaxations)},
		{Name: "gatehouse_insecure_allow_anonymous", Help: "1 when requests without a good token may pass, as nobody.",
			Value: float64(anonymous)},
		{Name: "gatehouse_rollout_lenient_modes", Help: "Modes of tenants and tools that are not enforce.",
			Value: float64(lenient)},
		{Name: "gatehouse_rollout_age_seconds", Help: "How long ago the modes were read; above 10 all rules count.",
			Value: d.modes.Age().Seconds()},
		{Name: "gatehouse_usage_pending", Help: "Sums that wait to be written.", Value: float64(lost.Pending)},
		{Name: "gatehouse_usage_other_total", Help: "Requests that are counted in usage without their caller and tool.",
			Value: float64(lost.Requests)},
		{Name: "gatehouse_refusals_dropped_total",
			Help: "Refusals at the door that found no room in the list of refusals.", Value: float64(lost.Refusals)},
		{Name: "gatehouse_usage_failures_total", Help: "Times that usage could not be written.",
			Value: float64(lost.Failed)},
		{Name: "gatehouse_call_records_down", Help: "1 while records of tools' calls cannot be written.",
			Value: float64(down)},
		{Name: "gatehouse_call_records_waiting", Help: "Records of tools' calls that wait to be written.",
			Value: float64(kept.Waiting)},
		{Name: "gatehouse_call_records_lost_total", Help: "Records of tools' calls that are lost.",
			Value: float64(kept.Lost)},
		{Name: "gatehouse_calls_unrecorded_total",
			Help: "Calls that were answered 503 because they could not be recorded.", Value: float64(kept.Unrecorded)},
	}
}

// Run does the background work until ctx ends: modes are read anew, usage is written.
func (d *Desk) Run(ctx context.Context) {
	var work sync.WaitGroup
	work.Go(func() { d.modes.Run(ctx) })
	work.Go(func() { d.usage.Run(ctx) })
	work.Go(func() { d.book.Audit().Run(ctx, d.Log) }) // lines get their place in the chain
	work.Go(func() { d.book.Calls().Run(ctx, d.Log) })
	work.Go(func() { d.prune(ctx) })
	work.Wait()
}

// How long audit lines and records of calls are kept by default, and how often it is looked for
// those that are kept no longer.
const (
	defaultRetention     = 400 * 24 * time.Hour
	defaultCallRetention = 90 * 24 * time.Hour
	pruneEvery           = time.Hour
)

// prune deletes audit lines and records of calls that are kept no longer, until ctx ends.
func (d *Desk) prune(ctx context.Context) {
	turn := time.NewTicker(pruneEvery)
	defer turn.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-turn.C:
		}
		if err := d.Prune(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("background step did not succeed", "step", "delete old audit lines", "error", err)
		}
	}
}

// Prune deletes audit lines and records of calls that are kept no longer.
func (d *Desk) Prune(ctx context.Context) error {
	var errs []error
	for _, p := range []struct {
		of    *chain.Chain
		keeps time.Duration
	}{{d.book.Audit(), cmp.Or(d.AuditRetention, defaultRetention)},
		{d.book.Calls(), cmp.Or(d.CallRetention, defaultCallRetention)}} {
		if p.keeps > 0 {
			_, err := p.of.Prune(ctx, d.Now().Add(-p.keeps))
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// lastFlush bounds the writing of what was counted after Run ended, or without it.
const lastFlush = 5 * time.Second

// Close writes what was counted, and closes the database.
func (d *Desk) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), lastFlush)
	defer cancel()
	d.calls.Close()
	return errors.Join(d.usage.Flush(ctx), d.book.Close())
}

// find is the server of a tool's name, and the tool's own name; tool is empty when the name is the
// server's. nil: there is none.
func (d *Desk) find(name string) (s *Server, tool string) {
	first, rest, _ := strings.Cut(name, rollout.Divider)
	for _, s := range d.servers {
		switch s.Name {
		case "":
			return s, name
		case first:
			return s, rest
		}
	}
	return nil, name
}

// names are those of all tools as a tenant knows them, and of the servers that have one.
func (d *Desk) names(tenant string) (names []string) {
	for _, s := range d.servers {
		if s.Name != "" {
			names = append(names, s.Name)
		}
		for _, t := range s.Tools(tenant) {
			names = append(names, s.name(t.Name))
		}
	}
	return names
}

// unknown says why a tenant's mode cannot be of what is called so; nil: there can be such a tool,
// because a rule speaks of it. A server's name stands for all of its tools. Modes go by the names
// that clients use: under the server's own, that of a renamed tool would count for nothing.
func (d *Desk) unknown(tenant, name string) *Refusal {
	none := &Refusal{fmt.Sprintf("there is no tool %.80q", name),
		"the tools are: " + strings.Join(d.names(tenant), " ")}
	s, tool := d.find(name)
	switch {
	case s == nil, s.name(tool) != name:
		return none
	case tool == "":
		return nil
	}
	own := ""
	for _, t := range s.Tools(tenant) {
		if t.Pattern {
			continue
		}
		switch tool {
		case t.Name:
			return nil
		case t.Own:
			own = s.name(t.Name)
		}
	}
	switch {
	case strings.Contains(tool, "*"):
		return &Refusal{fmt.Sprintf("%.80q is no tool: a star stands for nothing here", name),
			"give the name of one tool, or of the server for all of them"}
	case own != "":
		return &Refusal{fmt.Sprintf("the tool %.80q has another name for whom this mode is", name),
			"their clients call it " + own}
	case s.Table(tenant).Decide(mcp.Caller{}, guard.KindTool, tool).Rule == "":
		return none
	}
	return nil
}
