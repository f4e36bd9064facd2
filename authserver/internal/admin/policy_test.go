package admin_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

func ptr[V any](v V) *V { return &v }

func TestAPolicyIsSetAsAWhole(t *testing.T) {
	ctx, o := context.Background(), open(t)
	o.acme(t)
	c, _, err := o.CreateClient(ctx, admin.ClientSpec{Tenant: "acme", Scopes: []string{"customers:read"}})
	must(t, err)
	want := tenant.Policy{
		Scopes: []string{"customers:read"}, Clients: []string{c.ID, "https://agent.example/client.json"},
		Registrations:          []string{"operator", "document"},
		MaxAccessTokenLifetime: 5 * time.Minute, MaxRefreshTokenLifetime: 24 * time.Hour,
	}
	got, err := o.SetPolicy(ctx, admin.PolicySpec{
		Tenant: "acme", Scopes: ptr([]string{"customers:read", "customers:read"}), Clients: &want.Clients,
		Registrations: &want.Registrations, MaxAccessTokenLifetime: &want.MaxAccessTokenLifetime,
		MaxRefreshTokenLifetime: &want.MaxRefreshTokenLifetime,
	})
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if lines := o.lines(t); lines[len(lines)-1] != "policy.set acme acme" {
		t.Errorf("the last line is %q", lines[len(lines)-1])
	}
	acmes, _, err := o.CreateClient(ctx, admin.ClientSpec{Tenant: "acme", Scopes: []string{"customers:read"}})
	must(t, err)
	must(t, func() error { _, err := o.CreateTenant(ctx, admin.TenantSpec{ID: "globex"}); return err }())
	lines := len(o.lines(t))
	var many []string
	for i := range tenant.MaxClients + 1 {
		many = append(many, fmt.Sprintf("https://agent.example/%d", i))
	}
	for _, row := range []struct {
		name, says string
		spec       admin.PolicySpec
	}{
		{"no such tenant", `no tenant "ACME"`, admin.PolicySpec{Tenant: "ACME"}}, // TN-08
		{"a scope that no resource has",
			`no resource has the scope "x' OR 1=1--"; there are: customers:read customers:write tickets:write`,
			admin.PolicySpec{Tenant: "acme", Scopes: ptr([]string{"customers:read", "x' OR 1=1--"})}}, // TN-03
		{"no scope", "no scope", admin.PolicySpec{Tenant: "acme", Scopes: ptr([]string{})}},
		{"a way that is none", "the ways are: operator, document, dynamic, tenant",
			admin.PolicySpec{Tenant: "acme", Registrations: ptr([]string{"Operator"})}},
		{"nobody's client", "there is none that it could",
			admin.PolicySpec{Tenant: "acme", Clients: ptr([]string{"cli_nobody"})}},
		// TN-02
		{"another tenant's client", "there is none that it could",
			admin.PolicySpec{Tenant: "globex", Clients: &[]string{acmes.ID}}},
		{"too many clients", "1000 clients", admin.PolicySpec{Tenant: "acme", Clients: &many}},
		{"a life that is none", "whole seconds",
			admin.PolicySpec{Tenant: "acme", MaxAccessTokenLifetime: ptr(time.Second)}},
		{"a negative life", "whole seconds",
			admin.PolicySpec{Tenant: "acme", MaxRefreshTokenLifetime: ptr(-time.Hour)}},
		{"half a second", "whole seconds",
			admin.PolicySpec{Tenant: "acme", MaxRefreshTokenLifetime: ptr(time.Hour + time.Millisecond)}},
	} {
		_, err := o.SetPolicy(ctx, row.spec)
		if err == nil {
			t.Errorf("%s: taken", row.name)
			continue
		}
		refused(t, err, row.says)
	}
	if n := len(o.lines(t)); n != lines {
		t.Errorf("what was refused left %d lines", n-lines)
	}
	p, err := o.ShowPolicy(ctx, "acme")
	if diff := cmp.Diff(want, p); err != nil || diff != "" {
		t.Errorf("afterwards: %v (-want +got)\n%s", err, diff)
	}
}

// A policy under which none of those who administer the tenant could let anything in is refused; so
// is whatever would leave nobody.
func TestNobodyIsLockedOut(t *testing.T) {
	ctx, o := context.Background(), open(t)
	o.acme(t)
	must(t, o.PutRole(ctx, admin.RoleSpec{Tenant: "acme", Role: "lead", Scopes: []string{"customers:read"},
		Admin: true}))
	for email, role := range map[string]string{"ann@acme.example": "lead", "bob@acme.example": admin.RoleReader} {
		_, _, err := o.CreateUser(ctx, admin.UserSpec{Email: email, Tenant: "acme", Role: role,
			Operator: role == "lead"})
		must(t, err)
	}
	lines := len(o.lines(t))
	_, err := o.SetPolicy(ctx, admin.PolicySpec{Tenant: "acme", Scopes: ptr([]string{"customers:write"})})
	refused(t, err, "no administrator of tenant acme could authorize any agent")
	refused(t, o.DisableUser(ctx, admin.DisableSpec{User: "ann@acme.example"}), "would be left")
	refused(t, o.PutMember(ctx, admin.MemberSpec{Email: "ann@acme.example", Tenant: "acme"}),
		"no one would be left who administers tenant acme")
	refused(t, o.RemoveMember(ctx, admin.RemovalSpec{Email: "ann@acme.example", Tenant: "acme"}),
		"no one would be left who administers tenant acme")
	refused(t, o.PutRole(ctx, admin.RoleSpec{Tenant: "acme", Role: "lead", Scopes: []string{"customers:read"}}),
		"no one would be left who administers tenant acme")
	refused(t, o.DeleteRole(ctx, admin.RoleName{Tenant: "acme", Role: "lead"}), "role lead has members: 1")
	if got := len(o.lines(t)); got != lines {
		t.Errorf("what was refused left %d lines", got-lines)
	}
	must(t, o.PutMember(ctx, admin.MemberSpec{Email: "bob@acme.example", Tenant: "acme", Role: admin.RoleAdmin}))
	// bob's role has it
	_, err = o.SetPolicy(ctx, admin.PolicySpec{Tenant: "acme", Scopes: ptr([]string{"customers:write"})})
	must(t, err)
	must(t, o.RemoveMember(ctx, admin.RemovalSpec{Email: "ann@acme.example", Tenant: "acme"}))
	refused(t, o.DisableUser(ctx, admin.DisableSpec{User: "ann@acme.example"}),
		"no operator would be left who can sign in")
}

func TestRolesOfATenant(t *testing.T) {
	ctx, o := context.Background(), open(t)
	o.acme(t)
	must(t, o.PutRole(ctx, admin.RoleSpec{Tenant: "acme", Role: "clerk", Scopes: []string{"customers:write"},
		Includes: []string{"reader", "reader"}}))
	refused(t, o.PutRole(ctx, admin.RoleSpec{Tenant: "acme", Role: "reader", Includes: []string{"clerk"}}),
		"reader → clerk → reader")
	refused(t, o.PutRole(ctx, admin.RoleSpec{Tenant: "acme", Role: "x", Includes: []string{"ghost"}}), `"ghost"`)
	refused(t, o.PutRole(ctx, admin.RoleSpec{Tenant: "acme", Role: "x", Scopes: []string{"billing:pay"}}),
		`no resource has the scope "billing:pay"; there are: customers:read customers:write tickets:write`)
	refused(t, o.PutRole(ctx, admin.RoleSpec{Tenant: "acme", Role: "x", Scopes: []string{"tickets:write"}}),
		"tenant acme may have")
	refused(t, o.DeleteRole(ctx, admin.RoleName{Tenant: "acme", Role: "reader"}), "role clerk includes reader")
	refused(t, o.DeleteRole(ctx, admin.RoleName{Tenant: "acme", Role: "ghost"}), `no role "ghost"`)
	_, err := o.CreateTenant(ctx, admin.TenantSpec{ID: "globex", Scopes: []string{"billing:pay"}})
	refused(t, err, `no resource has the scope "billing:pay"`)
	_, _, err = o.CreateClient(ctx, admin.ClientSpec{Tenant: "acme", Scopes: []string{"billing:pay"}})
	refused(t, err, `no resource has the scope "billing:pay"`)
	roles, err := o.ListRoles(ctx, "acme")
	var got []string
	for _, r := range roles {
		got = append(got, r.Name+": "+strings.Join(r.Gives, " "))
	}
	if diff := cmp.Diff([]string{"agent-admin: customers:read customers:write", "clerk: customers:write customers:read",
		"reader: customers:read"}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// Several acts are one: what a later one is refused, undoes the earlier ones and their lines.
// Grants end when all of it is committed, and not before.
func TestActsTogether(t *testing.T) {
	ctx, o := context.Background(), open(t)
	o.acme(t)
	ann, _, err := o.CreateUser(ctx, admin.UserSpec{Email: "ann@acme.example", Tenant: "acme"})
	must(t, err)
	c, _, err := o.CreateClient(ctx, admin.ClientSpec{Tenant: "acme", Scopes: []string{"customers:read"}})
	must(t, err)
	_, err = o.store.PutMachineGrant(ctx, grant.Grant{ID: "grt_1", TenantID: "acme", ClientID: c.ID,
		Resource: resourceURI, CreatedAt: now}, audit.Event{Time: now})
	must(t, err)
	lines := o.lines(t)
	acts := func(last string) error {
		return o.Together(ctx, func(d *admin.API) error {
			if _, err := d.CreateTenant(ctx, admin.TenantSpec{ID: "globex"}); err != nil {
				return err
			}
			if err := d.PutMember(ctx, admin.MemberSpec{Email: ann.Email, Tenant: "globex"}); err != nil {
				return err
			}
			if err := d.RemoveMember(ctx, admin.RemovalSpec{Email: ann.Email, Tenant: "acme"}); err != nil {
				return err
			}
			if err := d.DeleteClient(ctx, c.ID); err != nil {
				return err
			}
			if over, err := o.list.Ended(ctx, "grt_1"); over || err != nil {
				t.Errorf("a grant ended before the acts were committed: %v", err)
			}
			return d.PutRole(ctx, admin.RoleSpec{Tenant: "globex", Role: "clerk", Scopes: []string{last}})
		})
	}
	refused(t, acts("billing:pay"), "billing:pay")
	if diff := cmp.Diff(lines, o.lines(t)); diff != "" {
		t.Errorf("lines of what was undone: %s", diff)
	}
	if _, err := o.store.Tenant(ctx, "globex"); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("globex: got %v, want none", err)
	}
	must(t, acts("customers:read"))
	m, err := o.store.Memberships(ctx, ann.ID)
	if err != nil || len(m) != 1 || m[0].TenantID != "globex" {
		t.Errorf("ann belongs to %v %v", m, err)
	}
	if over, err := o.list.Ended(ctx, "grt_1"); !over || err != nil {
		t.Errorf("the grant of the client that is gone: %v %v", over, err)
	}
}

func TestPeopleAreListedWithoutTheirHashes(t *testing.T) {
	ctx, o := context.Background(), open(t)
	o.acme(t)
	_, _, err := o.CreateUser(ctx, admin.UserSpec{Email: "ann@acme.example", Tenant: "acme"})
	must(t, err)
	answer, err := o.Act(ctx, "user.list", []byte(`{"Tenant":"acme"}`))
	if err != nil || !strings.Contains(string(answer), "ann@acme.example") ||
		strings.Contains(string(answer), "argon2") {
		t.Errorf("got %s %v", answer, err)
	}
	_, err = o.SetPassword(ctx, admin.PasswordSpec{User: "ann@acme.example", Password: "short"})
	refused(t, err, "shorter than 15")
	_, err = o.SetPassword(ctx,
		admin.PasswordSpec{User: "ann@acme.example", Password: strings.Repeat("x", user.MaxPassword+1)})
	refused(t, err, "longer than 1024")
}
