package storetest

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

func whoMayWhat(t *testing.T, open func() Store) {
	s, replica := open(), open()
	populate(t, s)
	p := tenant.Policy{
		Scopes: []string{"a"}, Clients: []string{"cli_app"}, Registrations: []string{"operator"},
		MaxAccessTokenLifetime: 5 * time.Minute, MaxRefreshTokenLifetime: 8 * time.Hour,
	}
	must(t, s.PutPolicy(ctx, "acme", p))
	must(t, s.RenameTenant(ctx, "acme", "Acme Corporation"))
	got, err := replica.Tenant(ctx, "acme")
	same(t, "the tenant with its policy", tenant.Tenant{ID: "acme", Name: "Acme Corporation", Policy: p,
		CreatedAt: now}, got, err)
	wantErr(t, "a policy for no tenant", tenant.ErrNotFound, s.PutPolicy(ctx, "ACME", p)) // TN-08
	wantErr(t, "a name for no tenant", tenant.ErrNotFound, s.RenameTenant(ctx, "acme.", "x"))

	must(t, s.CreateTenant(ctx, tenant.Tenant{ID: "globex", CreatedAt: now}))
	must(t, s.CreateUser(ctx, user.User{ID: "usr_bob", Email: "bob@globex.example", Name: "Bob", PasswordHash: "h",
		CreatedAt: now}))
	must(t, s.PutRole(ctx, user.Role{TenantID: "globex", Name: "member", Scopes: []string{"b"}}))
	must(t, s.PutMember(ctx, "globex", "usr_bob", "member"))
	emails := func(tenantID string, limit int) string {
		users, err := replica.Users(ctx, tenantID, limit)
		must(t, err)
		var all []string
		for _, u := range users {
			all = append(all, u.Email)
		}
		return strings.Join(all, " ")
	}
	for _, row := range []struct {
		tenant string
		limit  int
		want   string
	}{
		{"", 10, "ann@acme.example bob@globex.example"}, {"", 1, "ann@acme.example"}, {"acme", 10, "ann@acme.example"},
		{"globex", 10, "bob@globex.example"},
		{"Globex", 10, ""}, {"acme' OR '1'='1", 10, ""}, {"%", 10, ""}, // TN-03
	} {
		if got := emails(row.tenant, row.limit); got != row.want {
			t.Errorf("users of %q: got %q, want %q", row.tenant, got, row.want)
		}
	}
	members, err := replica.Members(ctx, "globex", 10)
	same(t, "members", []user.Member{{UserID: "usr_bob", Email: "bob@globex.example", Name: "Bob", Role: "member"}},
		members, err)

	must(t, s.SetPassword(ctx, "usr_bob", "h2"))
	must(t, s.SetDisabled(ctx, "usr_bob", true))
	bob, err := replica.User(ctx, "usr_bob")
	if err != nil || bob.PasswordHash != "h2" || !bob.Disabled || bob.SessionsEnded != 2 {
		t.Errorf("bob: got %+v %v", bob, err)
	}
	m, err := replica.Memberships(ctx, "usr_bob")
	same(t, "where a disabled person belongs", []user.Membership{}, m, err)
	must(t, s.SetDisabled(ctx, "usr_bob", false))
	if m, err = replica.Memberships(ctx, "usr_bob"); err != nil || len(m) != 1 {
		t.Errorf("enabled again: got %v %v", m, err)
	}
	must(t, s.RemoveMember(ctx, "globex", "usr_bob"))
	m, err = replica.Memberships(ctx, "usr_bob")
	same(t, "after leaving", []user.Membership{}, m, err)
	wantErr(t, "leaving twice", user.ErrNotFound, s.RemoveMember(ctx, "globex", "usr_bob"))
	wantErr(t, "disabling nobody", user.ErrNotFound, s.SetDisabled(ctx, "usr_none", true))
	wantErr(t, "a password for nobody", user.ErrNotFound, s.SetPassword(ctx, "usr_none", "h"))
}

func roles(t *testing.T, open func() Store) {
	s, replica := open(), open()
	populate(t, s)
	gives := func(want string) {
		t.Helper()
		m, err := replica.Memberships(ctx, "usr_ann")
		if err != nil || len(m) != 1 || strings.Join(m[0].Scopes, " ") != want {
			t.Errorf("ann has %v %v, want %s", m, err, want)
		}
	}
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "clerk", Scopes: []string{"c"}}))
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "lead", Scopes: []string{"d"},
		Includes: []string{"clerk"}}))
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "member", Scopes: []string{"a"},
		Includes: []string{"lead"}}))
	gives("a d c")
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "clerk", Scopes: []string{"e"}})) // two floors below ann's
	gives("a d e")
	role, err := replica.Role(ctx, "acme", "member")
	same(t, "the role", user.Role{TenantID: "acme", Name: "member", Scopes: []string{"a"}, Includes: []string{"lead"},
		Gives: []string{"a", "d", "e"}}, role, err)
	all, err := replica.Roles(ctx, "acme")
	if err != nil || len(all) != 3 || all[0].Name != "clerk" || all[2].Name != "member" {
		t.Errorf("roles: got %v %v", all, err)
	}

	refused := func(what string, err error, says string) {
		t.Helper()
		var bad *user.RoleError
		if !errors.As(err, &bad) || !strings.Contains(bad.Reason, says) {
			t.Errorf("%s: got %v, want a RoleError that says %q", what, err, says)
		}
	}
	refused("a circle",
		s.PutRole(ctx, user.Role{TenantID: "acme", Name: "clerk", Scopes: []string{"x"}, Includes: []string{"member"}}),
		"clerk → member → lead → clerk")
	refused("another tenant's role",
		s.PutRole(ctx, user.Role{TenantID: "acme", Name: "clerk", Includes: []string{"elsewhere"}}), `"elsewhere"`)
	gives("a d e") // and nothing had changed
	refused("a role that somebody has", s.DeleteRole(ctx, "acme", "member"), "members: 1")
	refused("a role that is included", s.DeleteRole(ctx, "acme", "clerk"), "lead includes clerk")
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "lead", Scopes: []string{"d"}}))
	must(t, s.DeleteRole(ctx, "acme", "clerk"))
	gives("a d")
	wantErr(t, "a role that is gone", user.ErrNotFound, s.DeleteRole(ctx, "acme", "clerk"))
	_, err = s.Role(ctx, "acme", "CLERK")
	wantErr(t, "a role that is gone", user.ErrNotFound, err)

	// Each of two would close the circle alone: one comes first, and the other is refused.
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "x"}))
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "y"}))
	won, lost := race(t,
		func() error {
			return s.PutRole(ctx, user.Role{TenantID: "acme", Name: "x", Includes: []string{"y"}})
		},
		func() error {
			return replica.PutRole(ctx, user.Role{TenantID: "acme", Name: "y", Includes: []string{"x"}})
		})
	if won != 1 {
		t.Errorf("%d of two roles include each other", won)
	}
	refused("the circle's second half", lost, "→")
}

// race runs acts at once, and says how many succeeded and how the last one was refused.
func race(t *testing.T, acts ...func() error) (won int64, lost error) {
	t.Helper()
	var wins atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := make(chan struct{})
	for _, act := range acts {
		wg.Go(func() {
			<-start
			if err := act(); err == nil {
				wins.Add(1)
			} else {
				mu.Lock()
				defer mu.Unlock()
				lost = err
			}
		})
	}
	close(start)
	wg.Wait()
	return wins.Load(), lost
}

// crew makes two operators, and two admins of acme beside ann: dora and eve.
func crew(t *testing.T, s Store) {
	t.Helper()
	populate(t, s)
	for _, name := range []string{"op1", "op2"} {
		must(t, s.CreateUser(ctx, user.User{ID: "usr_" + name, Email: name + "@ops.example", PasswordHash: "h",
			Operator: true, CreatedAt: now}))
	}
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "admin", Scopes: []string{"a"}, Admin: true}))
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "deputy", Scopes: []string{"a"}, Admin: true}))
	for name, role := range map[string]string{"dora": "admin", "eve": "deputy"} {
		must(t, s.CreateUser(ctx, user.User{ID: "usr_" + name, Email: name + "@acme.example", PasswordHash: "h",
			CreatedAt: now}))
		must(t, s.PutMember(ctx, "acme", "usr_"+name, role))
	}
}

func locked(t *testing.T, what, tenantID string, err error) {
	t.Helper()
	var l *user.Lockout
	if !errors.As(err, &l) || l.TenantID != tenantID {
		t.Errorf("%s: got %v, want a Lockout of %q", what, err, tenantID)
	}
}

func lockouts(t *testing.T, open func() Store) {
	s := open()
	crew(t, s)
	must(t, s.SetDisabled(ctx, "usr_op1", true))
	locked(t, "the last operator", "", s.SetDisabled(ctx, "usr_op2", true))
	must(t, s.CreateUser(ctx, user.User{ID: "usr_op3", Email: "op3@ops.example", Operator: true, CreatedAt: now}))
	locked(t, "the last operator who has a password", "", s.SetDisabled(ctx, "usr_op2", true))
	if u, err := s.User(ctx, "usr_op2"); err != nil || u.Disabled || u.SessionsEnded != 0 {
		t.Errorf("what was refused changed something: %+v %v", u, err)
	}
	must(t, s.SetDisabled(ctx, "usr_op1", false))
	must(t, s.SetDisabled(ctx, "usr_op2", true))

	must(t, s.SetDisabled(ctx, "usr_eve", true)) // a disabled admin is none
	for what, act := range map[string]func() error{
		"disabled":           func() error { return s.SetDisabled(ctx, "usr_dora", true) },
		"taken out":          func() error { return s.RemoveMember(ctx, "acme", "usr_dora") },
		"given another role": func() error { return s.PutMember(ctx, "acme", "usr_dora", "member") },
		"role made nobody's": func() error {
			return s.PutRole(ctx,
				user.Role{TenantID: "acme", Name: "admin", Scopes: []string{"a"}})
		},
		"included, not an admin": func() error {
			return s.PutRole(ctx, user.Role{TenantID: "acme", Name: "admin", Includes: []string{"deputy"}})
		},
	} {
		locked(t, "the last admin, "+what, "acme", act())
	}
	m, err := s.Memberships(ctx, "usr_dora")
	same(t, "dora",
		[]user.Membership{{TenantID: "acme", TenantName: "Acme", Role: "admin", Scopes: []string{"a"}, Admin: true}}, m,
		err)
	must(t, s.SetDisabled(ctx, "usr_eve", false))
	must(t, s.RemoveMember(ctx, "acme", "usr_dora"))

	// Where there was nobody, nobody is locked out.
	must(t, s.CreateTenant(ctx, tenant.Tenant{ID: "globex", CreatedAt: now}))
	must(t, s.PutRole(ctx, user.Role{TenantID: "globex", Name: "reader"}))
	must(t, s.PutMember(ctx, "globex", "usr_ann", "reader"))
	must(t, s.RemoveMember(ctx, "globex", "usr_ann"))
}

// lockoutsAtOnce: two changes that each count on what the other takes away. One of them is refused,
// whichever came second.
func lockoutsAtOnce(t *testing.T, open func() Store) {
	s, replica := open(), open()
	crew(t, s)
	for range 5 {
		won, lost := race(t,
			func() error { return s.SetDisabled(ctx, "usr_op1", true) },
			func() error { return replica.SetDisabled(ctx, "usr_op2", true) })
		if won != 1 {
			t.Fatalf("%d of the two last operators were disabled", won)
		}
		locked(t, "the second operator", "", lost)
		won, lost = race(t,
			func() error { return s.RemoveMember(ctx, "acme", "usr_dora") },
			func() error {
				return replica.PutRole(ctx, user.Role{TenantID: "acme", Name: "deputy", Scopes: []string{"a"}})
			},
			func() error { return replica.SetDisabled(ctx, "usr_dora", true) })
		locked(t, "the last admin", "acme", lost)
		if won == 3 {
			t.Fatal("acme has nobody who administers it")
		}
		must(t, s.SetDisabled(ctx, "usr_op1", false))
		must(t, s.SetDisabled(ctx, "usr_op2", false))
		must(t, s.SetDisabled(ctx, "usr_dora", false))
		must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "deputy", Scopes: []string{"a"}, Admin: true}))
		must(t, s.PutMember(ctx, "acme", "usr_dora", "admin"))
	}
}
