package gateway

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/singleflight"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/toolcatalog"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

// viewer identifies callers to whom a server may show the same tools: it is told the tenant and
// scopes of a caller.
type viewer struct{ tenant, scopes string }

func (m *upstream) viewer(c mcp.Caller) viewer {
	if m.assertions == nil {
		return viewer{tenant: c.TenantID} // the server is not told the scopes
	}
	scopes := slices.Clone(c.Scopes)
	slices.Sort(scopes)
	return viewer{c.TenantID, strings.Join(slices.Compact(scopes), " ")}
}

// keep returns the fingerprint of a tool and whether it may be shown; what is suspicious is logged,
// once for each version.
func (m *upstream) keep(g *Gateway, rules *policy, to viewer, t toolcatalog.Tool) (print string, shown bool) {
	print = t.Fingerprint()
	if rules.hold {
		m.seen.note(to, t.Name, seenOf(t, print))
	}
	var wrong []string
	if rules.approved != nil {
		switch rules.approved[t.Name] {
		case print:
		case "":
			wrong = append(wrong, "not approved")
		default:
			wrong = append(wrong, "changed since it was approved")
		}
	}
	approved := rules.approved != nil && len(wrong) == 0
	if !approved { // an approved tool is not suspicious
		wrong = append(wrong, toolcatalog.Suspicions(t)...)
	}
	if others := g.names.others(t.Name, m.config.Name, hostOf(m.config.Resource)); len(others) > 0 && !approved {
		wrong = append(wrong, "upstream "+strings.Join(others, " and ")+" has a tool of this name, too")
	}
	if len(wrong) > 0 {
		switch m.seen.report(print, g.deps.Now()) {
		case report:
			g.deps.Log.Warn("a tool is suspicious", "upstream", m.config.Name, "tenant", to.tenant, "tool",
				fmt.Sprintf("%.128s", t.Name), "wrong", strings.Join(wrong, "; "), "held", rules.hold)
		case reportMore:
			g.deps.Log.Warn("more tools are suspicious; for the rest of this minute none is logged",
				"upstream", m.config.Name)
		}
	}
	return print, !rules.hold || approved
}

// views remembers the tools of a server as its viewers saw them. It is safe for concurrent use.
type views struct {
	reading singleflight.Group[struct{}] // one request serves all who may see the same

	mu       sync.Mutex
	of       map[viewer]*view
	size     int             // in bytes
	reported map[string]bool // fingerprints
	minute   time.Time       // start of counting reports
	reports  int             // in this minute
}

type view struct {
	at    time.Time // when all of it was read; zero: never
	tools map[string]seen
	size  int
}

// seen is what is remembered of a tool.
type seen struct {
	print   string
	mirrors map[string]string // headers by argument
}

// A server may offer any number of tools, so what is kept is limited by size.
const (
	maxViews = 10_000   // viewers
	maxSeen  = 64 << 20 // bytes
	// bytes of a tool's name (MCP 2025-11-25, tools, "Tool Names"); longer ones are hashed
	maxName     = 128
	maxMirrors  = 16 << 10    // bytes of a tool's headers and their arguments; larger ones are not kept
	maxReported = 10_000      // versions of tools that are remembered as logged
	maxReports  = 60          // in a minute: a server may offer other tools each time
	fresh       = time.Minute // age of a view that a call may rely on
	lookTimeout = time.Minute // timeout of reading the tools
)

// seenOf returns what is remembered of a tool with this fingerprint.
func seenOf(t toolcatalog.Tool, print string) seen {
	s := seen{print, t.Mirrors()}
	if n := s.size(""); n > maxMirrors {
		s.mirrors = nil
	}
	return s
}

// size returns the approximate size of an entry.
func (s seen) size(name string) int {
	const overhead = 128
	n := overhead + len(name) + len(s.print)
	for argument, header := range s.mirrors {
		n += overhead + len(argument) + len(header)
	}
	return n
}

// kept returns the key of a tool.
func kept(name string) string {
	if len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return "sha256:" + string(sum[:])
}

func (v *views) view(to viewer) *view {
	if v.of == nil || len(v.of) >= maxViews && v.of[to] == nil || v.size > maxSeen {
		v.of, v.size = map[viewer]*view{}, 0 // all are read again
	}
	x := v.of[to]
	if x == nil {
		x = &view{tools: map[string]seen{}}
		v.of[to] = x
	}
	return x
}

// put stores a tool in a view.
func (v *views) put(x *view, name string, tool seen) {
	name = kept(name)
	n := tool.size(name)
	if before, ok := x.tools[name]; ok {
		n -= before.size(name)
	}
	x.tools[name] = tool
	x.size += n
	v.size += n
}

// note stores a tool that was seen just now.
func (v *views) note(to viewer, name string, tool seen) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.put(v.view(to), name, tool)
}

// What to log of a version of a tool.
const (
	reportNothing = iota // it was logged
	report
	reportMore // that there are more than are logged
)

// report returns what to log of a suspicious version of a tool.
func (v *views) report(print string, now time.Time) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.reported[print] {
		return reportNothing
	}
	if now.Sub(v.minute) >= time.Minute {
		v.minute, v.reports = now, 0
	}
	if v.reports++; v.reports > maxReports {
		if v.reports == maxReports+1 {
			return reportMore
		}
		return reportNothing
	}
	if v.reported == nil || len(v.reported) >= maxReported {
		v.reported = map[string]bool{}
	}
	v.reported[print] = true
	return report
}

// find returns a tool as a viewer sees it now; zero: there is none. An old view is read again with
// ask.
func (v *views) find(ctx context.Context, to viewer, name string, now time.Time,
	ask func(context.Context) (map[string]seen, error)) (seen, error) {
	tool, old := v.last(to, name, now)
	if !old {
		return tool, nil
	}
	_, err := v.reading.Do(ctx, to.tenant+" "+to.scopes, func(ctx context.Context) (none struct{}, err error) {
		tools, err := ask(ctx)
		if err != nil {
			return none, err
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		x := v.view(to)
		v.size -= x.size
		x.at, x.tools, x.size = now, map[string]seen{}, 0
		for name, tool := range tools {
			v.put(x, name, tool)
		}
		return none, nil
	})
	if err != nil {
		return seen{}, err
	}
	tool, _ = v.last(to, name, now)
	return tool, nil
}

// last returns a tool as a viewer saw it last, and whether that is too old.
func (v *views) last(to viewer, name string, now time.Time) (tool seen, old bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	x := v.view(to)
	return x.tools[kept(name)], now.Sub(x.at) >= fresh
}

// names knows which upstreams have a tool of a name: an agent that sees both may call the wrong
// one.
type names struct {
	mu  sync.Mutex
	has map[string][]string
}

const maxNames = 100_000

// others returns the other upstreams at the same address, a host and port, with a tool of this
// name.
func (n *names) others(tool, upstream, address string) []string {
	if len(tool) > maxName {
		return nil // too long to be mistaken for another
	}
	tool = address + " " + tool
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.has == nil || len(n.has) >= maxNames {
		n.has = map[string][]string{}
	}
	var others []string
	known := false
	for _, u := range n.has[tool] {
		if u == upstream {
			known = true
			continue
		}
		others = append(others, u)
	}
	if !known {
		n.has[tool] = append(n.has[tool], upstream)
	}
	return others
}
