package guard_test

import (
	"testing"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

// A rule that is exact opens the one thing that is called so, whatever stars are in its name; and a
// pattern opens no tool that is called as it is written.
func TestExactNamesAreNoPatterns(t *testing.T) {
	exact := func(name string) []guard.Rule { return []guard.Rule{{Name: name, Exact: true}} }
	pattern := func(name string) []guard.Rule { return []guard.Rule{{Name: name}} }
	for _, row := range []struct {
		kind, name string
		rules      []guard.Rule
		open       bool
	}{
		{guard.KindTool, "*", exact("*"), true},
		{guard.KindTool, "other", exact("*"), false},
		{guard.KindTool, "get_*", exact("get_*"), true},
		{guard.KindTool, "get_secret", exact("get_*"), false},
		{guard.KindTool, "GET_*", exact("get_*"), false},
		{guard.KindTool, "*", pattern("*"), false},
		{guard.KindTool, "get_*", pattern("get_*"), false},
		{guard.KindTool, "get_note", pattern("get_*"), true},
		{guard.KindPrompt, "*", exact("*"), true},
		{guard.KindPrompt, "other", exact("*"), false},
		{guard.KindResource, "note://*", exact("note://*"), true},
		{guard.KindResource, "note://1", exact("note://*"), false},
		{guard.KindResource, "note://%2A", exact("note://*"), false},
		{guard.KindResource, "note://1", pattern("note://*"), true},
		{guard.KindMethod, "tasks/get", exact("tasks/*"), false},
	} {
		table, err := guard.Rules{Tools: row.rules, Prompts: row.rules, Resources: row.rules,
			Methods: row.rules}.Compile()
		must(t, err)
		if got := table.Decide(mcp.Caller{}, row.kind, row.name).Allowed; got != row.open {
			t.Errorf("the %s %q by the rule %+v: open %v, want %v", row.kind, row.name, row.rules[0], got, row.open)
		}
	}
	table, err := guard.Rules{Tools: []guard.Rule{{Name: "a_*", Exact: true, Scopes: []string{"one"}},
		{Name: "a_*", Scopes: []string{"two"}}}}.Compile()
	must(t, err)
	if d := table.DecidePattern(mcp.Caller{}, guard.KindTool, "a_*"); d.Rule != "a_*" || len(d.Scopes) != 1 ||
		d.Scopes[0] != "two" {
		t.Errorf("the pattern's own decision is %+v", d)
	}
	if d := table.Decide(mcp.Caller{}, guard.KindTool, "a_*"); len(d.Scopes) != 1 || d.Scopes[0] != "one" {
		t.Errorf("the decision for the one tool of that name is %+v", d)
	}
}
