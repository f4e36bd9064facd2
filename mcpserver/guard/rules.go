package guard

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// Rules say which scopes open what at a protected MCP server. What no rule speaks of is open to nobody.
type Rules struct {
	// Tools, Prompts and Resources are asked in their order; the first that fits decides. A resource's name is its URI; one that a server
	// would resolve to another (dot segments, backslashes, a scheme or host in capitals) is open to nobody.
	Tools, Prompts, Resources []Rule
	// Methods are other requests of MCP that may pass ("completion/complete", "tasks/*"), beside those that open nothing by themselves: initialize, ping,
	// server/discover, the lists, logging/setLevel, subscriptions/listen and notifications.
	Methods []Rule
	// Implies says which scopes a scope counts for beside itself, as {"customers:write": {"customers:read"}}. A scope that ends with ":*" counts for every
	// scope that begins as it does.
	Implies map[string][]string
}

// Rule says what opens the tools, prompts, resources or methods of a name.
type Rule struct {
	// Name is exact, or has one or more "*", each of which stands for any characters: of a tool's name those that such a name may have, none longer than 128, and no other
	// rule's name in other letters, because a server may trim or fold. A URI is read as it is and with its percent signs taken away, and must fit the same rule.
	Name string
	// Exact makes each "*" in Name stand for itself. Set it in every rule whose name was chosen by a
	// server: a tool that is called "*" must not open other tools.
	Exact bool
	// Scopes are all needed. None: whoever has a good token may.
	Scopes []string
	// Hide answers who may not as if there were no such thing. Such a tool can never lead a client to ask for its scope: use it for what nobody should learn of.
	// Default: it is not listed, and a call is challenged for the scopes.
	Hide bool
	// Write says that it changes something; see EnforceWrites.
	Write bool
}

// Table is Rules made ready. It never changes, and is safe for concurrent use.
type Table struct {
	// With is what else whoever made the table goes by; see TableOf. Set it before the table counts.
	With any

	kinds   map[string]*kind
	implied map[string][]string // by the scope that is needed: what else counts for it
}

// kind is the rules of one kind of thing.
type kind struct {
	exact    map[string]*Rule // those before the first pattern, and those that no earlier pattern fits
	patterns []*Rule
	all      []*Rule
	names    map[string]bool // of all, as they are written
	folded   map[string]bool // and in small letters
}

// The kinds of things that rules open.
const (
	KindTool     = "tool"
	KindPrompt   = "prompt"
	KindResource = "resource"
	KindMethod   = "method"
)

// Compile checks the rules and makes them ready.
func (r Rules) Compile() (*Table, error) {
	t := &Table{kinds: map[string]*kind{}, implied: map[string][]string{}}
	for name, rules := range map[string][]Rule{KindTool: r.Tools, KindPrompt: r.Prompts, KindResource: r.Resources, KindMethod: r.Methods} {
		k := &kind{exact: map[string]*Rule{}, names: map[string]bool{}, folded: map[string]bool{}}
		for _, rule := range rules {
			if err := rule.check(); err != nil {
				return nil, fmt.Errorf("rule for %s %q: %w", name, rule.Name, err)
			}
			rule.Scopes = slices.Compact(slices.Sorted(slices.Values(rule.Scopes)))
			k.add(&rule)
		}
		t.kinds[name] = k
	}
	for scope := range r.Implies {
		for _, narrower := range r.reach(scope, nil) {
			if narrower == scope {
				return nil, fmt.Errorf("scope %s implies itself in a circle", scope)
			}
			t.implied[narrower] = append(t.implied[narrower], scope)
		}
	}
	return t, nil
}

func (r Rule) check() error {
	if r.Name == "" {
		return errors.New("it has no name")
	}
	for _, s := range r.Scopes {
		if s == "" || strings.ContainsAny(s, " \"\\\t\r\n") {
			return fmt.Errorf("%q is no scope", s)
		}
	}
	return nil
}

// reach is all that a scope implies, in steps.
func (r Rules) reach(scope string, seen []string) []string {
	for _, next := range r.Implies[scope] {
		if !slices.Contains(seen, next) {
			seen = r.reach(next, append(seen, next))
		}
	}
	return seen
}

// IsPattern reports whether the rule is about all names that fit Name, and not about one name.
func (r Rule) IsPattern() bool { return !r.Exact && strings.Contains(r.Name, "*") }

func (k *kind) add(r *Rule) {
	k.all = append(k.all, r)
	k.names[r.Name], k.folded[strings.ToLower(r.Name)] = true, true
	switch {
	case r.IsPattern():
		k.patterns = append(k.patterns, r)
	case k.exact[r.Name] == nil && !slices.ContainsFunc(k.patterns, func(p *Rule) bool { return fits(p.Name, r.Name) }):
		k.exact[r.Name] = r
	}
}

// Has says whether the caller has a scope, by itself or by one that counts for it (RS-19).
func (t *Table) Has(c mcp.Caller, scope string) bool {
	for _, held := range c.Scopes {
		if held == scope || slices.Contains(t.implied[scope], held) {
			return true
		}
		if prefix, wild := strings.CutSuffix(held, ":*"); wild && strings.HasPrefix(scope, prefix+":") {
			return true
		}
	}
	return false
}

// Why a decision is what it is.
const (
	ReasonOpen    = "open"    // the scopes are there, or none is needed
	ReasonScope   = "scope"   // a scope is lacking
	ReasonUnnamed = "unnamed" // no rule speaks of it
)

// Decision is what the rules say of one request.
type Decision struct {
	Kind    string // KindTool and its like; empty: nothing that rules speak of
	Name    string
	Allowed bool
	Reason  string
	Scopes  []string // that it needs, all of them
	Lacking []string // those that the caller does not have
	Rule    string   // the name of the rule that decided; empty: none did
	Hide    bool     // who may not shall not learn of it
	Write   bool
}

// Decide says what the rules say of one thing. What no rule names counts as changing something: nobody knows better.
func (t *Table) Decide(c mcp.Caller, of, name string) Decision {
	return t.decideBy(c, of, name, t.rule(of, name))
}

// DecidePattern says what the rules say of the things that a rule's pattern is about, as an operator
// is told it. A thing whose name reads like the pattern is not among them; see Decide.
func (t *Table) DecidePattern(c mcp.Caller, of, pattern string) Decision {
	k := t.kinds[of]
	i := slices.IndexFunc(k.patterns, func(p *Rule) bool { return fits(p.Name, pattern) })
	if i < 0 {
		return t.decideBy(c, of, pattern, nil)
	}
	return t.decideBy(c, of, pattern, k.patterns[i])
}

func (t *Table) decideBy(c mcp.Caller, of, name string, r *Rule) Decision {
	d := Decision{Kind: of, Name: name, Reason: ReasonUnnamed, Hide: true, Write: true}
	if r == nil {
		return d
	}
	d.Rule, d.Scopes, d.Hide, d.Write, d.Allowed, d.Reason = r.Name, r.Scopes, r.Hide, r.Write, true, ReasonOpen
	for _, s := range r.Scopes {
		if !t.Has(c, s) {
			d.Allowed, d.Reason, d.Lacking = false, ReasonScope, append(d.Lacking, s)
		}
	}
	return d
}

// isOpening says whether a method opens nothing by itself: what it lists is filtered.
func isOpening(method string) bool {
	switch method {
	case "initialize", "ping", "server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list", "logging/setLevel", "subscriptions/listen":
		return true
	}
	return false
}

// offers says whether there is anything of a kind that could be named: without a rule for prompts or resources, nobody reaches any, and their methods are not there.
func (t *Table) offers(kind string) bool {
	return kind == KindTool || kind != KindMethod && t.kinds[kind] != nil && len(t.kinds[kind].all) > 0
}

// decide says what the rules say of a message.
func (t *Table) decide(c mcp.Caller, m *message.Message) Decision {
	switch m.Method {
	case "tools/call":
		return t.Decide(c, KindTool, m.Name)
	case "prompts/get":
		return t.Decide(c, KindPrompt, m.Name)
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		return t.Decide(c, KindResource, m.URI)
	}
	if m.Answer || isOpening(m.Method) || m.ID == nil && strings.HasPrefix(m.Method, "notifications/") {
		return Decision{Allowed: true, Reason: ReasonOpen}
	}
	return t.Decide(c, KindMethod, m.Method)
}
