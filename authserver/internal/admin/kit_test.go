package admin_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/job"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/sqlstore"
	"github.com/gatehouse-mcp/gatehouse/authserver/schema"
	"github.com/gatehouse-mcp/gatehouse/migrations"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/outage"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

const resourceURI = "https://mcp.example/mcp"

// now is the moment at which every test happens.
var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// office is an operator API on a real database.
type office struct {
	*admin.API
	store *sqlstore.DB
	list  *revocation.Memory
}

func open(t testing.TB) *office {
	t.Helper()
	return openOn(t, "sqlite:"+filepath.Join(t.TempDir(), "gatehouse.db"))
}

// stores are the databases on which a test runs whose subject is a transaction.
var stores = map[string]func(testing.TB) *office{
	"sqlite": open, "postgres": func(t testing.TB) *office { return openOn(t, testenv.Postgres(t)) },
}

func openOn(t testing.TB, database string) *office {
	t.Helper()
	ctx := context.Background()
	must(t, schema.Up(ctx, database, migrations.Issuer, "schema_migrations_issuer"))
	store, err := sqlstore.Open(ctx, database)
	must(t, err)
	t.Cleanup(func() { must(t, store.Close()) })
	clock := func() time.Time { return now }
	kek := make([]byte, keyring.KeySize)
	rand.Read(kek)
	sealer, err := keyring.NewAES(kek)
	must(t, err)
	ring, err := keyring.Open(ctx, keyring.Config{Store: store, Sealers: []keyring.Sealer{sealer},
		TokenLife: time.Minute, Now: clock})
	must(t, err)
	must(t, ring.EnsureSecret(ctx, nil))
	must(t, ring.Ensure(ctx, "ES256"))
	o := &office{store: store, list: revocation.NewMemory(clock)}
	o.API = &admin.API{
		Tenants: store, Users: store, Clients: store, Trust: store, Grants: store, Audit: store, Keys: ring, Now: clock,
		Atomically: func(ctx context.Context, do func(admin.Stores) error) error {
			return store.Atomically(ctx, func(tx *sqlstore.DB) error {
				if _, broken := o.Audit.(brokenLog); broken {
					return do(brokenStores{tx})
				}
				return do(tx)
			})
		},
		Ledger: &grant.Ledger{Store: store, List: o.list, TokenLifetime: 10 * time.Minute, Now: clock},
		Resources: issuer.NewResources([]issuer.Resource{{URI: resourceURI, Algorithm: "ES256", Scopes: []issuer.Scope{
			{Name: "customers:read", Baseline: true}, {Name: "customers:write"}, {Name: "tickets:write"},
		}}}, store, 10*time.Minute, false), Catalogue: store, Issuer: "https://auth.example.com",
	}
	o.Jobs = &job.Runner{Store: store, Jobs: store.Jobs(job.Keeping{Clients: time.Hour, Keys: time.Hour, Audit: -1}),
		Replica: "here/1", Now: clock, Log: slog.New(slog.DiscardHandler),
		Failing: outage.New(slog.New(slog.DiscardHandler))}
	must(t, o.Ledger.Restore(ctx, time.Hour))
	return o
}

// acme makes the tenant of most tests.
func (o *office) acme(t testing.TB) {
	t.Helper()
	_, err := o.CreateTenant(context.Background(),
		admin.TenantSpec{ID: "acme", Name: "Acme", Scopes: []string{"customers:read", "customers:write"}})
	must(t, err)
}

// lines are the audit lines of what was done, oldest first, as "action target tenant".
func (o *office) lines(t testing.TB) []string {
	t.Helper()
	events, err := o.Events(context.Background(), audit.Filter{Limit: 1000})
	must(t, err)
	var lines []string
	for i := len(events) - 1; i >= 0; i-- {
		if e := events[i]; e.Actor == "operator" && e.Outcome == audit.OK {
			lines = append(lines, strings.TrimSpace(e.Action+" "+e.Target+" "+e.Tenant))
		}
	}
	return lines
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused checks that err is a Refusal that says this.
func refused(t testing.TB, err error, says string) {
	t.Helper()
	var r *admin.Refusal
	if !errors.As(err, &r) || !strings.Contains(r.Reason, says) {
		t.Errorf("got %v, want a refusal that says %q", err, says)
	}
}

// brokenLog is an audit log whose disk is full. Everything else in these tests is real.
type brokenLog struct{ admin.Log }

var errDiskFull = errors.New("disk full")

func (brokenLog) Record(context.Context, audit.Event) error { return errDiskFull }

func (brokenLog) RecordAll(context.Context, []audit.Event) error { return errDiskFull }

// brokenStores are the stores of a transaction with that log.
type brokenStores struct{ *sqlstore.DB }

func (brokenStores) Record(context.Context, audit.Event) error { return errDiskFull }

func (brokenStores) RecordAll(context.Context, []audit.Event) error { return errDiskFull }

// timed adds up how long transactions take.
func (o *office) timed(within func(context.Context, func(admin.Stores) error) error,
	took *time.Duration) func(context.Context, func(admin.Stores) error) error {
	return func(ctx context.Context, do func(admin.Stores) error) error {
		at := time.Now()
		defer func() { *took += time.Since(at) }()
		return within(ctx, do)
	}
}

// revoking revokes one grant.
func revoking(o *office, id, reason string) error {
	_, err := o.RevokeGrants(context.Background(), admin.GrantSelection{ID: id, Reason: reason})
	return err
}

// revoke is revoking that must be done.
func revoke(t *testing.T, o *office, id, reason string) {
	t.Helper()
	must(t, revoking(o, id, reason))
}
