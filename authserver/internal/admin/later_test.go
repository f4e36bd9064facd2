package admin_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

// allowed is a grant that somebody gave a client.
func (o *office) allowed(t *testing.T, id, clientID, userID string) {
	t.Helper()
	g := grant.Grant{ID: id, TenantID: "acme", ClientID: clientID, UserID: userID, Resource: resourceURI,
		Scopes: []string{"customers:read"}, CreatedAt: now}
	must(t, o.store.PutCode(t.Context(), g, issuer.Code{Hash: "code of " + id, GrantID: id, ClientID: clientID,
		CreatedAt: now, ExpiresAt: now.Add(time.Minute)}, audit.Event{Time: now, Action: "grant.create"}))
}

// ended holds grants to be ended, on the list and in the ledger.
func (o *office) ended(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		g, err := o.store.Grant(t.Context(), id)
		listed, listErr := o.list.Ended(t.Context(), id)
		if err != nil || listErr != nil || !g.Revoked() || !listed {
			t.Errorf("grant %s: in the ledger %v %v, on the list %v %v; want it ended", id, g.Revoked(), err, listed,
				listErr)
		}
	}
}

// impatient is a context whose owner goes away in the moment in which the act is committed.
func (o *office) impatient(t *testing.T) context.Context {
	ctx, gone := context.WithCancel(t.Context())
	within := o.Atomically
	o.Atomically = func(ctx context.Context, do func(admin.Stores) error) error {
		err := within(ctx, do)
		gone()
		return err
	}
	t.Cleanup(func() { o.Atomically = within })
	return ctx
}

// What follows a committed act follows it, whether the caller waits for it or has gone.
func TestGrantsEndThoughTheCallerHasGone(t *testing.T) {
	o := open(t)
	o.acme(t)
	must(t, o.store.CreateClient(t.Context(), client.Client{ID: "cli", CreatedAt: now}))
	ann, _, err := o.CreateUser(t.Context(), admin.UserSpec{Email: "ann@acme.example", Tenant: "acme", Role: "reader"})
	must(t, err)
	bob, _, err := o.CreateUser(t.Context(), admin.UserSpec{Email: "bob@acme.example", Tenant: "acme", Role: "reader"})
	must(t, err)
	o.allowed(t, "g_ann", "cli", ann.ID)
	o.allowed(t, "g_bob", "cli", bob.ID)
	ctx := o.impatient(t)
	must(t, o.DisableUser(ctx, admin.DisableSpec{User: ann.Email}))
	o.ended(t, "g_ann")
	must(t, o.RemoveMember(o.impatient(t), admin.RemovalSpec{Email: bob.Email, Tenant: "acme"}))
	o.ended(t, "g_bob")
	if ctx.Err() == nil {
		t.Error("the caller has not gone")
	}
}

// faulty is a list that cannot be written for one grant.
type faulty struct {
	revocation.List
	id string
}

var errFaulty = errors.New("the list cannot be written")

func (w faulty) Add(ctx context.Context, id string, until time.Time) error {
	if id == w.id {
		return errFaulty
	}
	return w.List.Add(ctx, id, until)
}

// Of several things that follow a commit, one that does not succeed holds up no other, and is told.
func TestWhatFollowsACommitIsAllDone(t *testing.T) {
	o := open(t)
	o.acme(t)
	must(t, o.store.CreateClient(t.Context(), client.Client{ID: "cli", CreatedAt: now}))
	for _, name := range []string{"ann", "bob", "carol"} {
		u, _, err := o.CreateUser(t.Context(), admin.UserSpec{Email: name + "@acme.example", Tenant: "acme",
			Role: "reader"})
		must(t, err)
		o.allowed(t, "g_"+name, "cli", u.ID)
	}
	o.Ledger.List = faulty{o.list, "g_bob"}
	err := o.Together(t.Context(), func(in *admin.API) error {
		for _, name := range []string{"ann", "bob", "carol"} {
			must(t, in.DisableUser(t.Context(), admin.DisableSpec{User: name + "@acme.example"}))
		}
		return nil
	})
	if !errors.Is(err, errFaulty) {
		t.Errorf("got %v, want it to tell of the end that did not succeed", err)
	}
	o.ended(t, "g_ann", "g_carol")
}

// A key whose withdrawal was cut short before its place on the list is withdrawn once more, for
// that place; the list has it when it is restored, too.
func TestAWithdrawnKeysPlaceOnTheListIsMadeGood(t *testing.T) {
	ctx, o := t.Context(), open(t)
	kid, err := o.RotateKey(ctx, admin.KeyRotation{Soon: true})
	must(t, err)
	listed := func(what string, want bool) {
		t.Helper()
		if on, err := o.list.Ended(ctx, revocation.KeyID(kid)); on != want || err != nil {
			t.Errorf("%s: the key is on the list: %v %v, want %v", what, on, err, want)
		}
	}
	o.Ledger.List = faulty{o.list, revocation.KeyID(kid)}
	if _, err := o.WithdrawKey(ctx, admin.KeyWithdrawal{KID: kid}); !errors.Is(err, errFaulty) {
		t.Fatalf("got %v, want the withdrawal to be cut short", err)
	}
	listed("cut short", false)
	o.Ledger.List = o.list
	must(t, o.Ledger.Restore(ctx, time.Hour)) // of a ledger that is told nothing of keys
	listed("without the keys", false)
	done, err := o.WithdrawKey(ctx, admin.KeyWithdrawal{KID: kid})
	if err != nil || !done.Again {
		t.Errorf("withdrawing it again: got %+v %v", done, err)
	}
	listed("again", true)
	events, err := o.Events(ctx, audit.Filter{Action: "key.withdraw", Limit: 10})
	if err != nil || len(events) != 2 || events[0].Detail != "again" || events[0].Target != kid {
		t.Errorf("the lines are %+v %v", events, err)
	}
	log := o.Audit
	o.Audit = brokenLog{log}
	if _, err := o.WithdrawKey(ctx, admin.KeyWithdrawal{KID: kid}); !errors.Is(err, errDiskFull) { // FT-13
		t.Errorf("without its line: got %v", err)
	}
	_, err = o.WithdrawKey(ctx, admin.KeyWithdrawal{KID: "nobody"})
	refused(t, err, "there is no key")
}
