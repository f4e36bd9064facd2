package admin_test

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

func TestEveryActLeavesItsLine(t *testing.T) {
	ctx, o := context.Background(), open(t)
	o.acme(t)
	must(t, o.PutRole(ctx, admin.RoleSpec{Tenant: "acme", Role: "clerk", Scopes: []string{"customers:read"}}))
	ann, _, err := o.CreateUser(ctx, admin.UserSpec{Email: "Ann@Acme.example", Tenant: "acme", Role: "clerk"})
	must(t, err)
	machine, _, err := o.CreateClient(ctx, admin.ClientSpec{Tenant: "acme", Scopes: []string{"customers:read"}})
	must(t, err)
	token, err := o.CreateInitialToken(ctx, admin.InitialTokenSpec{Tenant: "acme"})
	must(t, err)
	g, err := o.store.PutMachineGrant(ctx, grant.Grant{
		ID: "grt_1", TenantID: "acme", ClientID: machine.ID, Resource: resourceURI, Scopes: []string{"customers:read"},
		CreatedAt: now,
	}, audit.Event{Time: now, Actor: "client:" + machine.ID, Action: "grant.create"})
	must(t, err)
	revoke(t, o, g.ID, "")
	kid, err := o.RotateKey(ctx, admin.KeyRotation{Soon: true})
	must(t, err)
	_, err = o.WithdrawKey(ctx, admin.KeyWithdrawal{KID: kid})
	must(t, err)
	o.Rekey = func(next config.Secret, seal func(config.Secret) error) error { return seal(next) }
	done, err := o.Reseal(ctx, admin.Resealing{Key: base64.StdEncoding.EncodeToString(make([]byte, 32))})
	must(t, err)
	must(t, o.DeleteClient(ctx, machine.ID))

	want := []string{
		"tenant.create acme acme", "role.put agent-admin acme", "role.put reader acme", "role.put clerk acme",
		"user.create " + ann.ID, "member.put " + ann.ID + " acme", "client.create " + machine.ID + " acme",
		"initial_token.create " + client.TokenHash(token)[:12] + " acme", "grant.revoke grt_1 acme",
		"key.create " + kid, "key.withdraw " + kid, "key.reseal " + done.Under,
		"client.delete " + machine.ID + " acme",
	}
	if diff := cmp.Diff(want, o.lines(t)); diff != "" {
		t.Errorf("audit lines (-want +got):\n%s", diff)
	}
	for _, secret := range []string{token} {
		events, err := o.Events(ctx, audit.Filter{Limit: 1000})
		must(t, err)
		if slices.ContainsFunc(events,
			func(e audit.Record) bool { return strings.Contains(e.Target+e.Detail, secret) }) {
			t.Error("an audit line holds a secret")
		}
	}
}

func TestNoLineNoAct(t *testing.T) {
	ctx, o := context.Background(), open(t)
	o.acme(t)
	must(t, o.PutRole(ctx, admin.RoleSpec{Tenant: "acme", Role: "spare", Scopes: []string{"customers:read"}}))
	_, _, err := o.CreateUser(ctx, admin.UserSpec{Email: "carol@acme.example", Tenant: "acme"})
	must(t, err)
	before, err := o.ShowTenant(ctx, "acme")
	must(t, err)
	carol, err := o.store.UserByEmail(ctx, "carol@acme.example")
	must(t, err)
	o.Audit = brokenLog{o.Audit}
	acts := map[string]func() error{
		"tenant": func() error { _, err := o.CreateTenant(ctx, admin.TenantSpec{ID: "globex"}); return err },
		"role": func() error {
			return o.PutRole(ctx, admin.RoleSpec{Tenant: "acme", Role: "clerk", Scopes: []string{"customers:read"}})
		},
		"user": func() error { _, _, err := o.CreateUser(ctx, admin.UserSpec{Email: "ann@acme.example"}); return err },
		"client": func() error {
			_, _, err := o.CreateClient(ctx, admin.ClientSpec{Tenant: "acme", Scopes: []string{"customers:read"}})
			return err
		},
		"initial token": func() error {
			_,
				err := o.CreateInitialToken(ctx, admin.InitialTokenSpec{Tenant: "acme"})
			return err
		},
		"policy": func() error {
			_, err := o.SetPolicy(ctx, admin.PolicySpec{Tenant: "acme", Registrations: ptr([]string{"operator"})})
			return err
		},
		"rename":  func() error { return o.RenameTenant(ctx, admin.TenantName{ID: "acme", Name: "Another"}) },
		"no role": func() error { return o.DeleteRole(ctx, admin.RoleName{Tenant: "acme", Role: "spare"}) },
		"another role": func() error {
			return o.PutMember(ctx, admin.MemberSpec{Email: carol.Email, Tenant: "acme", Role: "spare"})
		},
		"no member": func() error { return o.RemoveMember(ctx, admin.RemovalSpec{Email: carol.Email, Tenant: "acme"}) },
		"disabled":  func() error { return o.DisableUser(ctx, admin.DisableSpec{User: carol.Email}) },
		"enabled":   func() error { return o.EnableUser(ctx, carol.Email) },
		"password":  func() error { _, err := o.SetPassword(ctx, admin.PasswordSpec{User: carol.Email}); return err },
	}
	for name, act := range acts {
		if err := act(); !errors.Is(err, errDiskFull) {
			t.Errorf("%s: got %v, want the log's error", name, err)
		}
	}
	after, err := o.ShowTenant(ctx, "acme")
	if diff := cmp.Diff(before, after); err != nil || diff != "" {
		t.Errorf("the tenant: %v (-before +after)\n%s", err, diff)
	}
	still, err := o.store.UserByEmail(ctx, carol.Email)
	if diff := cmp.Diff(carol, still); err != nil || diff != "" {
		t.Errorf("carol: %v (-before +after)\n%s", err, diff)
	}
	tenants, err := o.ListTenants(ctx)
	must(t, err)
	clients, err := o.ListClients(ctx, client.Filter{})
	must(t, err)
	_, err = o.store.UserByEmail(ctx, "ann@acme.example")
	if len(tenants) != 1 || len(clients) != 0 || !errors.Is(err, user.ErrNotFound) {
		t.Errorf("an act without its line has happened: %d tenants, %d clients, user: %v", len(tenants),
			len(clients), err)
	}
}

func TestWhatIsAskedForWronglyIsRefused(t *testing.T) {
	ctx, o := context.Background(), open(t)
	o.acme(t)
	_, _, err := o.CreateUser(ctx, admin.UserSpec{Email: "ann@acme.example"})
	must(t, err)
	tenant := func(s admin.TenantSpec) error { _, err := o.CreateTenant(ctx, s); return err }
	person := func(s admin.UserSpec) error { _, _, err := o.CreateUser(ctx, s); return err }
	app := func(s admin.ClientSpec) error { _, _, err := o.CreateClient(ctx, s); return err }
	initial := func(s admin.InitialTokenSpec) error { _, err := o.CreateInitialToken(ctx, s); return err }
	rotate := func(algorithm string) error {
		_, err := o.RotateKey(ctx, admin.KeyRotation{Algorithm: algorithm})
		return err
	}
	reseal := func(key string) error { _, err := o.Reseal(ctx, admin.Resealing{Key: key}); return err }
	withdraw := func(kid string) error { _, err := o.WithdrawKey(ctx, admin.KeyWithdrawal{KID: kid}); return err }
	rows := []struct {
		err  error
		says string
	}{
		{tenant(admin.TenantSpec{ID: "Acme!"}), "cannot be a tenant's id"},
		{tenant(admin.TenantSpec{ID: "acme"}), "already"},
		{tenant(admin.TenantSpec{ID: "globex", Scopes: []string{"everything"}}), `scope "everything"`},
		{tenant(admin.TenantSpec{ID: "globex", Name: "Glo\u202ebex"}), "cannot be shown"},
		{o.PutRole(ctx, admin.RoleSpec{Tenant: "acme", Role: "clerk", Scopes: []string{"tickets:write"}}),
			`scope "tickets:write"`},
		{o.PutRole(ctx, admin.RoleSpec{Tenant: "acme", Role: "clerk"}), "no scope"},
		{o.PutRole(ctx, admin.RoleSpec{Tenant: "nobody", Role: "clerk"}), `no tenant "nobody"`},
		{person(admin.UserSpec{Email: "ann"}), "not an e-mail address"},
		{person(admin.UserSpec{Email: "ANN@acme.example"}), "already"},
		{person(admin.UserSpec{Email: "bob@acme.example", Password: "short"}), "shorter than"},
		{person(admin.UserSpec{Email: "bob@acme.example", Tenant: "nobody"}), `no tenant "nobody"`},
		{person(admin.UserSpec{Email: "bob@acme.example", Tenant: "acme", Role: "king"}), `no role "king"`},
		{o.PutMember(ctx, admin.MemberSpec{Email: "bob@acme.example", Tenant: "acme"}), "no user"},
		{o.PutMember(ctx, admin.MemberSpec{Email: "ann@acme.example", Tenant: "acme", Role: "king"}), `no role "king"`},
		{app(admin.ClientSpec{Scopes: []string{"customers:read"}}), "must belong to a tenant"},
		{app(admin.ClientSpec{Tenant: "acme"}), "no scope"},
		{app(admin.ClientSpec{Tenant: "acme", Scopes: []string{"tickets:write"}}), `scope "tickets:write"`},
		{app(admin.ClientSpec{Tenant: "acme", Scopes: []string{"customers:read"}, Public: true}), "needs a secret"},
		{app(admin.ClientSpec{RedirectURIs: []string{"javascript:alert(1)"}}), "cannot be registered"},
		{app(admin.ClientSpec{RedirectURIs: []string{"http://app.example/cb"}}), "cannot be registered"},
		{initial(admin.InitialTokenSpec{Tenant: "acme", Uses: -1}), "1 to 1000 uses"},
		{initial(admin.InitialTokenSpec{Tenant: "acme", Lifetime: 31 * 24 * time.Hour}), "30 days"},
		{initial(admin.InitialTokenSpec{Tenant: "acme", Scopes: []string{"tickets:write"}}), `scope "tickets:write"`},
		{revoking(o, "grt_nobody", ""), "no grant"},
		{revoking(o, "grt_nobody", grant.ReasonClient), "decides by"},
		{rotate("HS256"), `the algorithm "HS256"`},
		{withdraw("nobody"), "no key"},
		{withdraw(o.Keys.Keys()[0].KID), "signs now"},
		{reseal("c2hvcnQ="), "not 32 bytes"},
		{reseal(base64.StdEncoding.EncodeToString(make([]byte, 32))), "nothing would start again"},

		{o.DeleteClient(ctx, "cli_nobody"), "no client"},
		{app(admin.ClientSpec{Tenant: "acme", Scopes: []string{"customers:read"}, PushRequired: true}),
			"sends no authorization requests"},
	}
	before := len(o.lines(t))
	for _, row := range rows {
		refused(t, row.err, row.says)
	}
	if got := len(o.lines(t)); got != before {
		t.Errorf("%d lines of acts that were refused", got-before)
	}
}

func TestTenantsBeginWithTwoRoles(t *testing.T) {
	ctx, o := context.Background(), open(t)
	o.acme(t)
	for role, want := range map[string][]string{
		admin.RoleAdmin: {"customers:read", "customers:write"}, admin.RoleReader: {"customers:read"},
		"": {"customers:read"},
	} {
		email := "p" + role + "@acme.example"
		u, _, err := o.CreateUser(ctx, admin.UserSpec{Email: email, Tenant: "acme", Role: role})
		must(t, err)
		places, err := o.store.Memberships(ctx, u.ID)
		must(t, err)
		if len(places) != 1 || !slices.Equal(places[0].Scopes, want) || places[0].Admin != (role == admin.RoleAdmin) {
			t.Errorf("role %q: got %+v, want the scopes %v", role, places, want)
		}
	}
}

func TestSecretsAreShownOnceAndKeptAsHashes(t *testing.T) {
	ctx, o := context.Background(), open(t)
	o.acme(t)
	_, password, err := o.CreateUser(ctx, admin.UserSpec{Email: "ann@acme.example"})
	must(t, err)
	ann, err := o.store.UserByEmail(ctx, "ann@acme.example")
	must(t, err)
	if len(password) < 20 || strings.Contains(ann.PasswordHash, password) {
		t.Errorf("password of %d characters, kept as %.10q…", len(password), ann.PasswordHash)
	}
	c, secret, err := o.CreateClient(ctx, admin.ClientSpec{Tenant: "acme", Scopes: []string{"customers:read"}})
	must(t, err)
	kept, err := o.store.Client(ctx, c.ID)
	must(t, err)
	if !client.CheckSecret(kept.SecretHash, secret) || strings.Contains(kept.SecretHash, secret) {
		t.Error("the client's secret does not open what is kept, or is kept as it is")
	}
	app, secret,
		err := o.CreateClient(ctx, admin.ClientSpec{RedirectURIs: []string{"http://127.0.0.1/cb"}, Public: true})
	must(t, err)
	if secret != "" || app.AuthMethod != client.AuthNone || app.ApplicationType != "native" ||
		!slices.Contains(app.GrantTypes, client.GrantRefresh) {
		t.Errorf("a public application: got %+v with secret %q", app, secret)
	}
}

func TestEndedGrantIsOnTheListBeforeTheActReturns(t *testing.T) {
	ctx, o := context.Background(), open(t)
	o.acme(t)
	c, _, err := o.CreateClient(ctx, admin.ClientSpec{Tenant: "acme", Scopes: []string{"customers:read"}})
	must(t, err)
	_, err = o.store.PutMachineGrant(ctx, grant.Grant{ID: "grt_1", TenantID: "acme", ClientID: c.ID,
		Resource: resourceURI, CreatedAt: now},
		audit.Event{Time: now, Actor: "client:" + c.ID, Action: "grant.create"})
	must(t, err)
	revoke(t, o, "grt_1", "the laptop was stolen")
	if ended, err := o.list.Ended(ctx, "grt_1"); !ended || err != nil {
		t.Errorf("on the list: %v, %v", ended, err)
	}
	grants, err := o.ListGrants(ctx, grant.Filter{TenantID: "acme"})
	must(t, err)
	if len(grants) != 1 || grants[0].RevokeReason != "the laptop was stolen" {
		t.Errorf("got %+v", grants)
	}
}
