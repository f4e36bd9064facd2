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

// Database returns the database of the gateway whose file is at path: sqlite:PATH, absolute, or
// postgres://…. It must be migrated before New.
func Database(path string, getenv func(string) string) (string, error) {
	f, err := ReadFile(path)
	if err != nil {
		return "", err
	}
	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("folder of %s: %w", path, err)
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

// openRegistry opens the operator's commands, or returns nil without a database. serves says that
// the gateway serves calls.
func (f *File) openRegistry(ctx context.Context, d Deps, serves bool) (*operator.Registry, error) {
	if d.Database == "" {
		return nil, nil
	}
	return operator.Open(ctx, d.Database, operator.Options{CallRetention: f.CallRetention, Serves: serves,
		Anonymous: f.InsecureAllowAnonymous, InsecureSettings: len(f.insecureSettings()), Now: d.Now, Log: d.Log})
}

// insecureSettings returns the insecure settings that the file sets.
func (f *File) insecureSettings() []config.InsecureSetting {
	return config.EnabledSettings(map[config.InsecureSetting]bool{
		{Setting: "insecure_http",
			Risk: "http URLs off this machine are allowed: anyone on the way can read tokens"}: f.InsecureHTTP,
		{Setting: "insecure_allow_anonymous",
			Risk: "requests without a valid token are allowed as anonymous, where the mode " +
				"for anonymous requests is observe"}: f.InsecureAllowAnonymous,
		{Setting: "insecure_ignore_revocations",
			Risk: "tokens of revoked grants may be accepted until they expire"}: f.InsecureIgnoreRevocations,
	})
}

// OpenOperator opens the operator's commands of the gateway whose file is at path, without serving
// anything. They use the database of the running gateway. Close it after use.
func OpenOperator(ctx context.Context, path string, d Deps) (*operator.Registry, func() error, error) {
	d.Log = nil // the running gateway has logged it
	d.fill()
	f, err := ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	g := &Gateway{path: path, file: f, deps: d}
	for _, u := range f.Upstreams {
		g.upstreams = append(g.upstreams, &upstream{config: u})
	}
	rules, err := g.policies(&g.file)
	if err != nil {
		return nil, nil, err
	}
	if g.registry, err = f.openRegistry(ctx, d, false); err != nil {
		return nil, nil, err
	}
	if g.registry == nil {
		return nil, nil, errors.New("the gateway has no database")
	}
	unknown := g.open(ctx) // setting a mode does not need what verifying a token needs
	for i := range f.Upstreams {
		m := g.upstreams[i]
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

// Operator returns the operator's commands, or nil without a database.
func (g *Gateway) Operator() *operator.Registry { return g.registry }

// Metrics serves GET /metrics, for a listener of its own at MetricsListen; nil without a database.
func (g *Gateway) Metrics() http.Handler {
	if g.registry == nil {
		return nil
	}
	return g.registry.Metrics()
}

// Stop returns how the server of the gateway shuts down.
func (g *Gateway) Stop() httpd.Stop {
	delay := time.Duration(-1)
	if g.file.ShutdownDelay != nil {
		delay = *g.file.ShutdownDelay
	}
	return httpd.NewStop(delay, len(g.file.TrustedProxies) > 0 || g.file.Redis != (Secret{}))
}

// MetricsListen returns the address for metrics; empty: none.
func (g *Gateway) MetricsListen() string { return g.file.MetricsListen }

// seenBy returns the upstream for the operator's commands.
func (m *upstream) seenBy(examine func(context.Context, string) (guard.Inspected, error)) operator.Server {
	return operator.Server{
		Name: m.config.Name, Inspect: examine,
		Table: func(tenant string) *guard.Table { return m.rules.Load().of(tenant).table },
		Tools: func(tenant string) []operator.Tool { return m.rules.Load().tools(tenant) },
	}
}

// tools returns a tenant's tools by the names for its clients: approved ones, those that rules
// name, and patterns.
func (r *policy) tools(tenant string) (tools []operator.Tool) {
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
			t.Away = "off for this tenant in the file"
		}
		if t.Away == "" && r.hold && r.approved[name] == "" {
			t.Away = "held for approval"
		}
		tools = append(tools, t)
	}
	if !r.hold { // approved tools are all known by name
		for _, name := range r.starred {
			if s.table.DecidePattern(mcp.Caller{}, guard.KindTool, name).Rule == name {
				// no earlier rule matches all its tools
				tools = append(tools, operator.Tool{Name: name, Pattern: true})
			}
		}
	}
	return tools
}
