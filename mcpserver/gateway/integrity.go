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

// viewer is to whom a server may show the same tools: it is told a caller's tenant and scopes, and
// may go by them.
type viewer struct{ tenant, scopes string }

func (m *member) viewer(c mcp.Caller) viewer {
	if m.vouchers == nil {
		return viewer{tenant: c.TenantID} // the server is told no scopes
	}
	scopes := slices.Clone(c.Scopes)
	slices.Sort(scopes)
	return viewer{c.TenantID, strings.Join(slices.Compact(scopes), " ")}
}

// keep says whether a tool may be shown to somebody, and its fingerprint; what is wrong with it
// goes to the log, once for each version of it.
func (m *member) keep(g *Gateway, rules *ruleset, to viewer, t toolcatalog.Tool) (print string, shown bool) {
	print = t.Fingerprint()
	if rules.hold {
		m.seen.note(to, t.Name, seenOf(t, print))
	}
	var wrong []string
	if rules.approved != nil {
		switch rules.approved[t.Name] {
		case print:
		case "":
			wrong = append(wrong, "it was never approved")
		default:
			wrong = append(wrong, "it is not as it was approved")
		}
	}
	approved := rules.approved != nil && len(wrong) == 0
	if !approved { // what somebody has looked at and approved is not reported again
		wrong = append(wrong, toolcatalog.Suspicions(t)...)
	}
	if others := g.names.others(t.Name, m.config.Name, hostOf(m.config.Resource)); len(others) > 0 && !approved {
		wrong = append(wrong, "upstream "+strings.Join(others, " and ")+" has a tool of this name, too")
	}
	if len(wrong) > 0 {
		switch m.seen.report(print, g.deps.Now()) {
		case report:
			g.deps.Log.Warn("a tool is not what it should be", "upstream", m.config.Name, "tenant", to.tenant, "tool",
				fmt.Sprintf("%.128s", t.Name), "wrong", strings.Join(wrong, "; "), "held", rules.hold)
		case reportMore:
			g.deps.Log.Warn("more tools are not what they should be; for the rest of this minute none is reported",
				"upstream", m.config.Name)
		}
	}
	return print, !rules.hold || approved
}

// views is what was last seen of the tools of a server, by those who may see the same. It is safe
// for concurrent use.
type views struct {
	asking singleflight.Group[struct{}] // one asks, all who may see the same wait for what it learns

	mu       sync.Mutex
	of       map[viewer]*view
	size     int             // of all, in bytes
	reported map[string]bool // fingerprints
	minute   time.Time       // when the reports began to be counted
	reports  int             // since
}

type view struct {
	at    time.Time // when all of it was seen; zero: never
	tools map[string]seen
	size  int
}

// seen is what is remembered of a tool.
type seen struct {
	print   string
	mirrors map[string]string // headers by argument
}

// What a server says may be as much as it likes: what is kept of it is bounded by its size.
const (
	mostViews = 10_000   // viewers that are remembered
	mostSeen  = 64 << 20 // bytes of what they saw
	// bytes of a tool's name (MCP 2025-11-25, tools, "Tool Names"); longer ones are kept as a hash
	mostName     = 128
	mostMirrors  = 16 << 10    // bytes of a tool's headers and their arguments; those of more are not known
	mostReported = 10_000      // versions of tools that are remembered as reported
	mostReports  = 60          // in a minute: a server may say something else each time
	fresh        = time.Minute // so old may what was seen be for a call to go by it
	lookWithin   = time.Minute // so long may a server take to say what it offers
)

// seenOf is what is remembered of a tool with this fingerprint.
func seenOf(t toolcatalog.Tool, print string) seen {
	s := seen{print, t.Mirrors()}
	if n := s.size(""); n > mostMirrors {
		s.mirrors = nil
	}
	return s
}

// size is about what it takes to remember a tool of this name.
func (s seen) size(name string) int {
	const overhead = 128
	n := overhead + len(name) + len(s.print)
	for argument, header := range s.mirrors {
		n += overhead + len(argument) + len(header)
	}
	return n
}

// kept is the name under which a tool is remembered.
func kept(name string) string {
	if len(name) <= mostName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return "sha256:" + string(sum[:])
}

func (v *views) view(to viewer) *view {
	if v.of == nil || len(v.of) >= mostViews && v.of[to] == nil || v.size > mostSeen {
		v.of, v.size = map[viewer]*view{}, 0 // all are looked at again
	}
	x := v.of[to]
	if x == nil {
		x = &view{tools: map[string]seen{}}
		v.of[to] = x
	}
	return x
}

// put remembers a tool in a view.
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

// note remembers a tool as it was seen just now.
func (v *views) note(to viewer, name string, tool seen) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.put(v.view(to), name, tool)
}

// What is to be reported of a version of a tool.
const (
	reportNothing = iota // it was reported
	report
	reportMore // that there is more than is reported
)

// report says what is to be reported of a version of a tool that is not what it should be.
func (v *views) report(print string, now time.Time) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.reported[print] {
		return reportNothing
	}
	if now.Sub(v.minute) >= time.Minute {
		v.minute, v.reports = now, 0
	}
	if v.reports++; v.reports > mostReports {
		if v.reports == mostReports+1 {
			return reportMore
		}
		return reportNothing
	}
	if v.reported == nil || len(v.reported) >= mostReported {
		v.reported = map[string]bool{}
	}
	v.reported[print] = true
	return report
}

// find is a tool as somebody sees it now; zero: there is none. What was seen a while ago is looked
// at again with ask.
func (v *views) find(ctx context.Context, to viewer, name string, now time.Time,
	ask func(context.Context) (map[string]seen, error)) (seen, error) {
	tool, old := v.last(to, name, now)
	if !old {
		return tool, nil
	}
	_, err := v.asking.Do(ctx, to.tenant+" "+to.scopes, func(ctx context.Context) (none struct{}, err error) {
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

// last is a tool as somebody saw it last, and whether that is too long ago to go by.
func (v *views) last(to viewer, name string, now time.Time) (tool seen, old bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	x := v.view(to)
	return x.tools[kept(name)], now.Sub(x.at) >= fresh
}

// names knows which upstreams have a tool of a name. An agent that sees both may call the wrong
// one.
type names struct {
	mu  sync.Mutex
	has map[string][]string
}

const mostNames = 100_000

// others are the other upstreams at the same address, a host and its port, that have a tool of this
// name.
func (n *names) others(tool, upstream, address string) []string {
	if len(tool) > mostName {
		return nil // no agent's person would take it for another
	}
	tool = address + " " + tool
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.has == nil || len(n.has) >= mostNames {
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
