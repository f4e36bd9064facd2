package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// Rules say which scopes the tools, prompts, resources and methods of a server need. What no rule
// names is denied.
type Rules struct {
	// Tools, Prompts and Resources are tried in order; the first rule that matches decides. The
	// name of a resource is its URI. A rule without "*" matches its exact URI. A rule with "*"
	// matches a URI only if all parsers read it in the same way: URIs of special schemes (http,
	// https, ws, wss, ftp, file) must be in the normal form of the WHATWG URL standard, and no URI
	// may have an empty or dot segment, a default port, userinfo, a backslash, a blank or a dot at
	// an end of the host, a host that is not ASCII, an invisible character, or no scheme; a file
	// URI has no host and no Windows short name, and names a drive if another rule does. The same
	// rule must also be the first to match all variants that a server may take the URI for: another
	// case, another Unicode normal form, decoded, another number of slashes after the scheme, with
	// or without a slash at the end, and without fragment, query, path parameters, a file's stream
	// and drive, and a port without a meaning.
	Tools, Prompts, Resources []Rule
	// Methods are allowed requests ("completion/complete", "tasks/*"), in addition to those that
	// need no rule: initialize, ping, server/discover, the lists, logging/setLevel,
	// subscriptions/listen and notifications.
	Methods []Rule
	// Implies says which other scopes a scope includes, as {"customers:write": {"customers:read"}}.
	// A scope that ends with ":*" includes every scope with that prefix.
	Implies map[string][]string
}

// Rule says which scopes the tools, prompts, resources or methods with a name need.
type Rule struct {
	// Name is an exact name, or has one or more "*", each of which matches any characters. In the
	// name of a tool these are the allowed characters of such names, at most 128, and the name must
	// not match another rule in another case, because a server may trim or fold names. A URI is
	// matched as it is and decoded, and must match the same rule.
	Name string
	// Exact makes "*" in Name an ordinary character. Set it in each rule whose name comes from a
	// server: a tool with the name "*" must not allow other tools.
	Exact bool
	// Scopes are all required. None: every valid token is enough.
	Scopes []string
	// Hidden answers callers without the scopes as if the tool did not exist, so that clients never
	// ask the user for its scopes. Default: it is not listed, and a call is challenged for the
	// scopes.
	Hidden bool
	// Write says that the tool changes something; see EnforceWrites.
	Write bool
}

// Table is compiled Rules. It is immutable and safe for concurrent use.
type Table struct {
	view View // see WithView

	kinds   map[string]*kind
	implied map[string][]string // by scope: the scopes that include it
}

// View serves the requests that a table allowed, and changes the tools of its server's lists before
// the guard filters them. A server with rules of its own, which change together with the table, so
// serves exactly the requests that this table decided.
type View interface {
	http.Handler
	// Tools returns the entries of a list of tools as the caller sees them, by the names that the
	// table has.
	Tools(c mcp.Caller, entries []json.RawMessage) ([]json.RawMessage, error)
}

// WithView returns a copy of the table whose allowed requests go to v instead of the handler that
// was given to Enforce.
func (t *Table) WithView(v View) *Table {
	c := *t
	c.view = v
	return &c
}

// kind holds the rules of one kind of thing.
type kind struct {
	exact    map[string]*Rule // those before the first pattern, and those that no earlier pattern matches
	patterns []*Rule
	all      []*Rule
	single   map[string]bool // normalized names of exact
	lower    []string        // normalized patterns
	encoded  bool            // names are URIs, which may be encoded
	drives   bool            // a rule names a Windows drive: a file URI without one is on the current drive
}

// The kinds of things that rules name.
const (
	KindTool     = "tool"
	KindPrompt   = "prompt"
	KindResource = "resource"
	KindMethod   = "method"

	kindTemplate = "template" // a URI template: decided by the rules of resources, and reported as a resource
)

// Compile checks the rules and returns their table.
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

// reach returns all scopes that a scope includes.
func (r Rules) reach(scope string, seen []string) []string {
	for _, next := range r.Implies[scope] {
		if !slices.Contains(seen, next) {
			seen = r.reach(next, append(seen, next))
		}
	}
	return seen
}

// IsPattern reports whether the rule matches more than one name.
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

// Has reports whether the caller has a scope, or one that includes it.
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

// Values of Decision.Reason.
const (
	ReasonOpen    = "open"    // allowed: the scopes are there, or none is needed
	ReasonScope   = "scope"   // a scope is missing
	ReasonUnnamed = "unnamed" // no rule names it
)

// Decision is the decision of the rules on one request.
type Decision struct {
	Kind    string // KindTool and so on; empty: rules do not apply
	Name    string
	Allowed bool
	Reason  string
	Scopes  []string // that are needed
	Lacking []string // that the caller does not have
	Rule    string   // name of the rule that decided; empty: none
	Hidden  bool     // a denial is answered as if the thing did not exist
	Write   bool
}

// Decide returns the decision on one thing. What no rule names counts as a write.
func (t *Table) Decide(c mcp.Caller, of, name string) Decision {
	return t.decideBy(c, of, name, t.rule(of, name))
}

// DecidePattern returns the decision on the things that a pattern matches, for an operator. It is
// not the decision on a thing with the name of the pattern; see Decide.
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

// isOpening reports whether a method needs no rule; the lists that it returns are filtered.
func isOpening(method string) bool {
	switch method {
	case "initialize", "ping", "server/discover", "tools/list", "prompts/list", "resources/list",
		"resources/templates/list", "logging/setLevel", "subscriptions/listen":
		return true
	}
	return false
}

// offers reports whether there may be things of a kind: without a rule for prompts or resources,
// their methods do not exist.
func (t *Table) offers(kind string) bool {
	return kind == KindTool || kind != KindMethod && t.kinds[kind] != nil && len(t.kinds[kind].all) > 0
}

// decide returns the decision on a message.
func (t *Table) decide(c mcp.Caller, m *message.Message) Decision {
	switch m.Method {
	case "tools/call":
		return t.Decide(c, KindTool, m.Name)
	case "prompts/get":
		return t.Decide(c, KindPrompt, m.Name)
	case "resources/read":
		return t.Decide(c, KindResource, m.URI)
	case "resources/subscribe", "resources/unsubscribe":
		// MCP 2026-07-28 removed both; without a URI they are methods like others
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

// decideCompletion returns the decision on what a completion refers to. The rule of the method must
// allow it, too.
func (t *Table) decideCompletion(c mcp.Caller, m *message.Message, method Decision) Decision {
	// an unknown reference
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
