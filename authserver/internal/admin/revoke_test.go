package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// given makes a tenant with ann, who alone administers it, and bob; two clients; and a grant of
// each person to each client, named after both.
func (o *office) given(t *testing.T) (ids map[string]string) {
	t.Helper()
	ctx := context.Background()
	o.acme(t)
	ids = map[string]string{}
	for _, c := range []string{"cli_one", "cli_two"} {
		must(t, o.store.CreateClient(ctx, client.Client{ID: c, Name: c, CreatedAt: now}))
	}
	for name, role := range map[string]string{"ann": admin.RoleAdmin, "bob": admin.RoleReader} {
		u, _, err := o.CreateUser(ctx, admin.UserSpec{Email: name + "@acme.example", Tenant: "acme", Role: role})
		must(t, err)
		ids[name] = u.ID
		for _, c := range []string{"cli_one", "cli_two"} {
			g := grant.Grant{ID: "grt_" + name + c, TenantID: "acme", ClientID: c, UserID: u.ID, Resource: resourceURI,
				CreatedAt: now}
			must(t, o.store.PutCode(ctx, g, issuer.Code{Hash: g.ID, GrantID: g.ID, ClientID: c, CreatedAt: now,
				ExpiresAt: now}, audit.Event{Time: now, Actor: "user:" + u.ID}))
		}
	}
	return ids
}

// Who alone administers a tenant, or the installation, and is in wrong hands, is shut out when the
// operator says so; the audit says that it was forced.
func TestASoleAdminCanBeShutOutByForce(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			ctx, o := context.Background(), open(t)
			ids := o.given(t)
			refused(t, o.DisableUser(ctx, admin.DisableSpec{User: "ann@acme.example"}), "no one would be left")
			refused(t, o.RemoveMember(ctx, admin.RemovalSpec{Email: "ann@acme.example", Tenant: "acme"}),
				"no one would be left")
			must(t, o.DisableUser(ctx, admin.DisableSpec{User: "ann@acme.example", Force: true}))
			if u, err := o.store.User(ctx, ids["ann"]); err != nil || !u.Disabled {
				t.Errorf("her account: %+v %v, want it disabled", u, err)
			}
			must(t, o.RemoveMember(ctx, admin.RemovalSpec{Email: "ann@acme.example", Tenant: "acme", Force: true}))
			for id, want := range map[string]bool{"grt_anncli_one": true, "grt_anncli_two": true,
				"grt_bobcli_one": false} {
				if over, err := o.list.Ended(ctx, id); over != want || err != nil {
					t.Errorf("%s: revoked %v %v, want %v", id, over, err, want)
				}
			}
			_, _, err := o.CreateUser(ctx, admin.UserSpec{Email: "op@ops.example", Operator: true})
			must(t, err)
			refused(t, o.DisableUser(ctx, admin.DisableSpec{User: "op@ops.example"}), "no operator would be left")
			must(t, o.DisableUser(ctx, admin.DisableSpec{User: "op@ops.example", Force: true}))
			for action, want := range map[string]string{"user.disable": "op@ops.example (forced)",
				"member.remove": "ann@acme.example (forced)"} {
				lines, err := o.Events(ctx, audit.Filter{Action: action, Outcome: audit.OK, Limit: 1})
				if err != nil || len(lines) != 1 || lines[0].Detail != want {
					t.Errorf("%s: got %+v %v, want %q", action, lines, err, want)
				}
			}
		})
	}
}

// Every change that is refused because it would lock a tenant's only administrator out, or leave
// them nothing to allow, happens with force, and the audit says so of that line alone. A change
// that nobody has to force is as it was, forced or not.
func TestEveryLockoutIsOverruledByForce(t *testing.T) {
	policy := func(scope string, force admin.Force) admin.PolicySpec {
		return admin.PolicySpec{Tenant: "acme", Scopes: &[]string{scope}, Force: force}
	}
	for name, row := range map[string]struct {
		refusal, action, detail string
		do                      func(ctx context.Context, o *office, force admin.Force) error
	}{
		"another role": {"no one would be left", "member.put", "reader (forced)",
			func(ctx context.Context, o *office, force admin.Force) error {
				return o.PutMember(ctx, admin.MemberSpec{Email: "ann@acme.example", Tenant: "acme", Role: "reader",
					Force: force})
			}},
		"the role administers no more": {"no one would be left", "role.put", "customers:read (forced)",
			func(ctx context.Context, o *office, force admin.Force) error {
				return o.PutRole(ctx, admin.RoleSpec{Tenant: "acme", Role: admin.RoleAdmin,
					Scopes: []string{"customers:read"}, Force: force})
			}},
		"the policy leaves them nothing": {"could authorize any agent", "policy.set", "scopes tickets:write (forced)",
			func(ctx context.Context, o *office, force admin.Force) error {
				if !force {
					must(t, o.PutRole(ctx, admin.RoleSpec{Tenant: "acme", Role: admin.RoleAdmin,
						Scopes: []string{"customers:read"}, Admin: true}))
				}
				_, err := o.SetPolicy(ctx, policy("tickets:write", force))
				return err
			}},
	} {
		for store, open := range stores {
			t.Run(name+"/"+store, func(t *testing.T) {
				ctx, o := context.Background(), open(t)
				o.given(t)
				_, err := o.SetPolicy(ctx, admin.PolicySpec{Tenant: "acme", AddScopes: []string{"tickets:write"}})
				must(t, err)
				before, err := o.ShowTenant(ctx, "acme")
				must(t, err)
				err = row.do(ctx, o, false)
				refused(t, err, row.refusal)
				var said *admin.Refusal
				if !errors.As(err, &said) || !strings.Contains(said.Hint, "--force") {
					t.Errorf("the hint does not name --force: %v", said)
				}
				if after, err := o.ShowTenant(ctx, "acme"); err != nil ||
					!slices.Equal(after.Members, before.Members) || !slices.Equal(after.Scopes, before.Scopes) {
					t.Errorf("refused, and changed: %+v, was %+v (%v)", after, before, err)
				}
				must(t, row.do(ctx, o, true))
				lines, err := o.Events(ctx, audit.Filter{Action: row.action, Outcome: audit.OK, Limit: 1})
				if err != nil || len(lines) != 1 || lines[0].Detail != row.detail {
					t.Errorf("got %+v %v, want %q", lines, err, row.detail)
				}
			})
		}
	}
}

// Grants are revoked one by one, or all of a client, a person or a tenant; what is named and is not
// there is refused, and nothing is revoked then.
func TestGrantsAreRevokedByClientPersonAndTenant(t *testing.T) {
	ctx := context.Background()
	for name, row := range map[string]struct {
		which admin.GrantSelection
		want  []string
	}{
		"one": {admin.GrantSelection{ID: "grt_anncli_one"}, []string{"grt_anncli_one"}},
		"a client": {admin.GrantSelection{ClientID: "cli_one"},
			[]string{"grt_anncli_one", "grt_bobcli_one"}},
		"a person": {admin.GrantSelection{User: "ANN@acme.example"},
			[]string{"grt_anncli_one", "grt_anncli_two"}},
		"a tenant": {admin.GrantSelection{TenantID: "acme"},
			[]string{"grt_anncli_one", "grt_anncli_two", "grt_bobcli_one", "grt_bobcli_two"}},
		"a person's, there": {admin.GrantSelection{User: "bob@acme.example", ClientID: "cli_two", TenantID: "acme"},
			[]string{"grt_bobcli_two"}},
		"nobody's client":     {admin.GrantSelection{ClientID: "cli_none"}, nil},
		"nobody":              {admin.GrantSelection{User: "eve@acme.example"}, nil},
		"no tenant":           {admin.GrantSelection{TenantID: "globex"}, nil},
		"no grant":            {admin.GrantSelection{ID: "grt_none"}, nil},
		"nothing":             {admin.GrantSelection{}, nil},
		"one, and a tenant":   {admin.GrantSelection{ID: "grt_anncli_one", TenantID: "acme"}, nil},
		"a client's own word": {admin.GrantSelection{TenantID: "acme", Reason: grant.ReasonClient}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := open(t)
			o.given(t)
			done, err := o.RevokeGrants(ctx, row.which)
			if row.want == nil {
				refused(t, err, "")
			} else if err != nil || done.Revoked != len(row.want) {
				t.Errorf("got %d %v, want %d", done.Revoked, err, len(row.want))
			}
			var got []string
			for _, id := range []string{"grt_anncli_one", "grt_anncli_two", "grt_bobcli_one", "grt_bobcli_two"} {
				over, err := o.list.Ended(ctx, id)
				must(t, err)
				if g, err := o.store.Grant(ctx, id); err != nil || g.Revoked() != over {
					t.Errorf("%s: the list and the ledger differ: %v %v", id, over, err)
				}
				if over {
					got = append(got, id)
				}
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// A list of grants takes ids and addresses, and refuses what is not there.
func TestGrantListsNameWhatIsThere(t *testing.T) {
	ctx, o := context.Background(), open(t)
	ids := o.given(t)
	for _, who := range []string{ids["ann"], "ann@acme.example", "Ann@ACME.example"} {
		if found, err := o.ListGrants(ctx, grant.Filter{UserID: who}); err != nil || len(found) != 2 {
			t.Errorf("%s: got %d %v, want 2", who, len(found), err)
		}
	}
	for says, f := range map[string]grant.Filter{
		"no user": {UserID: "eve@acme.example"}, "no user usr_x": {UserID: "usr_x"}, "no client": {ClientID: "cli_x"},
		"no tenant": {TenantID: "globex"},
	} {
		_, err := o.ListGrants(ctx, f)
		refused(t, err, says)
	}
	must(t, o.DeleteClient(ctx, "cli_two"))
	if found, err := o.ListGrants(ctx, grant.Filter{ClientID: "cli_two"}); err != nil || len(found) != 2 {
		t.Errorf("a client that is gone: got %d %v, want what it had", len(found), err)
	}
}

// What was refused says whom it was about, as what was done does; an address that is nobody's is
// not kept.
func TestRefusedActsHaveTheirTarget(t *testing.T) {
	ctx, o := context.Background(), open(t)
	ids := o.given(t)
	for _, row := range []struct{ act, arguments, target, tenant string }{
		{"user.disable", `{"User":"ann@acme.example"}`, ids["ann"], ""},
		{"user.enable", `"eve@acme.example"`, "", ""},
		{"member.remove", `{"Email":"ann@acme.example","Tenant":"acme"}`, ids["ann"], "acme"},
		{"member.put", `{"Email":"` + ids["bob"] + `","Tenant":"acme","Role":"ghost"}`, ids["bob"], "acme"},
		{"grant.revoke", `{"ID":"grt_none"}`, "grt_none", ""},
		{"grant.revoke", `{"ClientID":"cli_none"}`, "cli_none", ""},
		{"grant.revoke", `{"TenantID":"globex"}`, "globex", "globex"},
		{"client.delete", `"cli_none"`, "cli_none", ""},
		{"client.replace_secret", `{"Client":"cli_one"}`, "cli_one", ""},
		{"tenant.create", `{"ID":"acme"}`, "acme", "acme"},
		{"role.delete", `{"Tenant":"acme","Role":"agent-admin"}`, "agent-admin", "acme"},
		{"resource.remove", `"https://none.example/mcp"`, "https://none.example/mcp", ""},
		{"key.withdraw", `{"KID":"none"}`, "none", ""},
		{"policy.set", `{"Tenant":"acme","Scopes":[]}`, "acme", "acme"},
	} {
		if _, err := o.Act(ctx, row.act, json.RawMessage(row.arguments)); err == nil {
			t.Errorf("%s %s was done", row.act, row.arguments)
			continue
		}
		lines, err := o.Events(ctx, audit.Filter{Action: row.act, Outcome: audit.Refused, Limit: 100})
		must(t, err)
		found := false
		for _, l := range lines {
			found = found || l.Target == row.target && l.Tenant == row.tenant
		}
		if !found {
			t.Errorf("%s %s: got %+v, want target %q and tenant %q", row.act, row.arguments, lines, row.target,
				row.tenant)
		}
	}
}
