package clientadmin_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/sqlstore"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/authserver/schema"
	"github.com/gatehouse-mcp/gatehouse/migrations"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

var (
	ctx = context.Background()
	now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open is a registrar on a real database, with ann who looks after acme's clients, mallory who
// looks after globex's, and bob, a reader of acme.
func open(t *testing.T) (*clientadmin.Admin, *sqlstore.DB) {
	t.Helper()
	return openOn(t, sqliteFile(t))
}

func sqliteFile(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "gatehouse.db") }

func openOn(t *testing.T, database string) (*clientadmin.Admin, *sqlstore.DB) {
	t.Helper()
	must(t, schema.Up(ctx, database, migrations.Issuer, "schema_migrations_issuer"))
	store, err := sqlstore.Open(ctx, database)
	must(t, err)
	t.Cleanup(func() { must(t, store.Close()) })
	for _, id := range []string{"acme", "globex"} {
		must(t, store.CreateTenant(ctx,
			tenant.Tenant{ID: id, Name: id, Policy: tenant.Policy{Scopes: []string{"a", "b"}}, CreatedAt: now}))
		must(t, store.PutRole(ctx, user.Role{TenantID: id, Name: "admin", Scopes: []string{"a"}, Admin: true}))
		must(t, store.PutRole(ctx, user.Role{TenantID: id, Name: "reader", Scopes: []string{"a"}}))
	}
	for _, p := range []struct{ name, tenant, role string }{{"ann", "acme", "admin"}, {"bob", "acme", "reader"},
		{"mallory", "globex", "admin"}} {
		must(t, store.CreateUser(ctx, user.User{ID: "usr_" + p.name, Email: p.name + "@example.com", Name: p.name,
			CreatedAt: now}))
		must(t, store.PutMember(ctx, p.tenant, "usr_"+p.name, p.role))
	}
	clock := func() time.Time { return now }
	list := revocation.NewMemory(clock)
	ledger := &grant.Ledger{Store: store, List: list, TokenLifetime: time.Minute, Now: clock}
	return &clientadmin.Admin{
		Tenants: store, Users: store, Clients: store, Grants: store, Ledger: ledger, Audit: store,
		Scopes: func() []string { return []string{"a", "b", "c"} }, Serves: func(string) bool { return false },
		Now: clock,
		Atomically: func(ctx context.Context, do func(clientadmin.Stores) error) error {
			return store.Atomically(ctx, func(tx *sqlstore.DB) error { return do(tx) })
		},
	}, store
}

// AD-01, AD-03, AD-11: who may what, by the ledger as it is now.
func TestWhoMay(t *testing.T) {
	r, store := open(t)
	machine := clientadmin.Spec{Name: "nightly", Tenant: "acme", Scopes: []string{"a"}}
	c, _, err := r.Create(ctx, clientadmin.Operator, machine)
	must(t, err)
	acts := map[string]func(clientadmin.Caller) error{
		"list": func(who clientadmin.Caller) error {
			_, err := r.List(ctx, who, client.Filter{TenantID: "acme"})
			return err
		},
		"create": func(who clientadmin.Caller) error { _, _, err := r.Create(ctx, who, machine); return err },
		"replace secret": func(who clientadmin.Caller) error {
			_, err := r.ReplaceSecret(ctx, who, clientadmin.SecretReplacement{Client: c.ID})
			return err
		},
		"initial token": func(who clientadmin.Caller) error {
			_, err := r.CreateInitialToken(ctx, who, clientadmin.InitialTokenSpec{Tenant: "acme"})
			return err
		},
		"delete": func(who clientadmin.Caller) error {
			victim, _, err := r.Create(ctx, clientadmin.Operator, machine)
			must(t, err)
			return r.Delete(ctx, who, victim.ID)
		},
	}
	lines := func() (n int) {
		events, err := store.Events(ctx, audit.Filter{Limit: 1000})
		must(t, err)
		for _, e := range events {
			if strings.HasPrefix(e.Actor, "user:") {
				n++
			}
		}
		return n
	}
	allow := func(name string, who clientadmin.Caller) {
		t.Helper()
		for what, act := range acts {
			if err := act(who); err != nil {
				t.Errorf("%s: %s: got %v, want it done", name, what, err)
			}
		}
	}
	deny := func(name string, who clientadmin.Caller) {
		t.Helper()
		before := lines()
		for what, act := range acts {
			if err := act(who); !errors.Is(err, clientadmin.ErrNotAllowed) && !errors.Is(err, client.ErrNotFound) {
				t.Errorf("%s: %s: got %v, want it refused", name, what, err)
			}
		}
		if got := lines(); got != before {
			t.Errorf("%s: left %d lines of what was refused", name, got-before)
		}
	}
	allow("the operator", clientadmin.Operator)
	allow("ann", clientadmin.Person("usr_ann", "acme"))
	deny("bob, a reader", clientadmin.Person("usr_bob", "acme"))
	deny("mallory, for acme", clientadmin.Person("usr_mallory", "acme"))
	deny("mallory, for globex", clientadmin.Person("usr_mallory", "globex"))
	deny("ann, for no tenant", clientadmin.Person("usr_ann", ""))
	deny("nobody", clientadmin.Caller{})
	must(t, store.PutRole(ctx, user.Role{TenantID: "acme", Name: "deputy", Scopes: []string{"a"}, Admin: true}))
	must(t, store.CreateUser(ctx, user.User{ID: "usr_dora", Email: "dora@example.com", CreatedAt: now}))
	must(t, store.PutMember(ctx, "acme", "usr_dora", "deputy")) // it is never left without anybody
	must(t, store.PutMember(ctx, "acme", "usr_ann", "reader"))
	deny("ann, who is a reader now", clientadmin.Person("usr_ann", "acme"))
	must(t, store.PutMember(ctx, "acme", "usr_ann", "admin"))
	must(t, store.PutRole(ctx, user.Role{TenantID: "acme", Name: "admin", Scopes: []string{"a"}}))
	deny("ann, whose role is no admin's now", clientadmin.Person("usr_ann", "acme"))

	// Even an admin has no more than the tenant's policy.
	must(t, store.PutRole(ctx, user.Role{TenantID: "acme", Name: "admin", Scopes: []string{"a"}, Admin: true}))
	var refused *clientadmin.Refusal
	if _, _, err := r.Create(ctx, clientadmin.Person("usr_ann", "acme"),
		clientadmin.Spec{Tenant: "acme", Scopes: []string{"c"}}); !errors.As(err, &refused) {
		t.Errorf("a scope beyond the policy: got %v, want a refusal", err)
	}
	if _, _, err := r.Create(ctx, clientadmin.Person("usr_ann", "acme"),
		clientadmin.Spec{RedirectURIs: []string{"https://app.example/cb"}}); !errors.Is(err,
		clientadmin.ErrNotAllowed) {
		t.Errorf("a client of no tenant: got %v, want it refused", err)
	}
}

// AD-13: the line comes first, and says who.
func TestNoLineNoAct(t *testing.T) {
	r, store := open(t)
	ann := clientadmin.Person("usr_ann", "acme")
	c, _, err := r.Create(ctx, ann, clientadmin.Spec{Name: "nightly", Tenant: "acme", Scopes: []string{"a"}})
	must(t, err)
	events, err := store.Events(ctx, audit.Filter{Limit: 1})
	must(t, err)
	want := audit.Event{Time: now, Actor: "user:usr_ann", Action: "client.create", Target: c.ID, Tenant: "acme",
		Client: c.ID, Outcome: audit.OK, Detail: "a"}
	if len(events) != 1 || events[0].Event != want || c.Origin != client.OriginAdmin {
		t.Errorf("got %+v and a client of origin %s, want %+v", events, c.Origin, want)
	}
	_, err = store.PutMachineGrant(ctx, grant.Grant{ID: "grt_1", TenantID: "acme", ClientID: c.ID,
		Resource: "https://mcp.example/mcp", CreatedAt: now}, want)
	must(t, err)
	r.Audit = full{}
	if err := r.Delete(ctx, ann, c.ID); !errors.Is(err, errDiskFull) {
		t.Errorf("got %v, want the log's error", err)
	}
	if _, err := store.Client(ctx, c.ID); err != nil {
		t.Errorf("an act without its line has happened: %v", err)
	}
	r.Audit = store
	must(t, r.Delete(ctx, ann, c.ID))
	if g, err := store.Grant(ctx, "grt_1"); err != nil || g.RevokeReason != grant.ReasonGone {
		t.Errorf("its grant: got %+v %v, want it ended", g, err)
	}
}

// full is an audit log whose disk is full.
type full struct{}

var errDiskFull = errors.New("disk full")

func (full) Record(context.Context, audit.Event) error { return errDiskFull }
