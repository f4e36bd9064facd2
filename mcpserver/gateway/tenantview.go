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

// TenantTool changes a tool for one tenant.
type TenantTool struct {
	// Name is the server's name of the tool.
	Name string `yaml:"name"`
	// Exact says that "*" in Name or Rename is an ordinary character. Without it such a name is an
	// error, because it looks like a pattern.
	Exact bool `yaml:"exact"`
	// Off removes the tool: it is neither listed nor called.
	Off bool `yaml:"off"`
	// Rename is the name for clients.
	Rename string `yaml:"rename"`
	// Describe replaces the server's description.
	Describe string `yaml:"describe"`
	// Arguments limits arguments, by their names.
	Arguments map[string]Bound `yaml:"arguments"`
	// CallsPerHour limits the calls of the whole tenant in an hour. Default: no limit.
	CallsPerHour int64 `yaml:"calls_per_hour"`
}

// everyTenant stands for all tenants that are not named.
const everyTenant = "*"

// tenantView is an upstream's tools as one tenant sees them. A request is decided and forwarded by
// one view, which is the handler of its table.
type tenantView struct {
	table   *guard.Table
	of      *policy
	made    listing
	byName  map[string]*tenantTool // by the server's name
	visible map[string]*tenantTool // by the name for clients, if it differs
	folded  map[string]bool        // both names in lower case
}

// listing is what a list of tools is made from.
type listing struct {
	rules   []Rule
	implies map[string][]string
	tenant  []TenantTool
}

// tenantTool is a tool that a tenant changes.
type tenantTool struct {
	TenantTool
	bounds []bound
	budget *ratelimit.Limiter // nil: no limit
}

// views compiles the tenants' views of an upstream.
func (u *Upstream) views(store ttl.Store) (map[string]*tenantView, error) {
	table, err := u.rules().Compile()
	if err != nil {
		return nil, err
	}
	all := map[string]*tenantView{"": {table: table, made: listing{u.Tools, u.Implies, nil}}}
	for tenant, tools := range u.Tenants {
		s := &tenantView{made: listing{u.Tools, u.Implies, tools}, byName: map[string]*tenantTool{},
			visible: map[string]*tenantTool{}, folded: map[string]bool{}}
		rules := u.rules()
		var renamed []guard.Rule
		for _, t := range tools {
			made, err := u.tenantTool(t, store)
			if err != nil {
				return nil, fmt.Errorf("tenant %q: tool %q: %w", tenant, t.Name, err)
			}
			if s.byName[t.Name] != nil {
				return nil, fmt.Errorf("tenant %q names the tool %q twice", tenant, t.Name)
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
			if d.Reason == guard.ReasonUnnamed { // a pattern could allow its other name
				return nil, fmt.Errorf("tenant %q: the tool %q is renamed, and no rule under tools names it",
					tenant, t.Name)
			}
			renamed = append(renamed, guard.Rule{Name: t.Rename, Exact: true, Scopes: d.Scopes, Hidden: d.Hidden,
				Write: d.Write})
		}
		for name := range s.visible { // a list would have the name twice, and a call would go to the renamed tool
			if kept := s.byName[name]; kept != nil && kept.Rename == "" && !kept.Off {
				return nil, fmt.Errorf("tenant %q: the tool %q is renamed %q, and the tool of that name is neither "+
					"renamed nor off", tenant, s.visible[name].Name, name)
			}
		}
		rules.Tools = append(renamed, rules.Tools...) // a renamed tool needs the scopes of its own name
		if s.table, err = rules.Compile(); err != nil {
			return nil, err
		}
		all[tenant] = s
	}
	return all, nil
}

// tenantTool compiles a change.
func (u *Upstream) tenantTool(t TenantTool, store ttl.Store) (*tenantTool, error) {
	s := &tenantTool{TenantTool: t}
	switch {
	case t.Name == "":
		return nil, errors.New("it has no name")
	case !t.Exact && strings.Contains(t.Name+t.Rename, "*"):
		return nil, errors.New("patterns are not possible here: name each tool, with exact: true if a star is " +
			"in its name")
	case t.CallsPerHour < 0:
		return nil, errors.New("calls_per_hour is negative; use off to remove a tool")
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
