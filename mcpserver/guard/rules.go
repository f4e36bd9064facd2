package guard

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// Rules say which scopes open what at a protected MCP server. What no rule speaks of is open to
// nobody.
type Rules struct {
	// Tools, Prompts and Resources are asked in their order; the first that fits decides. A
	// resource's name is its URI. A rule without a star fits the URI that is written like it. One
	// with a star fits a URI only if it is written as every reader writes it: a special scheme's
	// (http, https, ws, wss, ftp, file) byte for byte as the WHATWG URL rules have it; and of every
	// scheme none with an empty or dot segment, a default port, userinfo, a backslash, a blank or a
	// dot at an end of a host, a host that is not ASCII, an invisible character, or without a
	// scheme; a file's has no host, no short name of Windows, and names a drive where another rule
	// does. It must fit the same rule first in other letters, in another of Unicode's forms,
	// decoded, with another number of slashes after the scheme, with and without a slash at its
	// end, and without its fragment, its query and the parameters of its names, a file's stream and
	// drive, and a port that means nothing: a server may leave them out.
	Tools, Prompts, Resources []Rule
	// Methods are other requests of MCP that may pass ("completion/complete", "tasks/*"), beside
	// those that open nothing by themselves: initialize, ping, server/discover, the lists,
	// logging/setLevel, subscriptions/listen and notifications.
	Methods []Rule
	// Implies says which scopes a scope counts for beside itself, as {"customers:write":
	// {"customers:read"}}. A scope that ends with ":*" counts for every scope that begins as it
	// does.
	Implies map[string][]string
}

// Rule says what opens the tools, prompts, resources or methods of a name.
type Rule struct {
	// Name is exact, or has one or more "*", each of which stands for any characters: of a tool's
	// name those that such a name may have, none longer than 128, and no other rule's name in other
	// letters, because a server may trim or fold. A URI is read as it is and with its percent signs
	// taken away, and must fit the same rule.
	Name string
	// Exact makes each "*" in Name stand for itself. Set it in every rule whose name was chosen by
	// a server: a tool that is called "*" must not open other tools.
	Exact bool
	// Scopes are all needed. None: whoever has a good token may.
	Scopes []string
	// Hidden answers who may not as if there were no such thing. Such a tool can never lead a
	// client to ask for its scope: use it for what nobody should learn of.
	// Default: it is not listed, and a call is challenged for the scopes.
	Hidden bool
	// Write says that it changes something; see EnforceWrites.
	Write bool
}

// Table is Rules made ready. It never changes, and is safe for concurrent use.
type Table struct {
	handler http.Handler // see WithHandler

	kinds   map[string]*kind
	implied map[string][]string // by the scope that is needed: what else counts for it
}

// WithHandler returns a copy of the table whose allowed requests go to h instead of the handler
// that was given to Enforce. So a handler that has rules of its own, which change together with
// the table, serves exactly the requests that this table decided.
func (t *Table) WithHandler(h http.Handler) *Table {
	c := *t
	c.handler = h
	return &c
}

// kind is the rules of one kind of thing.
type kind struct {
	exact    map[string]*Rule // those before the first pattern, and those that no earlier pattern fits
	patterns []*Rule
	all      []*Rule
	single   map[string]bool // the readings of those in exact
	lower    []string        // the readings of the patterns
	encoded  bool            // names are URIs, which a reader may decode
	drives   bool            // a rule is about a drive of Windows: a file's URI without one is of the drive that counts
}

// The kinds of things that rules open.
const (
	KindTool     = "tool"
	KindPrompt   = "prompt"
	KindResource = "resource"
	KindMethod   = "method"

	kindTemplate = "template" // a URI template: the rules of resources decide, and a decision calls it a resource
)

// Compile checks the rules and makes them ready.
func (r Rules) Compile() (*Table, error) {
	t := &Table{kinds: map[string]*kind{}, implied: map[string][]string{}}
	for name, rules := range map[string][]Rule{KindTool: r.Tools, KindPrompt: r.Prompts, KindResource: r.Resources,
		KindMethod: r.Methods} {
		k := &kind{exact: map[string]*Rule{}, single: map[string]bool{}, encoded: name == KindResource}
		for _, rule := range rules {
			if err := rule.check(); err != nil {
				return nil, fmt.Errorf("rule for %s %q: %w", name, rule.Name, err)
			}
			rule.Scopes = slices.Compact(slices.Sorted(slices.Values(rule.Scopes)))
			k.add(&rule)
		}
		t.kinds[name] = k
	}
	t.kinds[kindTemplate] = t.kinds[KindResource]
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
	k.drives = k.drives || k.encoded && hasDrive(r.Name)
	switch {
	case r.IsPattern():
		k.patterns, k.lower = append(k.patterns, r), append(k.lower, k.reading(r.Name))
	case k.exact[r.Name] == nil && !slices.ContainsFunc(k.patterns, func(p *Rule) bool { return fits(p.Name, r.Name) }):
		k.exact[r.Name], k.single[k.reading(r.Name)] = r, true
	}
}

// Has says whether the caller has a scope, by itself or by one that counts for it.
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
	Hidden  bool     // who may not shall not learn of it
	Write   bool
}

// Decide says what the rules say of one thing. What no rule names counts as changing something:
// nobody knows better.
func (t *Table) Decide(c mcp.Caller, of, name string) Decision {
	return t.decideBy(c, of, name, t.rule(of, name))
}

// DecidePattern says what the rules say of the things that a rule's pattern is about, as an
// operator is told it. A thing whose name reads like the pattern is not among them; see Decide.
func (t *Table) DecidePattern(c mcp.Caller, of, pattern string) Decision {
	k := t.kinds[of]
	i := slices.IndexFunc(k.patterns, func(p *Rule) bool { return fits(p.Name, pattern) })
	if i < 0 {
		return t.decideBy(c, of, pattern, nil)
	}
	return t.decideBy(c, of, pattern, k.patterns[i])
}

func (t *Table) decideBy(c mcp.Caller, of, name string, r *Rule) Decision {
	if of == kindTemplate {
		of = KindResource
	}
	d := Decision{Kind: of, Name: name, Reason: ReasonUnnamed, Hidden: true, Write: true}
	if r == nil {
		return d
	}
	d.Rule, d.Scopes, d.Hidden, d.Write, d.Allowed, d.Reason = r.Name, r.Scopes, r.Hidden, r.Write, true, ReasonOpen
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
	case "initialize", "ping", "server/discover", "tools/list", "prompts/list", "resources/list",
		"resources/templates/list", "logging/setLevel", "subscriptions/listen":
		return true
	}
	return false
}

// offers says whether there is anything of a kind that could be named: without a rule for prompts
// or resources, nobody reaches any, and their methods are not there.
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
	case "resources/read":
		return t.Decide(c, KindResource, m.URI)
	case "resources/subscribe", "resources/unsubscribe":
		// revision 2026-07-28 removed both: without a URI they are methods like others
		if m.URI != "" {
			return t.Decide(c, KindResource, m.URI)
		}
	}
	if m.Answer || isOpening(m.Method) || m.ID == nil && strings.HasPrefix(m.Method, "notifications/") {
		return Decision{Allowed: true, Reason: ReasonOpen}
	}
	d := t.Decide(c, KindMethod, m.Method)
	if m.Method == "completion/complete" && d.Rule != "" {
		return t.decideCompletion(c, m, d)
	}
	return d
}

// decideCompletion is a decision for what a completion refers to, which the method's own rule must
// open, too.
func (t *Table) decideCompletion(c mcp.Caller, m *message.Message, method Decision) Decision {
	// it refers to nothing that is known
	d := Decision{Kind: KindMethod, Name: m.Method, Reason: ReasonUnnamed, Hidden: true, Write: true}
	switch {
	case m.RefType == "ref/prompt":
		d = t.Decide(c, KindPrompt, m.Ref)
	case m.RefType == "ref/resource" && strings.ContainsRune(m.Ref, '{'):
		d = t.Decide(c, kindTemplate, m.Ref)
	case m.RefType == "ref/resource":
		d = t.Decide(c, KindResource, m.Ref)
	}
	if d.Reason == ReasonUnnamed {
		return d
	}
	d.Scopes = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(d.Scopes), method.Scopes...))))
	d.Lacking = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(d.Lacking), method.Lacking...))))
	d.Hidden, d.Write = d.Hidden || method.Hidden, method.Write
	if len(d.Lacking) > 0 {
		d.Allowed, d.Reason = false, ReasonScope
	}
	return d
}
