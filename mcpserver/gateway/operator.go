package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
)

// Database is where the gateway of the file at path keeps the rollout's modes and usage:
// sqlite:PATH, absolute, or postgres://…. It must be migrated before New.
func Database(path string, getenv func(string) string) (string, error) {
	f, err := ReadFile(path)
	if err != nil {
		return "", err
	}
	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("finding the folder of %s: %w", path, err)
	}
	database, err := f.Database.read(getenv)
	if err != nil {
		return "", fmt.Errorf("database: %w", err)
	}
	file, embedded := strings.CutPrefix(database, "sqlite:")
	switch {
	case database == "":
		return "sqlite:" + filepath.Join(folder, "gateway.db"), nil
	case embedded && !filepath.IsAbs(file):
		return "sqlite:" + filepath.Join(folder, file), nil
	}
	return database, nil
}

// openRegistry opens the operator's door, or none when there is no database. serves says that the
// gateway serves calls.
func (f *File) openRegistry(ctx context.Context, d Deps, serves bool) (*operator.Registry, error) {
	if d.Database == "" {
		return nil, nil
	}
	return operator.Open(ctx, d.Database, operator.Options{CallRetention: f.CallRetention, Serves: serves,
		Anonymous: f.InsecureAllowAnonymous, InsecureSettings: len(f.insecureSettings()), Now: d.Now, Log: d.Log})
}

// insecureSettings are those that the file has.
func (f *File) insecureSettings() []config.InsecureSetting {
	return config.EnabledSettings(map[config.InsecureSetting]bool{
		{Setting: "insecure_http",
			Risk: "http URLs off this machine are allowed: anyone on the way can read tokens"}: f.InsecureHTTP,
		{Setting: "insecure_allow_anonymous",
			Risk: "requests without a good token pass as nobody, where the mode for nobody is " +
				"observe"}: f.InsecureAllowAnonymous,
		{Setting: "insecure_ignore_revocations",
			Risk: "ended grants may not be looked up: their tokens act until " +
				"they expire"}: f.InsecureIgnoreRevocations,
	})
}

// OpenOperator opens the operator's door of the gateway that the file at path describes, for
// commands: the database's modes and usage are those of the gateway that runs. Close it after use.
func OpenOperator(ctx context.Context, path string, d Deps) (*operator.Registry, func() error, error) {
	d.Log = nil // what it says when it starts, the gateway has said
	d.fill()
	f, err := ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	g := &Gateway{path: path, file: f, deps: d}
	for _, u := range f.Upstreams {
		g.members = append(g.members, &member{config: u})
	}
	rules, err := g.rulesets(&g.file)
	if err != nil {
		return nil, nil, err
	}
	if g.registry, err = f.openRegistry(ctx, d, false); err != nil {
		return nil, nil, err
	}
	if g.registry == nil {
		return nil, nil, errors.New("the gateway has no database")
	}
	unknown := g.open(ctx) // what is needed to believe a token need not be there to set a mode
	for i := range f.Upstreams {
		m := g.members[i]
		m.rules.Store(rules[i])
		examine := func(context.Context, string) (guard.Inspected, error) { return guard.Inspected{}, unknown }
		if unknown == nil {
			if m.guard, err = g.check(m); err != nil {
				return nil, nil, errors.Join(err, g.Close())
			}
			examine = m.guard.Inspect
		}
		g.registry.Add(m.seenBy(examine))
	}
	return g.registry, g.Close, nil
}

// Operator is the operator's door of this gateway, or nil when it has no database.
func (g *Gateway) Operator() *operator.Registry { return g.registry }

// Metrics answers GET /metrics, for a listener of its own at MetricsListen; it is nil when the
// gateway has no database.
func (g *Gateway) Metrics() http.Handler {
	if g.registry == nil {
		return nil
	}
	return g.registry.Metrics()
}

// Stop says how a server of the gateway stops.
func (g *Gateway) Stop() httpd.Stop {
	delay := time.Duration(-1)
	if g.file.ShutdownDelay != nil {
		delay = *g.file.ShutdownDelay
	}
	return httpd.NewStop(delay, len(g.file.TrustedProxies) > 0 || g.file.Redis != (Secret{}))
}

// MetricsListen is the address on which the file says to show metrics; empty: nowhere.
func (g *Gateway) MetricsListen() string { return g.file.MetricsListen }

// seenBy is the upstream as its operator sees it.
func (m *member) seenBy(examine func(context.Context, string) (guard.Inspected, error)) operator.Server {
	return operator.Server{
		Name: m.config.Name, Inspect: examine,
		Table: func(tenant string) *guard.Table { return m.rules.Load().of(tenant).table },
		Tools: func(tenant string) []operator.Tool { return m.rules.Load().tools(tenant) },
	}
}

// tools are a tenant's by the names that its clients know: those that were approved, and those that
// rules name; with a star, whatever else is called so.
func (r *ruleset) tools(tenant string) (tools []operator.Tool) {
	names := maps.Clone(r.named)
	for name := range r.approved {
		names[name] = true
	}
	s := r.of(tenant)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		t := operator.Tool{Name: name}
		switch other := s.byName[name]; {
		case other != nil && !other.Off && other.Rename != "":
			t.Name, t.Own = other.Rename, name
		case s.visible[name] != nil:
			continue // another tool has this name for them
		case other != nil && other.Off:
			t.Away = "switched off for this tenant, under tenants in the file"
		}
		if t.Away == "" && r.hold && r.approved[name] == "" {
			t.Away = "held back, because nobody has approved it"
		}
		tools = append(tools, t)
	}
	if !r.hold { // what is approved is known by name
		for _, name := range r.starred {
			if s.table.DecidePattern(mcp.Caller{}, guard.KindTool, name).Rule == name {
				// none before it has all of its tools
				tools = append(tools, operator.Tool{Name: name, Pattern: true})
			}
		}
	}
	return tools
}
