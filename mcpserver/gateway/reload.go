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

// lookEvery is how often it is looked whether the file is another.
const lookEvery = 2 * time.Second

// Reload reads the file anew and lets its rules count from the next request on; open streams of
// clients whose list of tools may be another by it are told so. A file that is wrong, or that
// changes what only a start can change, is refused whole, and what counted before counts on.
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
	rules, err := g.rulesets(&f)
	if err != nil {
		return err
	}
	cards, err := card.Routes(f.facts()...)
	if err != nil {
		return err
	}
	g.cards.Store(&cards)
	for i, m := range g.members {
		m.guard.SetBaseline(f.Upstreams[i].baseline())
		before := m.rules.Swap(rules[i])
		m.handler.ToolsChanged(func(tenant string) bool { return !before.lists(rules[i], tenant) })
	}
	return nil
}

// fixed says whether another file changes what only a start can change: everything but the rules,
// what they imply, tenants, what is held, and scopes.
func (f *File) fixed(other *File) error {
	if len(f.Upstreams) != len(other.Upstreams) {
		return errors.New("upstreams came or went; this needs a restart")
	}
	for i := range f.Upstreams {
		a, b := f.Upstreams[i], other.Upstreams[i]
		for _, u := range []*Upstream{&a, &b} {
			u.Scopes, u.Tools, u.Prompts, u.Resources, u.Methods, u.Implies, u.Hold, u.Tenants = nil, nil, nil, nil,
				nil, nil, false, nil
		}
		if written(a) != written(b) {
			return fmt.Errorf("upstream %q: something beside rules and scopes changed; this needs a restart", a.Name)
		}
	}
	a, b := *f, *other
	a.Upstreams, b.Upstreams = nil, nil
	if written(a) != written(b) {
		return errors.New("something beside the upstreams' rules changed; this needs a restart")
	}
	return nil
}

// written is a value in one form, to be compared. The file names secrets and holds none.
func written(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("gateway: a configuration that is no JSON: " + err.Error()) // a programmer broke it
	}
	return string(b)
}

// Run does the background work until ctx ends: the issuer's keys are fetched anew from time to
// time, the list of ended grants is followed, and the file is read again when it is another, or
// when again asks for it.
func (g *Gateway) Run(ctx context.Context, again <-chan os.Signal) {
	var work sync.WaitGroup
	for _, m := range g.members {
		work.Go(func() { m.guard.Run(ctx) })
	}
	if g.replica != nil {
		work.Go(func() { g.replica.Run(ctx) })
	}
	if g.registry != nil {
		work.Go(func() { g.registry.Run(ctx) })
	}
	tick := time.NewTicker(lookEvery)
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

// reload is Reload, with its outcome in the log.
func (g *Gateway) reload(why string) {
	if err := g.Reload(); err != nil {
		g.deps.Log.Error("the configuration is refused; the rules before it count on", "file", g.path, "error", err)
		return
	}
	g.deps.Log.Info("the configuration was read anew", "file", g.path, "because", why)
}

// stamp tells one version of the file, and of its lock file, from the next.
func (g *Gateway) stamp() string {
	info, err := os.Stat(g.path)
	if err != nil {
		return "" // between two versions, perhaps; it is looked again
	}
	stamp := fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size())
	if lock, err := os.Stat(LockPath(g.path)); err == nil {
		stamp += fmt.Sprint(" ", lock.ModTime().UnixNano(), " ", lock.Size())
	}
	return stamp
}
