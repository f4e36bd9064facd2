// Package operator implements the operator's commands for protected MCP servers: rollout modes,
// usage, records of calls, and why a caller sees which tools. The demo server and the gateway each
// have one registry of commands.
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

// Server is one protected MCP server.
type Server struct {
	// Name is the prefix of its tools, as crm in crm/read_note. Empty: there is no other server.
	Name string
	// Table returns the rules of a tenant.
	Table func(tenantID string) *guard.Table
	// Tools returns the tools of a tenant that are known by name, and the patterns that allow
	// others. An empty tenant: those of anonymous callers, or all.
	Tools func(tenantID string) []Tool
	// Inspect verifies a token; see guard.Inspect.
	Inspect func(ctx context.Context, raw string) (guard.Inspected, error)
}

// Tool is a tool by the name that the tenant's clients use, or all tools of a pattern.
type Tool struct {
	Name string
	// Own is the server's name of the tool, if the tenant has another.
	Own string
	// Pattern says that Name is a pattern.
	Pattern bool
	// Away says why no caller of the tenant can use it. Empty: the rules decide.
	Away string
}

// name returns the name of a tool with the name of its server; of no tool, the server's.
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

// Options configure a Registry.
type Options struct {
	// AuditRetention is how long audit records are kept. 0: 400 days; negative: forever.
	AuditRetention time.Duration
	// CallRetention is how long records of tool calls are kept. 0: 90 days; negative: forever.
	CallRetention time.Duration
	// Serves says that this process serves calls; a command only reads.
	Serves           bool
	Anonymous        bool // requests without a valid token may be allowed
	InsecureSettings int  // number of insecure options that are set
	Now              func() time.Time
	Log              *slog.Logger
}

// Registry holds the operator's commands for protected servers. It is safe for concurrent use once
// all servers are added.
type Registry struct {
	Options
	store   *auditstore.DB
	modes   *rollout.Modes
	usage   *usage.Counter
	metrics *metrics.Registry
	calls   *calls.Log
	servers []*Server
}

// Open opens a migrated database (sqlite:PATH or postgres://…) and reads the modes. If they cannot
// be read, all rules are enforced. Close it after use.
func Open(ctx context.Context, database string, o Options) (*Registry, error) {
	b, err := auditstore.Open(ctx, database)
	if err != nil {
		return nil, err
	}
	g := &Registry{Options: o, store: b, modes: rollout.New(b, o.Now, o.Log), usage: usage.NewCounter(b, o.Now, o.Log)}
	g.metrics = metrics.New(g.gauges)
	g.calls = calls.New(ctx, b, o.Serves, o.Now, o.Log)
	if err := g.modes.Refresh(ctx); err != nil {
		o.Log.Error("the rollout modes cannot be read: all rules are enforced", "error", err)
	}
	return g, nil
}

// Add adds a server.
func (g *Registry) Add(s Server) { g.servers = append(g.servers, &s) }

// Rollout returns the modes of a server.
func (g *Registry) Rollout(server string) guard.Rollout { return modesOf{g.modes, server} }

// modesOf are the modes of one server.
type modesOf struct {
	modes  *rollout.Modes
	server string
}

// Mode implements guard.Rollout.
func (m modesOf) Mode(tenantID, name string) guard.Mode {
	return m.modes.Mode(tenantID, nameOf(m.server, name))
}

// Record returns the guard.Policy.Record of a server, which counts usage and metrics.
func (g *Registry) Record(server string) func(guard.Record) {
	return func(r guard.Record) {
		g.usage.Record(&r, nameOf(server, r.NameLabel()))
		g.metrics.Record(&r, nameOf(server, r.RuleLabel()))
		if r.Decision.Kind == guard.KindTool {
			g.calls.Record(&r, nameOf(server, r.Decision.Name))
		}
	}
}

// CallsWaiting returns the number of records of calls that are not written yet.
func (g *Registry) CallsWaiting() int { return g.calls.State().Waiting }

// Begin returns the guard.Policy.Begin of a server, which records calls before they are forwarded.
func (g *Registry) Begin(server string) func(context.Context, *guard.Record) error {
	return func(ctx context.Context, r *guard.Record) error {
		return g.calls.Begin(ctx, r, nameOf(server, r.Decision.Name))
	}
}

// Metrics serves GET /metrics. It has no authentication and shows the names of tenants: give it a
// listener of its own.
func (g *Registry) Metrics() http.Handler { return g.metrics }

// gauges returns the metrics that other packages count.
func (g *Registry) gauges() []metrics.Gauge {
	lost, lenient, anonymous := g.usage.Overflow(), 0, 0
	for _, m := range g.modes.All() {
		if m.Mode != guard.Enforce {
			lenient++
		}
	}
	if g.Anonymous {
		anonymous = 1
	}
	kept, down := g.calls.State(), 0
	if kept.Down {
		down = 1
	}
	return []metrics.Gauge{
		{Name: "gatehouse_insecure_settings", Help: "Insecure settings that are on.",
			Value: float64(g.InsecureSettings)},
		{Name: "gatehouse_insecure_allow_anonymous",
			Help:  "1 if requests without a valid token may be allowed as anonymous.",
			Value: float64(anonymous)},
		{Name: "gatehouse_rollout_lenient_modes", Help: "Modes of tenants and tools that are not enforce.",
			Value: float64(lenient)},
		{Name: "gatehouse_rollout_age_seconds", Help: "Age of the rollout modes; above 10 all rules are enforced.",
			Value: g.modes.Age().Seconds()},
		{Name: "gatehouse_usage_pending", Help: "Usage rows that are not written yet.", Value: float64(lost.Pending)},
		{Name: "gatehouse_usage_other_total", Help: "Requests whose usage is counted without caller and tool.",
			Value: float64(lost.Requests)},
		{Name: "gatehouse_refusals_dropped_total",
			Help: "Refused requests that the full list of refusals left out.", Value: float64(lost.Refusals)},
		{Name: "gatehouse_usage_failures_total", Help: "Failed writes of usage.",
			Value: float64(lost.Failed)},
		{Name: "gatehouse_call_records_down", Help: "1 while records of tool calls cannot be written.",
			Value: float64(down)},
		{Name: "gatehouse_call_records_waiting", Help: "Records of tool calls that are not written yet.",
			Value: float64(kept.Waiting)},
		{Name: "gatehouse_call_records_lost_total", Help: "Lost records of tool calls.",
			Value: float64(kept.Lost)},
		{Name: "gatehouse_calls_unrecorded_total",
			Help: "Calls that were answered 503 because they could not be recorded.", Value: float64(kept.Unrecorded)},
	}
}

// Run runs the background jobs until ctx is done.
func (g *Registry) Run(ctx context.Context) {
	var work sync.WaitGroup
	work.Go(func() { g.modes.Run(ctx) })
	work.Go(func() { g.usage.Run(ctx) })
	work.Go(func() { g.store.Audit().Run(ctx, g.Log) }) // seals audit records
	work.Go(func() { g.store.Calls().Run(ctx, g.Log) })
	work.Go(func() { g.prune(ctx) })
	work.Wait()
}

// Default retention, and the interval of deleting old records.
const (
	defaultRetention     = 400 * 24 * time.Hour
	defaultCallRetention = 90 * 24 * time.Hour
	pruneEvery           = time.Hour
)

// prune deletes old records periodically until ctx is done.
func (g *Registry) prune(ctx context.Context) {
	turn := time.NewTicker(pruneEvery)
	defer turn.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-turn.C:
		}
		if err := g.Prune(ctx); err != nil && ctx.Err() == nil {
			g.Log.Error("background job failed", "job", "delete old audit lines", "error", err)
		}
	}
}

// Prune deletes audit records and records of calls that are older than their retention.
func (g *Registry) Prune(ctx context.Context) error {
	var errs []error
	for _, p := range []struct {
		of    *chain.Chain
		keeps time.Duration
	}{{g.store.Audit(), cmp.Or(g.AuditRetention, defaultRetention)},
		{g.store.Calls(), cmp.Or(g.CallRetention, defaultCallRetention)}} {
		if p.keeps > 0 {
			_, err := p.of.Prune(ctx, g.Now().Add(-p.keeps))
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// lastFlush is the timeout of the last write of usage.
const lastFlush = 5 * time.Second

// Close writes pending usage and closes the database.
func (g *Registry) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), lastFlush)
	defer cancel()
	g.calls.Close()
	return errors.Join(g.usage.Flush(ctx), g.store.Close())
}

// find returns the server of a tool's name, and the server's name of the tool, which is empty if
// name is the server's. nil: there is none.
func (g *Registry) find(name string) (s *Server, tool string) {
	first, rest, _ := strings.Cut(name, rollout.Divider)
	for _, s := range g.servers {
		switch s.Name {
		case "":
			return s, name
		case first:
			return s, rest
		}
	}
	return nil, name
}

// names returns the names of all tools of a tenant, and of the servers that have one.
func (g *Registry) names(tenant string) (names []string) {
	for _, s := range g.servers {
		if s.Name != "" {
			names = append(names, s.Name)
		}
		for _, t := range s.Tools(tenant) {
			names = append(names, s.name(t.Name))
		}
	}
	return names
}

// unknown returns why a tenant's mode cannot be set for a name; nil: a rule names such a tool. The
// name of a server stands for all its tools. A mode applies to the name that clients use, so it
// cannot be set for the server's name of a renamed tool.
func (g *Registry) unknown(tenant, name string) *Error {
	none := &Error{fmt.Sprintf("there is no tool %.80q", name),
		"the tools are: " + strings.Join(g.names(tenant), " ")}
	s, tool := g.find(name)
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
		return &Error{fmt.Sprintf("%.80q is not the name of a tool: patterns are not possible here", name),
			"give the name of one tool, or of a server for all its tools"}
	case own != "":
		return &Error{fmt.Sprintf("the tool %.80q has another name for this tenant", name),
			"their clients call it " + own}
	case s.Table(tenant).Decide(mcp.Caller{}, guard.KindTool, tool).Rule == "":
		return none
	}
	return nil
}
