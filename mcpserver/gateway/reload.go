package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/card"
)

// lookEvery is the interval of checking whether the file has changed.
const checkInterval = 2 * time.Second

// Reload reads the file again. Its rules are in effect from the next request on, and open streams
// of clients whose list of tools may have changed are told. If the file is invalid, or changes what
// needs a restart, Reload returns an error and nothing changes.
func (g *Gateway) Reload() error {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	f, err := ReadFile(g.path)
	if err != nil {
		return err
	}
	if err := g.file.fixed(&f); err != nil {
		return err
	}
	rules, err := g.policies(&f)
	if err != nil {
		return err
	}
	cards, err := card.Routes(f.facts()...)
	if err != nil {
		return err
	}
	g.cards.Store(&cards)
	for i, m := range g.upstreams {
		m.guard.SetBaseline(f.Upstreams[i].baseline())
		before := m.rules.Swap(rules[i])
		m.handler.ToolsChanged(func(tenant string) bool { return !before.lists(rules[i], tenant) })
	}
	return nil
}

// fixed returns an error if another file changes more than rules, implied scopes, tenants, holding,
// and scopes.
func (f *File) fixed(other *File) error {
	if len(f.Upstreams) != len(other.Upstreams) {
		return errors.New("upstreams were added or removed; this needs a restart")
	}
	for i := range f.Upstreams {
		a, b := f.Upstreams[i], other.Upstreams[i]
		for _, u := range []*Upstream{&a, &b} {
			u.Scopes, u.Tools, u.Prompts, u.Resources, u.Methods, u.Implies, u.Hold, u.Tenants = nil, nil, nil, nil,
				nil, nil, false, nil
		}
		if written(a) != written(b) {
			return fmt.Errorf("upstream %q: something other than rules and scopes changed; this needs a restart",
				a.Name)
		}
	}
	a, b := *f, *other
	a.Upstreams, b.Upstreams = nil, nil
	if written(a) != written(b) {
		return errors.New("something other than the upstreams' rules changed; this needs a restart")
	}
	return nil
}

// written encodes a value for comparison. The file names secrets and holds none.
func written(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("gateway: encode configuration: " + err.Error()) // programming error
	}
	return string(b)
}

// Run runs the background jobs until ctx is done: it refreshes the issuer's keys, follows the list
// of revocations, and reloads the file when it changes or again asks for it.
func (g *Gateway) Run(ctx context.Context, again <-chan os.Signal) {
	var work sync.WaitGroup
	for _, m := range g.upstreams {
		work.Go(func() { m.guard.Run(ctx) })
	}
	if g.replica != nil {
		work.Go(func() { g.replica.Run(ctx) })
	}
	if g.registry != nil {
		work.Go(func() { g.registry.Run(ctx) })
	}
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	seen := g.stamp()
	for {
		select {
		case <-ctx.Done():
			work.Wait()
			return
		case <-again:
			seen = g.stamp()
			g.reload("asked")
		case <-tick.C:
			if now := g.stamp(); now != "" && now != seen {
				seen = now
				g.reload("changed")
			}
		}
	}
}

// reload calls Reload and logs the result.
func (g *Gateway) reload(why string) {
	if err := g.Reload(); err != nil {
		g.deps.Log.Error("the new configuration is not valid; the previous rules stay in effect", "file", g.path,
			"error", err)
		return
	}
	g.deps.Log.Info("the configuration was reloaded", "file", g.path, "because", why)
}

// stamp identifies a version of the file and its lock file.
func (g *Gateway) stamp() string {
	info, err := os.Stat(g.path)
	if err != nil {
		return "" // perhaps the file is being replaced
	}
	stamp := fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size())
	if lock, err := os.Stat(LockPath(g.path)); err == nil {
		stamp += fmt.Sprint(" ", lock.ModTime().UnixNano(), " ", lock.Size())
	}
	return stamp
}
