package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/shared/ratelimit"
	"github.com/gatehouse-mcp/gatehouse/shared/ttl"
)

// TenantTool is what is otherwise about a tool for one tenant.
type TenantTool struct {
	// Name is the tool's, as the server calls it.
	Name string `yaml:"name"`
	// Exact says that a "*" in Name, or in Rename, is a part of it. Without it such a name is
	// refused, because it looks like one that stands for several tools.
	Exact bool `yaml:"exact"`
	// Off takes it away: it is neither listed nor called.
	Off bool `yaml:"off"`
	// Rename is the name that clients know it by.
	Rename string `yaml:"rename"`
	// Describe is what clients read in place of the server's description.
	Describe string `yaml:"describe"`
	// Arguments are bounds of its arguments, by their names.
	Arguments map[string]Bound `yaml:"arguments"`
	// CallsPerHour is how often the whole tenant may call it in an hour. Default: as often as it
	// likes.
	CallsPerHour int64 `yaml:"calls_per_hour"`
}

// everyTenant is the word for all tenants that are not named.
const everyTenant = "*"

// shape is how the tools of an upstream look to one tenant. A request is decided and passed on by
// one shape: its table leads back to it.
type shape struct {
	table   *guard.Table
	of      *ruleset
	made    listing
	byName  map[string]*shaped // by the server's name
	visible map[string]*shaped // by the name that clients know, where it is another
	folded  map[string]bool    // the names of both, in small letters
}

// listing is what a list of tools is made by.
type listing struct {
	rules   []Rule
	implies map[string][]string
	tenant  []TenantTool
}

// shaped is a tool that is otherwise for a tenant.
type shaped struct {
	TenantTool
	bounds []bound
	budget *ratelimit.Limiter // nil: none
}

// shapes makes the tenants' views of an upstream's tools ready.
func (u *Upstream) shapes(store ttl.Store) (map[string]*shape, error) {
	table, err := u.rules().Compile()
	if err != nil {
		return nil, err
	}
	all := map[string]*shape{"": {table: table, made: listing{u.Tools, u.Implies, nil}}}
	for tenant, tools := range u.Tenants {
		s := &shape{made: listing{u.Tools, u.Implies, tools}, byName: map[string]*shaped{},
			visible: map[string]*shaped{}, folded: map[string]bool{}}
		rules := u.rules()
		var renamed []guard.Rule
		for _, t := range tools {
			made, err := u.shaped(t, store)
			if err != nil {
				return nil, fmt.Errorf("tenant %q: tool %q: %w", tenant, t.Name, err)
			}
			if s.byName[t.Name] != nil {
				return nil, fmt.Errorf("tenant %q speaks of the tool %q twice", tenant, t.Name)
			}
			s.byName[t.Name] = made
			s.folded[strings.ToLower(t.Name)], s.folded[strings.ToLower(t.Rename)] = true, true
			if t.Rename == "" {
				continue
			}
			if s.visible[t.Rename] != nil {
				return nil, fmt.Errorf("tenant %q: two tools are renamed %q", tenant, t.Rename)
			}
			s.visible[t.Rename] = made
			d := table.Decide(mcp.Caller{}, guard.KindTool, t.Name)
			if d.Reason == guard.ReasonUnnamed { // under its other name a rule with a star could open it
				return nil, fmt.Errorf("tenant %q: the tool %q is renamed, and no rule under tools names it",
					tenant, t.Name)
			}
			renamed = append(renamed, guard.Rule{Name: t.Rename, Exact: true, Scopes: d.Scopes, Hidden: d.Hidden,
				Write: d.Write})
		}
		for name := range s.visible { // a list would have two of the name, and a call would go to the renamed one
			if kept := s.byName[name]; kept != nil && kept.Rename == "" && !kept.Off {
				return nil, fmt.Errorf("tenant %q: the tool %q is renamed %q, and the tool of that name is neither "+
					"renamed nor off", tenant, s.visible[name].Name, name)
			}
		}
		rules.Tools = append(renamed, rules.Tools...) // a renamed tool needs what it needs under its own name
		if s.table, err = rules.Compile(); err != nil {
			return nil, err
		}
		all[tenant] = s
	}
	return all, nil
}

// shaped makes one tool's words ready.
func (u *Upstream) shaped(t TenantTool, store ttl.Store) (*shaped, error) {
	s := &shaped{TenantTool: t}
	switch {
	case t.Name == "":
		return nil, errors.New("it has no name")
	case !t.Exact && strings.Contains(t.Name+t.Rename, "*"):
		return nil, errors.New("a star stands for nothing here: each tool is named, with exact: true when a star is " +
			"in its name")
	case t.CallsPerHour < 0:
		return nil, errors.New("calls_per_hour is less than nothing; off takes a tool away")
	}
	if t.CallsPerHour > 0 {
		s.budget = &ratelimit.Limiter{Store: store, Name: "tool " + u.Name + " " + t.Name, Limit: t.CallsPerHour,
			Window: time.Hour}
	}
	for name, b := range t.Arguments {
		made, err := b.ready(name)
		if err != nil {
			return nil, err
		}
		s.bounds = append(s.bounds, made)
	}
	slices.SortFunc(s.bounds, func(a, b bound) int { return strings.Compare(a.name, b.name) })
	return s, nil
}
