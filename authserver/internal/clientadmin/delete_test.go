package clientadmin_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/sqlstore"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// down is a list that cannot be written: what ends a grant fails before the ledger is asked.
type down struct{ revocation.List }

var errDown = errors.New("the list is down")

func (down) Add(context.Context, string, time.Time) error { return errDown }

// deletions are a registrar and the grants of a client that is deleted, on both stores.
func deletions(t *testing.T, test func(*testing.T, *clientadmin.Admin, *sqlstore.DB)) {
	for name, database := range map[string]func(testing.TB) string{"sqlite": sqliteFile, "postgres": testenv.Postgres} {
		t.Run(name, func(t *testing.T) {
			r, store := openOn(t, database(t))
			test(t, r, store)
		})
	}
}

// let keeps a grant that somebody of a tenant gave a client.
func let(t *testing.T, store *sqlstore.DB, id, clientID, tenantID string) {
	t.Helper()
	g := grant.Grant{ID: id, TenantID: tenantID, ClientID: clientID, UserID: "usr_ann", Resource: "r",
		Scopes: []string{"a"}, CreatedAt: now}
	must(t, store.PutCode(ctx, g, issuer.Code{Hash: "code of " + id, GrantID: id, ClientID: clientID, CreatedAt: now,
		ExpiresAt: now}, audit.Event{Time: now}))
}

func wantAlive(t *testing.T, store *sqlstore.DB, id string, want bool) {
	t.Helper()
	if g, err := store.Grant(ctx, id); err != nil || g.Revoked() == want {
		t.Errorf("grant %s: ended %v %v, want it alive: %v", id, g.Revoked(), err, want)
	}
}

func gone(t *testing.T, err error) {
	t.Helper()
	var refused *clientadmin.Refusal
	if !errors.As(err, &refused) || !errors.Is(err, client.ErrNotFound) {
		t.Errorf("got %v, want the refusal that there is no such client", err)
	}
}

// A client whose end was cut short after it became unknown: asked again, the rest of its grants
// end, and then there is nothing left to ask for.
func TestADeletionThatWasCutShortIsFinishedByAskingAgain(t *testing.T) {
	for name, who := range map[string]clientadmin.Caller{"operator": clientadmin.Operator,
		"admin": clientadmin.Person("usr_ann", "acme")} {
		t.Run(name, func(t *testing.T) {
			deletions(t, func(t *testing.T, r *clientadmin.Admin, store *sqlstore.DB) {
				c, _, err := r.Create(ctx, who, clientadmin.Spec{Tenant: "acme", Scopes: []string{"a"}})
				must(t, err)
				_, err = store.PutMachineGrant(ctx, grant.Grant{ID: "g", TenantID: "acme", ClientID: c.ID,
					Resource: "r", CreatedAt: now}, audit.Event{Time: now})
				must(t, err)
				list := r.Ledger.List
				r.Ledger.List = down{list}
				if err := r.Delete(ctx, who, c.ID); !errors.Is(err, errDown) {
					t.Fatalf("got %v, want the end to be cut short", err)
				}
				wantAlive(t, store, "g", true)
				r.Ledger.List = list
				must(t, r.Delete(ctx, who, c.ID))
				wantAlive(t, store, "g", false)
				gone(t, r.Delete(ctx, who, c.ID))
				events, err := store.Events(ctx, audit.Filter{Action: "client.delete", Limit: 10})
				if err != nil || len(events) != 2 || events[0].Target != c.ID ||
					events[0].Actor != string(who.Actor(ctx)) {
					t.Errorf("the lines are %+v %v, want one of each try", events, err)
				}
			})
		})
	}
}

// AD-03: what is left of a client of everybody's, a tenant's admin ends within the tenant; of one
// that is there, nothing.
func TestATenantsAdminEndsNobodyElsesRest(t *testing.T) {
	deletions(t, func(t *testing.T, r *clientadmin.Admin, store *sqlstore.DB) {
		ann := clientadmin.Person("usr_ann", "acme")
		for _, id := range []string{"cli_gone", "cli_there"} {
			must(t, store.CreateClient(ctx, client.Client{ID: id, Origin: client.OriginRegistration, CreatedAt: now}))
			let(t, store, id+" acme", id, "acme")
			let(t, store, id+" globex", id, "globex")
		}
		must(t, store.DeleteClient(ctx, "cli_gone", now))
		gone(t, r.Delete(ctx, ann, "cli_there"))
		wantAlive(t, store, "cli_there acme", true)
		if err := r.Delete(ctx, clientadmin.Person("usr_bob", "acme"), "cli_gone"); !errors.Is(err,
			clientadmin.ErrNotAllowed) {
			t.Errorf("a reader: got %v, want ErrNotAllowed", err)
		}
		must(t, r.Delete(ctx, ann, "cli_gone"))
		wantAlive(t, store, "cli_gone acme", false)
		wantAlive(t, store, "cli_gone globex", true)
		gone(t, r.Delete(ctx, ann, "cli_gone"))
	})
}

// What hangs from a deleted client ends, whether or not the caller waits for that.
func TestADeletionGoesOnThoughTheCallerHasGone(t *testing.T) {
	deletions(t, func(t *testing.T, r *clientadmin.Admin, store *sqlstore.DB) {
		c, _, err := r.Create(ctx, clientadmin.Operator, clientadmin.Spec{Tenant: "acme", Scopes: []string{"a"}})
		must(t, err)
		let(t, store, "g", c.ID, "acme")
		impatient, leave := context.WithCancel(ctx)
		r.Clients = leaving{r.Clients, leave}
		must(t, r.Delete(impatient, clientadmin.Operator, c.ID))
		wantAlive(t, store, "g", false)
	})
}

// leaving is a store from which the caller leaves when the client has become unknown.
type leaving struct {
	client.Store
	leave func()
}

func (l leaving) DeleteClient(ctx context.Context, id string, at time.Time) error {
	defer l.leave()
	return l.Store.DeleteClient(ctx, id, at)
}
