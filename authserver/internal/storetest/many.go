package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

// manyAtOnce is what is kept many at once: all or none.
func manyAtOnce(t *testing.T, open func() Store) {
	s, replica := open(), open()
	populate(t, s)
	must(t, s.PutRoles(ctx, "acme", []user.Role{
		{TenantID: "acme", Name: "lead", Scopes: []string{"b"}, Includes: []string{"clerk", "member"}},
		{TenantID: "acme", Name: "clerk", Scopes: []string{"c"}},
	}))
	gives := func(name, want string) {
		t.Helper()
		role, err := replica.Role(ctx, "acme", name)
		if err != nil || strings.Join(role.Gives, " ") != want {
			t.Errorf("%s gives %v %v, want %s", name, role.Gives, err, want)
		}
	}
	gives("lead", "b c a")
	must(t, s.PutRoles(ctx, "acme", []user.Role{ // one after the other, either would close a circle
		{TenantID: "acme", Name: "clerk", Scopes: []string{"c"}, Includes: []string{"lead"}},
		{TenantID: "acme", Name: "lead", Scopes: []string{"b"}},
	}))
	gives("clerk", "c b")
	var bad *user.RoleError
	err := s.PutRoles(ctx, "acme", []user.Role{{TenantID: "acme", Name: "new", Scopes: []string{"a"}},
		{TenantID: "acme", Name: "lead", Includes: []string{"clerk"}}})
	if !errors.As(err, &bad) || !slices.Equal(bad.Roles, []string{"lead", "clerk", "lead"}) {
		t.Errorf("a circle: got %+v, want one of lead and clerk", err)
	}
	_, err = replica.Role(ctx, "acme", "new")
	wantErr(t, "a role that came with a circle", user.ErrNotFound, err)

	held, err := replica.HeldRoles(ctx, "acme")
	same(t, "the roles that somebody has", []string{"member"}, held, err)
	must(t, s.SetDisabled(ctx, "usr_ann", true))
	held, err = replica.HeldRoles(ctx, "acme")
	same(t, "the roles that somebody has who is not disabled", []string{}, held, err)

	must(t, s.CreateTenant(ctx, tenant.Tenant{ID: "globex", CreatedAt: now}))
	made := func(id, tenantID, origin string) client.Client {
		return client.Client{ID: id, Name: id, TenantID: tenantID, Origin: origin, RedirectURIs: []string{},
			GrantTypes: []string{client.GrantCredentials}, AuthMethod: client.AuthBasic, SecretHash: "h",
			Scopes: []string{"a"}, PostLogoutRedirectURIs: []string{}, CreatedAt: now}
	}
	var many []client.Client
	for i := range 101 {
		many = append(many, made(fmt.Sprintf("cli_%03d", i), "acme", client.OriginOperator))
	}
	must(t, s.CreateClients(ctx, append(slices.Clone(many), made("cli_admins", "acme", client.OriginAdmin),
		made("cli_globex", "globex", client.OriginOperator), made("cli_none", "", client.OriginOperator))))
	must(t, s.CreateClients(ctx, nil))
	got, err := replica.OperatorClients(ctx, "acme")
	same(t, "the operator's clients of acme", many, got, err)
	got, err = replica.OperatorClients(ctx, "")
	same(t, "the operator's clients of no tenant", []client.Client{made("cli_none", "", client.OriginOperator)},
		got, err)
	got, err = replica.OperatorClients(ctx, "acme' OR '1'='1") // TN-03
	same(t, "the operator's clients of nobody", []client.Client{}, got, err)
	must(t, s.DeleteClient(ctx, "cli_none", now))
	got, err = replica.OperatorClients(ctx, "")
	same(t, "the operator's clients after one is gone", []client.Client{}, got, err)
	if err := s.CreateClients(ctx, []client.Client{made("cli_late", "acme", client.OriginOperator),
		many[0]}); err == nil {
		t.Error("an id was taken twice")
	}
	_, err = replica.Client(ctx, "cli_late")
	wantErr(t, "a client that came with one that is there", client.ErrNotFound, err)
}
