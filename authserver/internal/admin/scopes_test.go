package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
)

// What a client may do is what it may have, the tenant's policy and the person's role leave over,
// as the token endpoint has it.
func TestScopesOfAClient(t *testing.T) {
	ctx, o := context.Background(), open(t)
	o.acme(t)
	_, err := o.CreateTenant(ctx, admin.TenantSpec{ID: "globex", Scopes: []string{"tickets:write"}})
	must(t, err)
	ann, _, err := o.CreateUser(ctx, admin.UserSpec{Email: "ann@acme.example", Tenant: "acme", Role: admin.RoleReader})
	must(t, err)
	machine, _, err := o.CreateClient(ctx, admin.ClientSpec{Tenant: "acme", Scopes: []string{"customers:read"}})
	must(t, err)
	app, _, err := o.CreateClient(ctx, admin.ClientSpec{RedirectURIs: []string{"http://127.0.0.1/cb"}, Public: true})
	must(t, err)
	for _, row := range []struct {
		name  string
		asked admin.ScopesAsked
		want  string // scopes, or the refusal in brackets
		limit string
	}{
		{"a machine client", admin.ScopesAsked{Client: machine.ID, Tenant: "acme"}, "customers:read",
			"the client may not have: customers:write tickets:write"},
		{"an application, the person who may authorize most", admin.ScopesAsked{Client: app.ID, Tenant: "acme"},
			"customers:read customers:write", "leaves out: tickets:write"},
		{"an application of a person, by address",
			admin.ScopesAsked{Client: app.ID, Tenant: "acme", User: "Ann@acme.example"}, "customers:read",
			"the person's role"},
		{"an application of a person, by id", admin.ScopesAsked{Client: app.ID, Tenant: "acme", User: ann.ID},
			"customers:read", "the person's role"},
		{"a person of another tenant", admin.ScopesAsked{Client: app.ID, Tenant: "globex", User: ann.ID},
			"(does not belong)", ""},
		{"another tenant's machine client", admin.ScopesAsked{Client: machine.ID, Tenant: "globex"},
			"(belongs to tenant acme alone)", ""},
		{"no client", admin.ScopesAsked{Client: "cli_x", Tenant: "acme"}, "(no client)", ""},
		{"no tenant", admin.ScopesAsked{Client: app.ID, Tenant: "initech"}, "(no tenant)", ""},
		{"nobody", admin.ScopesAsked{Client: app.ID, Tenant: "acme", User: "bob@acme.example"}, "(no user)", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			found, err := o.ClientScopes(ctx, row.asked)
			if reason, refusal := strings.CutPrefix(strings.TrimSuffix(row.want, ")"), "("); refusal {
				refused(t, err, reason)
				return
			}
			must(t, err)
			if got := strings.Join(found.Scopes, " "); got != row.want ||
				!strings.Contains(strings.Join(found.Limits, "; "), row.limit) {
				t.Errorf("got %s %q, want %s and %q", got, found.Limits, row.want, row.limit)
			}
		})
	}
}

// in one process the another server's acts come through this door too; none takes the place of
// ours.
func TestActsOfOthers(t *testing.T) {
	ctx, o := context.Background(), open(t)
	more := func(context.Context, json.RawMessage) (any, error) { return "theirs", nil }
	o.More = map[string]admin.Operation{"usage.list": more, "tenant.list": more}
	answer, err := o.Act(ctx, "usage.list", json.RawMessage(`{}`))
	must(t, err)
	if string(answer) != `"theirs"` || !slices.Contains(o.Operations(), "usage.list") {
		t.Errorf("got %s of %v", answer, o.Operations())
	}
	if answer, err := o.Act(ctx, "tenant.list", json.RawMessage(`{}`)); err != nil ||
		strings.Contains(string(answer), "theirs") {
		t.Errorf("ours: got %s %v", answer, err)
	}
}

// A command can tell an act that the server's door does not know from one that was refused.
func TestActThatTheServerDoesNotKnow(t *testing.T) {
	ctx, o, dir := context.Background(), open(t), t.TempDir()
	serve(t, o, dir)
	remote, err := admin.Reach(ctx, dir)
	must(t, err)
	if _, err := remote.Act(ctx, "usage.list", json.RawMessage(`{}`)); !errors.Is(err, admin.ErrUnknownOperation) {
		t.Errorf("an unknown act: got %v, want ErrNoAct", err)
	}
	if _, err := remote.Act(ctx, "grant.revoke", json.RawMessage(`{"ID":"grt_x"}`)); err == nil ||
		errors.Is(err, admin.ErrUnknownOperation) {
		t.Errorf("a refused one: got %v", err)
	}
}
