package cache_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/cache"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/sqlstore"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/schema"
	"github.com/gatehouse-mcp/gatehouse/migrations"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

var (
	ctx = context.Background()
	now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
)

func open(t *testing.T) *sqlstore.DB {
	t.Helper()
	database := "sqlite:" + t.TempDir() + "/gatehouse.db"
	must(t, schema.Up(ctx, database, migrations.Issuer, "schema_migrations_issuer"))
	d, err := sqlstore.Open(ctx, database)
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsNotThereIsNotRemembered(t *testing.T) {
	db := open(t)
	tenants := &cache.Tenants{Store: db}
	if _, err := tenants.Tenant(ctx, "acme"); !errors.Is(err, tenant.ErrNotFound) {
		t.Fatalf("got %v, want ErrNotFound", err)
	}
	must(t, db.CreateTenant(ctx, tenant.Tenant{ID: "acme", Name: "Acme", CreatedAt: now}))
	if got, err := tenants.Tenant(ctx, "acme"); err != nil || got.Name != "Acme" {
		t.Errorf("got %v %v, want acme at once", got, err)
	}
	must(t, db.Close())
	if got, err := tenants.Tenant(ctx, "acme"); err != nil || got.Name != "Acme" {
		t.Errorf("within the second: got %v %v, want it remembered", got, err)
	}
}

// A grant that ends is forgotten at once, however many ask for it meanwhile.
func TestAnEndedGrantIsForgottenAtOnce(t *testing.T) {
	db := open(t)
	must(t, db.CreateTenant(ctx, tenant.Tenant{ID: "acme", Name: "Acme", CreatedAt: now}))
	must(t, db.CreateClient(ctx, client.Client{ID: "cli_1", TenantID: "acme", CreatedAt: now}))
	grants := &cache.Grants{Store: db}
	for _, id := range []string{"grt_1", "grt_2", "grt_3", "grt_4"} {
		_, err := grants.PutMachineGrant(ctx, grant.Grant{ID: id, TenantID: "acme", ClientID: "cli_1",
			Resource: "https://x.example", CreatedAt: now}, audit.Event{Time: now})
		must(t, err)
		var asking sync.WaitGroup
		stop := make(chan struct{})
		for range 4 {
			asking.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						_, _ = grants.MachineGrant(ctx, "cli_1", "https://x.example")
					}
				}
			})
		}
		must(t, grants.RevokeGrant(ctx, id, now, grant.ReasonClient, audit.Event{Time: now}))
		if got, err := grants.MachineGrant(ctx, "cli_1", "https://x.example"); !errors.Is(err, grant.ErrNotFound) {
			t.Errorf("after its end: got %v %v, want ErrNotFound", got.ID, err)
		}
		close(stop)
		asking.Wait()
	}
}

// What another process changes counts within a second, however long a row has been remembered; and
// until then nothing is read again.
func TestAnothersChangeCountsWithinASecond(t *testing.T) {
	db := open(t)
	must(t, db.CreateTenant(ctx, tenant.Tenant{ID: "acme", Name: "Acme", CreatedAt: now}))
	must(t, db.CreateTenant(ctx, tenant.Tenant{ID: "globex", Name: "Globex", CreatedAt: now}))
	must(t, db.CreateClient(ctx, client.Client{ID: "cli_1", TenantID: "acme", Name: "before",
		AuthMethod: client.AuthBasic, SecretHash: "h", CreatedAt: now}))
	_, err := db.PutMachineGrant(ctx, grant.Grant{ID: "grt_1", TenantID: "acme", ClientID: "cli_1",
		Resource: "https://x.example", CreatedAt: now}, audit.Event{Time: now})
	must(t, err)
	watch := &cache.Watch{Changes: db.Changes}
	tenants, clients, grants := &cache.Tenants{Store: db, Watch: watch}, &cache.Clients{Store: db, Watch: watch},
		&cache.Grants{Store: db, Watch: watch}
	within := func(what string, so func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !so(); <-time.After(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s does not count", what)
			}
		}
	}
	changes := func() int64 {
		n, err := db.Changes(ctx)
		must(t, err)
		return n
	}
	for what, row := range map[string]struct {
		change func() error
		counts func() bool
	}{
		"a policy": {
			func() error { return db.PutPolicy(ctx, "acme", tenant.Policy{Registrations: []string{"operator"}}) },
			func() bool {
				got, err := tenants.Tenant(ctx, "acme")
				return err == nil && len(got.Registrations) == 1
			}},
		"a secret": {func() error { return db.ReplaceSecret(ctx, "cli_1", "h2", now) }, func() bool {
			got, err := clients.Client(ctx, "cli_1")
			return err == nil && got.SecretHash == "h2"
		}},
		"an end": {func() error { return db.RevokeGrant(ctx, "grt_1", now, "r", audit.Event{Time: now}) }, func() bool {
			got, err := grants.MachineGrant(ctx, "cli_1", "https://x.example")
			return err == nil && got.Revoked()
		}},
	} {
		if row.counts() {
			t.Fatalf("%s counts before it is made", what)
		}
		before := changes()
		must(t, row.change())
		if changes() == before {
			t.Errorf("%s is not counted", what)
		}
		within(what, row.counts)
	}
	before := changes() // what nobody remembers is not counted: registrations and consents are many
	must(t, db.PutDocument(ctx, client.Client{ID: "https://a.example/c", Name: "a", Origin: client.OriginDocument,
		CreatedAt: now}))
	must(t, db.PutDocument(ctx, client.Client{ID: "https://a.example/c", Name: "b", Origin: client.OriginDocument,
		CreatedAt: now}))
	if n := changes(); n != before {
		t.Errorf("documents were counted: %d", n-before)
	}
}
