// Package storetest owns the examination that every store of the issuing wing must pass.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/connection"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/trust"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
)

// Store is all that a store must do.
type Store interface {
	tenant.Store
	user.Store
	client.Store
	grant.Store
	issuer.Store
	issuer.ResourceStore
	keyring.Store
	trust.Store
	connection.Store
	audit.Log
	RecordAll(ctx context.Context, events []audit.Event) error
	Events(ctx context.Context, f audit.Filter) ([]audit.Record, error)
	Audit() *chain.Chain
}

// Run examines a store. open opens the same, migrated and empty, database each time it is called within one part, so that a part can see what
// another process would see.
func Run(t *testing.T, begin func(t *testing.T) (open func() Store)) {
	for name, part := range map[string]func(*testing.T, func() Store){
		"nouns": nouns, "initial tokens": initialTokens, "registrations": registrations, "codes": codes, "refresh tokens": refreshTokens, "grants": grants, "machine grants": machineGrants,
		"resources": resources, "keys": keys, "sealed rows": sealedRows, "trusted issuers": trustedIssuers, "who may what": whoMayWhat, "roles": roles, "lock-outs": lockouts, "lock-outs at once": lockoutsAtOnce, "assertions": assertions, "one winner": oneWinner, "ending races rotating": endingRacesRotating, "clean-up": cleanUp,
		"audit": auditLines, "audit chain": auditChain, "audit writers at once": auditWriters, "audit tampered with": auditTampered, "audit at random": auditAtRandom,
		"audit written anew": auditWrittenAnew, "audit retention": auditRetention,
		"connections": connections, "merging connections": mergingConnections,
	} {
		t.Run(name, func(t *testing.T) { part(t, begin(t)) })
	}
}

var (
	ctx = context.Background()
	now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

const resource = "https://mcp.example/mcp"

func event(action string) audit.Event {
	return audit.Event{Time: now, Actor: "user:usr_ann", Action: action, Target: "x", Tenant: "acme", Client: "cli_app", Grant: "g", Outcome: audit.OK, Detail: "d"}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, what string, want, got any, err error) {
	t.Helper()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%s: %v (-want +got)\n%s", what, err, diff)
	}
}

func wantErr(t *testing.T, what string, want, got error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// populate makes acme with ann, an application and a machine client.
func populate(t *testing.T, s Store) {
	t.Helper()
	must(t, s.CreateTenant(ctx, tenant.Tenant{ID: "acme", Name: "Acme", Policy: tenant.Policy{Scopes: []string{"a", "b"}}, CreatedAt: now}))
	must(t, s.CreateUser(ctx, user.User{ID: "usr_ann", Email: "ann@acme.example", Name: "Ann", PasswordHash: "h", CreatedAt: now}))
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "member", Scopes: []string{"a"}}))
	must(t, s.PutMember(ctx, "acme", "usr_ann", "member"))
	must(t, s.CreateClient(ctx, client.Client{ID: "cli_app", Name: "App", RedirectURIs: []string{"https://app.example/cb"}, GrantTypes: []string{"authorization_code"}, AuthMethod: "none", CreatedAt: now}))
	must(t, s.CreateClient(ctx, client.Client{ID: "cli_machine", TenantID: "acme", GrantTypes: []string{"client_credentials"}, AuthMethod: "client_secret_basic", SecretHash: "h", Scopes: []string{"a"}, CreatedAt: now}))
}

func nouns(t *testing.T, open func() Store) {
	s := open()
	populate(t, s)
	s = open()
	wantErr(t, "a tenant twice", tenant.ErrExists, s.CreateTenant(ctx, tenant.Tenant{ID: "acme", CreatedAt: now}))
	got, err := s.Tenant(ctx, "acme")
	same(t, "tenant", tenant.Tenant{ID: "acme", Name: "Acme", Policy: tenant.Policy{Scopes: []string{"a", "b"}, Clients: []string{}, Registrations: []string{}}, CreatedAt: now}, got, err)
	_, err = s.Tenant(ctx, "ACME")
	wantErr(t, "a tenant in capitals", tenant.ErrNotFound, err)
	all, err := s.Tenants(ctx)
	same(t, "tenants", []tenant.Tenant{got}, all, err)

	ann := user.User{ID: "usr_ann", Email: "ann@acme.example", Name: "Ann", PasswordHash: "h", CreatedAt: now}
	byID, err := s.User(ctx, "usr_ann")
	same(t, "user", ann, byID, err)
	byEmail, err := s.UserByEmail(ctx, "ann@acme.example")
	same(t, "user by e-mail", ann, byEmail, err)
	_, err = s.UserByEmail(ctx, "bob@globex.example")
	wantErr(t, "nobody", user.ErrNotFound, err)
	wantErr(t, "an address twice", user.ErrExists, s.CreateUser(ctx, user.User{ID: "usr_2", Email: "ann@acme.example", CreatedAt: now}))
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "member", Scopes: []string{"a", "b"}}))
	m, err := s.Memberships(ctx, "usr_ann")
	same(t, "memberships", []user.Membership{{TenantID: "acme", TenantName: "Acme", Role: "member", Scopes: []string{"a", "b"}}}, m, err)
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "member", Scopes: []string{"a"}, Admin: true}))
	m, err = open().Memberships(ctx, "usr_ann")
	same(t, "an admin", []user.Membership{{TenantID: "acme", TenantName: "Acme", Role: "member", Scopes: []string{"a"}, Admin: true}}, m, err)
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "deputy", Admin: true}))
	must(t, s.CreateUser(ctx, user.User{ID: "usr_dora", Email: "dora@acme.example", CreatedAt: now}))
	must(t, s.PutMember(ctx, "acme", "usr_dora", "deputy"))
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "member", Scopes: []string{"a"}}))
	m, err = open().Memberships(ctx, "usr_ann")
	same(t, "and no longer", []user.Membership{{TenantID: "acme", TenantName: "Acme", Role: "member", Scopes: []string{"a"}}}, m, err)
	must(t, s.CreateUser(ctx, user.User{ID: "usr_off", Email: "off@acme.example", Disabled: true, CreatedAt: now}))
	must(t, s.PutMember(ctx, "acme", "usr_off", "member"))
	m, err = s.Memberships(ctx, "usr_off")
	same(t, "memberships of a disabled user", []user.Membership{}, m, err)
	wantErr(t, "a member of a role that is not there", user.ErrNotFound, s.PutMember(ctx, "acme", "usr_ann", "no such role"))

	_, err = s.Client(ctx, "cli_none")
	wantErr(t, "no client", client.ErrNotFound, err)
	c, err := s.Client(ctx, "cli_app")
	same(t, "client", client.Client{ID: "cli_app", Name: "App", RedirectURIs: []string{"https://app.example/cb"}, GrantTypes: []string{"authorization_code"}, AuthMethod: "none", Scopes: []string{}, PostLogoutRedirectURIs: []string{}, CreatedAt: now}, c, err)
	of, err := s.Clients(ctx, "acme", 10)
	if err != nil || len(of) != 1 || of[0].ID != "cli_machine" {
		t.Errorf("acme's clients: got %v %v, want the machine", of, err)
	}
	wantErr(t, "a secret for a client without one", client.ErrNotFound, s.ReplaceSecret(ctx, "cli_app", "h2", now))
	wantErr(t, "a secret for nobody", client.ErrNotFound, s.ReplaceSecret(ctx, "cli_none", "h2", now))
	must(t, s.ReplaceSecret(ctx, "cli_machine", "h2", now))
	must(t, s.ReplaceSecret(ctx, "cli_machine", "h3", now.Add(time.Hour)))
	c, err = s.Client(ctx, "cli_machine")
	if err != nil || c.SecretHash != "h3" || c.OldSecretHash != "h2" || !c.OldSecretEnds.Equal(now.Add(time.Hour)) {
		t.Errorf("after two new secrets: got %+v %v, want the last two", c, err)
	}
	// What PostgreSQL cannot hold as text is the name of nothing, not a fault.
	for _, name := range []string{"\x00", "cli_\xff"} {
		_, err = s.Client(ctx, name)
		wantErr(t, "a client of an impossible name", client.ErrNotFound, err)
		_, err = s.Grant(ctx, name)
		wantErr(t, "a grant of an impossible name", grant.ErrNotFound, err)
		_, err = s.UserByEmail(ctx, name)
		wantErr(t, "a user of an impossible name", user.ErrNotFound, err)
	}
	must(t, s.Record(ctx, event("x.y")))
	events, err := s.Events(ctx, audit.Filter{Limit: 1})
	same(t, "audit", []audit.Record{{Event: event("x.y")}}, events, err)
}

func initialTokens(t *testing.T, open func() Store) {
	s := open()
	populate(t, s)
	must(t, s.CreateInitialToken(ctx, client.InitialToken{Hash: "once", TenantID: "acme", Scopes: []string{"a"}, ExpiresAt: now.Add(time.Hour), Uses: 1, CreatedAt: now}))
	refusal := errors.New("no")
	_, err := s.UseInitialToken(ctx, "once", now, func(client.InitialToken) (client.Client, audit.Event, error) {
		return client.Client{}, audit.Event{}, refusal
	})
	wantErr(t, "a refused client", refusal, err) // and the use is not spent
	_, err = s.UseInitialToken(ctx, "once", now.Add(2*time.Hour), nil)
	wantErr(t, "expired", client.ErrNoInitialToken, err) // DR-17
	var n, wins atomic.Int64
	parallel(func() {
		_, err := s.UseInitialToken(ctx, "once", now, func(it client.InitialToken) (client.Client, audit.Event, error) {
			return client.Client{ID: fmt.Sprint("cli_", n.Add(1)), TenantID: it.TenantID, Scopes: it.Scopes, CreatedAt: now}, event("client.register"), nil
		})
		if err == nil {
			wins.Add(1)
		} else if !errors.Is(err, client.ErrNoInitialToken) {
			t.Error(err)
		}
	})
	if of, err := s.Clients(ctx, "acme", 100); wins.Load() != 1 || len(of) != 2 || err != nil {
		t.Errorf("one use, many at once: got %d winners and %d clients %v, want 1 and 2", wins.Load(), len(of), err)
	}
}

// registrations: DR-12, DR-19, and the one client of all who register the same.
func registrations(t *testing.T, open func() Store) {
	s, replica := open(), open()
	populate(t, s)
	const ceiling = 3
	shared := func(id string, at time.Time) client.Client {
		return client.Client{
			ID: id, Name: "Agent", RedirectURIs: []string{"http://127.0.0.1/cb"}, GrantTypes: []string{"authorization_code"}, AuthMethod: "none", SoftwareID: "x",
			Scopes: []string{}, PostLogoutRedirectURIs: []string{}, Origin: client.OriginRegistration, Fingerprint: "f", CreatedAt: at,
		}
	}
	lone := func(id string, at time.Time) client.Client {
		c := shared(id, at)
		c.Fingerprint, c.ManageHash = "", "m"
		return c
	}
	register := func(c client.Client) client.Client {
		t.Helper()
		kept, err := s.Register(ctx, c, ceiling, event("client.register"))
		must(t, err)
		return kept
	}
	same(t, "registering", shared("cli_1", now), register(shared("cli_1", now)), nil)
	same(t, "registering again", shared("cli_1", now.Add(time.Hour)), register(shared("cli_2", now.Add(time.Hour))), nil)
	_, err := s.Client(ctx, "cli_2")
	wantErr(t, "the id that was not needed", client.ErrNotFound, err)
	other := shared("cli_3", now)
	other.Fingerprint = "g"
	same(t, "another one", other, register(other), nil)
	same(t, "one of its own", lone("cli_4", now.Add(time.Second)), register(lone("cli_4", now.Add(time.Second))), nil)

	// There are three. The shared one counts once, goes for nobody when it comes again, and is as old as its last registration.
	register(shared("cli_5", now.Add(2*time.Hour)))
	for _, id := range []string{"cli_1", "cli_3", "cli_4"} {
		if _, err := s.Client(ctx, id); err != nil {
			t.Errorf("%s: got %v, want it there", id, err)
		}
	}
	register(lone("cli_6", now.Add(2*time.Hour))) // for which the oldest goes
	_, err = s.Client(ctx, "cli_3")
	wantErr(t, "the oldest", client.ErrNotFound, err)
	removed, err := s.DeleteExpired(ctx, now.Add(2*time.Hour+time.Minute), 90*24*time.Hour)
	if removed != 1 || err != nil {
		t.Errorf("an hour after: got %d removed %v, want only cli_4", removed, err)
	}

	// A client with a grant goes for nobody.
	for _, id := range []string{"cli_1", "cli_6"} {
		must(t, s.PutCode(ctx, grantOf("g"+id, id), codeOf("g"+id, id), event("grant.create")))
	}
	register(lone("cli_7", now))
	must(t, s.PutCode(ctx, grantOf("g7", "cli_7"), codeOf("g7", "cli_7"), event("grant.create")))
	_, err = s.Register(ctx, lone("cli_8", now), ceiling, event("client.register"))
	wantErr(t, "with all in use", client.ErrFull, err)
	_, err = s.Client(ctx, "cli_8")
	wantErr(t, "what was refused", client.ErrNotFound, err)
	same(t, "a shared one, with all in use", shared("cli_1", now.Add(3*time.Hour)), register(shared("cli_9", now.Add(3*time.Hour))), nil)

	// One that was deleted stays so: the next is another.
	must(t, s.DeleteClient(ctx, "cli_1", now))
	ids, n := make(chan string, crowd), atomic.Int64{}
	parallel(func() {
		i := n.Add(1)
		at := s
		if i%2 == 0 {
			at = replica
		}
		kept, err := at.Register(ctx, shared(fmt.Sprint("cli_new", i), now), 1000, event("client.register"))
		if err != nil {
			t.Error(err)
		}
		ids <- kept.ID
	})
	close(ids)
	first := <-ids
	for id := range ids {
		if id != first {
			t.Errorf("many at once: got %s and %s, want one client", first, id)
		}
	}
	_, err = s.Client(ctx, "cli_1")
	wantErr(t, "the deleted one", client.ErrNotFound, err)
	// Idle ones are forgotten by their last registration.
	must(t, s.PutCode(ctx, grantOf("g10", first), codeOf("g10", first), event("grant.create")))
	must(t, s.EndGrant(ctx, "g10", now, "r", event("grant.end")))
	_, err = s.Register(ctx, shared("cli_11", now.Add(80*24*time.Hour)), 1000, event("client.register"))
	must(t, err)
	_, err = s.DeleteExpired(ctx, now.Add(91*24*time.Hour), 90*24*time.Hour)
	must(t, err)
	if _, err := s.Client(ctx, first); err != nil {
		t.Errorf("registered again eleven days ago: got %v, want it there", err)
	}
	_, err = s.DeleteExpired(ctx, now.Add(171*24*time.Hour), 90*24*time.Hour)
	must(t, err)
	_, err = s.Client(ctx, first)
	wantErr(t, "after its idle time", client.ErrNotFound, err)
}

const crowd = 30

func parallel(do func()) {
	var wg sync.WaitGroup
	for range crowd {
		wg.Go(do)
	}
	wg.Wait()
}

func aGrant(id string) grant.Grant {
	return grant.Grant{ID: id, TenantID: "acme", ClientID: "cli_app", UserID: "usr_ann", Resource: resource, Scopes: []string{"a"}, CreatedAt: now, SignedInAt: now.Add(-time.Hour)}
}

func aCode(id string) issuer.Code {
	return issuer.Code{Hash: "code-" + id, GrantID: id, ClientID: "cli_app", RedirectURI: "https://app.example/cb", Challenge: "ch", Nonce: "n", JKT: "k", CreatedAt: now, ExpiresAt: now.Add(time.Minute)}
}

func aToken(hash, id string) issuer.RefreshToken {
	return issuer.RefreshToken{Hash: hash, GrantID: id, ClientID: "cli_app", JKT: "k", CreatedAt: now, ExpiresAt: now.Add(time.Hour), ChainEnds: now.Add(24 * time.Hour)}
}

func grantOf(id, clientID string) grant.Grant {
	g := aGrant(id)
	g.ClientID = clientID
	return g
}

func codeOf(id, clientID string) issuer.Code {
	c := aCode(id)
	c.ClientID = clientID
	return c
}

// begun makes a grant whose code has been redeemed for the refresh token "rt-ID".
func begun(t *testing.T, s Store, id string) {
	t.Helper()
	must(t, s.PutCode(ctx, aGrant(id), aCode(id), event("grant.create")))
	first := aToken("rt-"+id, id)
	must(t, s.Redeem(ctx, "code-"+id, now, &first, event("token.issue")))
}

func codes(t *testing.T, open func() Store) {
	s := open()
	populate(t, s)
	must(t, s.PutCode(ctx, aGrant("g"), aCode("g"), event("grant.create")))
	s = open()
	c, g, err := s.Code(ctx, "code-g")
	same(t, "code", aCode("g"), c, err)
	same(t, "its grant", aGrant("g"), g, err)
	_, _, err = s.Code(ctx, "code-x")
	wantErr(t, "no code", issuer.ErrNotFound, err)
	first := aToken("rt", "g")
	must(t, s.Redeem(ctx, "code-g", now, &first, event("token.issue")))
	second := aToken("rt2", "g")
	wantErr(t, "a used code", issuer.ErrSpent, s.Redeem(ctx, "code-g", now, &second, event("token.issue"))) // TK-06
	_, _, err = s.RefreshToken(ctx, "rt2")
	wantErr(t, "what a used code would have given", issuer.ErrNotFound, err)
	if c, _, err := s.Code(ctx, "code-g"); err != nil || c.UsedAt != now {
		t.Errorf("a used code: got %+v %v, want it to say when", c, err)
	}
	must(t, s.PutCode(ctx, aGrant("h"), aCode("h"), event("grant.create")))
	must(t, s.EndGrant(ctx, "h", now, "r", event("grant.end")))
	wantErr(t, "a code of an ended grant", issuer.ErrSpent, s.Redeem(ctx, "code-h", now, nil, event("token.issue"))) // TK-09
	if c, _, _ := s.Code(ctx, "code-h"); !c.UsedAt.IsZero() {
		t.Error("a refused redemption left its mark")
	}
	derived := aGrant("d") // of one that has ended
	derived.DerivedFrom = "h"
	wantErr(t, "a grant that comes of an ended one", issuer.ErrSpent, s.PutCode(ctx, derived, aCode("d"), event("grant.create")))
	derived.DerivedFrom = "g"
	must(t, s.PutCode(ctx, derived, aCode("d"), event("grant.create")))
	from, err := s.Grants(ctx, grant.Filter{DerivedFrom: "g", Alive: true})
	same(t, "what came of a grant", []grant.Grant{derived}, from, err)
	byHand, err := s.Grants(ctx, grant.Filter{UserID: "usr_ann", Resource: resource, Alive: true, ByHand: true})
	same(t, "what was made by hand", []grant.Grant{aGrant("g")}, byHand, err)
	broken := aCode("i")
	broken.GrantID = "no such grant"
	if s.PutCode(ctx, aGrant("i"), broken, event("grant.create")) == nil {
		t.Error("a code without its grant: got nil, want an error")
	}
	_, err = s.Grant(ctx, "i")
	wantErr(t, "the grant of a code that could not be kept", grant.ErrNotFound, err) // SF-03: all or nothing
}

func refreshTokens(t *testing.T, open func() Store) {
	s := open()
	populate(t, s)
	begun(t, s, "g")
	must(t, s.Rotate(ctx, "rt-g", now.Add(time.Second), aToken("rt2", "g"), event("token.refresh")))
	s = open() // RT-16: reuse is noticed after a restart
	wantErr(t, "a used token", issuer.ErrSpent, s.Rotate(ctx, "rt-g", now, aToken("rt3", "g"), event("token.refresh")))
	used, g, err := s.RefreshToken(ctx, "rt-g")
	want := aToken("rt-g", "g")
	want.UsedAt = now.Add(time.Second)
	same(t, "a used token", want, used, err)
	same(t, "its grant", aGrant("g"), g, err)
	if s.Rotate(ctx, "rt2", now, aToken("rt2", "g"), event("token.refresh")) == nil { // SF-03: the successor cannot be kept
		t.Error("a successor that is there already: got nil, want an error")
	}
	must(t, s.Rotate(ctx, "rt2", now, aToken("rt3", "g"), event("token.refresh"))) // and the parent still works
	must(t, s.EndGrant(ctx, "g", now, "r", event("grant.end")))
	wantErr(t, "a token of an ended grant", issuer.ErrSpent, s.Rotate(ctx, "rt3", now, aToken("rt4", "g"), event("token.refresh")))
	_, g, err = s.RefreshToken(ctx, "rt3")
	if err != nil || !g.Ended() {
		t.Errorf("an ended grant's token: got %+v %v, want it to say so", g, err)
	}
}

func grants(t *testing.T, open func() Store) {
	s := open()
	populate(t, s)
	begun(t, s, "g1")
	begun(t, s, "g2")
	wantErr(t, "ending nothing", grant.ErrNotFound, s.EndGrant(ctx, "g0", now, "r", event("grant.end")))
	must(t, s.EndGrant(ctx, "g1", now, "first", event("grant.end")))
	must(t, s.EndGrant(ctx, "g1", now.Add(time.Hour), "second", event("grant.end")))
	s = open()
	g, err := s.Grant(ctx, "g1")
	want := aGrant("g1")
	want.EndedAt, want.EndReason = now, "first"
	same(t, "an ended grant", want, g, err)
	events, err := s.Events(ctx, audit.Filter{})
	ends := 0
	for _, e := range events {
		if e.Action == "grant.end" {
			ends++
		}
	}
	if ends != 1 || err != nil {
		t.Errorf("audit lines of one end: got %d %v, want 1", ends, err)
	}
	alive, err := s.Grants(ctx, grant.Filter{UserID: "usr_ann", Alive: true})
	same(t, "living grants", []grant.Grant{aGrant("g2")}, alive, err)
	all, err := s.Grants(ctx, grant.Filter{TenantID: "acme", ClientID: "cli_app"})
	if len(all) != 2 || err != nil {
		t.Errorf("all grants: got %d %v, want 2", len(all), err)
	}
	since, err := s.EndedSince(ctx, now)
	same(t, "ended since", map[string]time.Time{"g1": now}, since, err)
	since, err = s.EndedSince(ctx, now.Add(time.Second))
	same(t, "ended since later", map[string]time.Time{}, since, err)
}

func machineGrants(t *testing.T, open func() Store) {
	s := open()
	populate(t, s)
	_, err := s.MachineGrant(ctx, "cli_machine", resource)
	wantErr(t, "none yet", grant.ErrNotFound, err)
	var n atomic.Int64
	ids := make(chan string, crowd)
	parallel(func() {
		g, err := s.PutMachineGrant(ctx, grant.Grant{ID: fmt.Sprint("m", n.Add(1)), TenantID: "acme", ClientID: "cli_machine", Resource: resource, Scopes: []string{"a"}, CreatedAt: now}, event("grant.create"))
		if err != nil {
			t.Error(err)
		}
		ids <- g.ID
	})
	close(ids)
	living, err := s.MachineGrant(ctx, "cli_machine", resource)
	must(t, err)
	for id := range ids {
		if id != living.ID {
			t.Errorf("one of many at once got %s, want the one grant %s", id, living.ID)
		}
	}
	must(t, s.EndGrant(ctx, living.ID, now, grant.ReasonClient, event("grant.end")))
	_, err = s.MachineGrant(ctx, "cli_machine", resource)
	wantErr(t, "after the client itself ended it", grant.ErrNotFound, err)
	next := grant.Grant{ID: "next", TenantID: "acme", ClientID: "cli_machine", Resource: resource, Scopes: []string{"a"}, CreatedAt: now}
	_, err = s.PutMachineGrant(ctx, next, event("grant.create"))
	must(t, err)
	must(t, s.EndGrant(ctx, "next", now, "by the operator", event("grant.end")))
	if g, err := s.MachineGrant(ctx, "cli_machine", resource); err != nil || !g.Ended() || g.ID != "next" {
		t.Errorf("after the operator ended it: got %+v %v, want it to say so", g, err)
	}
}

func keys(t *testing.T, open func() Store) {
	s := open()
	key := func(kid string, generation int) keyring.Sealed {
		return keyring.Sealed{KID: kid, Algorithm: "ES256", Generation: generation, Private: []byte{0, 1, 0xff}, Under: "a", CreatedAt: now, ActiveAt: now}
	}
	var n, wins atomic.Int64
	parallel(func() { // FT-20
		made, err := s.PutKey(ctx, key(fmt.Sprint("k", n.Add(1)), 1), event("key.create"))
		if err != nil {
			t.Error(err)
		}
		if made {
			wins.Add(1)
		}
	})
	got, err := open().Keys(ctx)
	if wins.Load() != 1 || len(got) != 1 || err != nil {
		t.Fatalf("one generation, many at once: got %d winners, %d keys %v; want 1, 1", wins.Load(), len(got), err)
	}
	same(t, "key", key(got[0].KID, 1), got[0], nil)
	made, err := s.PutKey(ctx, key("next", int(now.Unix())), event("key.create"))
	if !made || err != nil {
		t.Errorf("the next generation: got %v %v, want it kept", made, err)
	}
	wantErr(t, "the key that signs", keyring.ErrSigns, s.WithdrawKey(ctx, "next", now, event("key.withdraw")))
	later := key("later", int(now.Unix())+1)
	later.ActiveAt = now.Add(time.Minute)
	_, err = s.PutKey(ctx, later, event("key.create"))
	must(t, err)
	wantErr(t, "while its successor does not sign yet", keyring.ErrSigns, s.WithdrawKey(ctx, "next", now, event("key.withdraw")))
	must(t, s.WithdrawKey(ctx, "next", now.Add(time.Minute), event("key.withdraw")))
	wantErr(t, "withdrawing twice", keyring.ErrNotFound, s.WithdrawKey(ctx, "next", now.Add(time.Hour), event("key.withdraw")))
	wantErr(t, "nobody", keyring.ErrNotFound, s.WithdrawKey(ctx, "nobody", now, event("key.withdraw")))
	left, err := s.Keys(ctx)
	must(t, err)
	if len(left) != 3 || left[1].KID != "next" || !left[1].Withdrawn.Equal(now.Add(time.Minute)) || len(left[1].Private) != 0 || len(left[0].Private) == 0 {
		t.Errorf("after a withdrawal: got %+v, want the withdrawn one without its private part", left)
	}
}

func sealedRows(t *testing.T, open func() Store) {
	s := open()
	_, err := s.Secret(ctx, "root")
	wantErr(t, "no secret", keyring.ErrNotFound, err)
	secret := func(b byte) keyring.Secret {
		return keyring.Secret{Name: "root", Sealed: []byte{b}, Under: "a", CreatedAt: now}
	}
	must(t, s.PutSecret(ctx, secret(1)))
	must(t, s.PutSecret(ctx, secret(2)))
	got, err := open().Secret(ctx, "root")
	same(t, "the first secret", secret(1), got, err)
	for i, kid := range []string{"k1", "k2"} {
		k := keyring.Sealed{KID: kid, Algorithm: "ES256", Generation: i + 1, Private: []byte(kid), Under: "a", CreatedAt: now, ActiveAt: now}
		_, err := s.PutKey(ctx, k, event("key.create"))
		must(t, err)
	}
	must(t, s.WithdrawKey(ctx, "k1", now, event("key.withdraw")))
	k2, root := keyring.Resealing{KID: "k2", Old: []byte("k2"), New: []byte("new")}, keyring.Resealing{Name: "root", Old: []byte{1}, New: []byte{9}}
	stale := k2
	stale.Old = []byte("before")
	for name, rows := range map[string][]keyring.Resealing{
		"one left behind": {k2}, "the secret left behind": {root}, "a row that has changed": {root, stale}, "a withdrawn key": {root, k2, {KID: "k1", Old: []byte{}, New: []byte{1}}},
	} {
		wantErr(t, name, keyring.ErrChanged, s.Reseal(ctx, "b", rows, event("key.reseal")))
	}
	lines := func() (n int) {
		events, err := s.Events(ctx, audit.Filter{Limit: 100})
		must(t, err)
		for _, e := range events {
			if e.Action == "key.reseal" {
				n++
			}
		}
		return n
	}
	if got, err := s.Secret(ctx, "root"); err != nil || got.Under != "a" || lines() != 0 {
		t.Errorf("refused, and yet the secret is %+v %v, with %d lines", got, err, lines())
	}
	must(t, s.Reseal(ctx, "b", []keyring.Resealing{root, k2}, event("key.reseal")))
	keys, err := open().Keys(ctx)
	must(t, err)
	if got, err := open().Secret(ctx, "root"); err != nil || got.Under != "b" || got.Sealed[0] != 9 || keys[1].Under != "b" || string(keys[1].Private) != "new" || lines() != 1 {
		t.Errorf("sealed anew: got %+v %+v %v, with %d lines", got, keys[1], err, lines())
	}
}

// oneWinner: RT-03, TK-07. Of many at once exactly one spends.
func oneWinner(t *testing.T, open func() Store) {
	s, replica := open(), open()
	populate(t, s)
	begun(t, s, "g")
	must(t, s.PutCode(ctx, aGrant("h"), aCode("h"), event("grant.create")))
	var n, rotated, redeemed atomic.Int64
	count := func(err error, wins *atomic.Int64) {
		if err == nil {
			wins.Add(1)
		} else if !errors.Is(err, issuer.ErrSpent) {
			t.Errorf("a loser: got %v, want ErrSpent", err)
		}
	}
	parallel(func() {
		i := n.Add(1)
		at := s
		if i%2 == 0 {
			at = replica
		}
		count(at.Rotate(ctx, "rt-g", now, aToken(fmt.Sprint("child", i), "g"), event("token.refresh")), &rotated)
		first := aToken(fmt.Sprint("first", i), "h")
		count(at.Redeem(ctx, "code-h", now, &first, event("token.issue")), &redeemed)
	})
	if rotated.Load() != 1 || redeemed.Load() != 1 {
		t.Errorf("got %d rotations and %d redemptions, want 1 and 1", rotated.Load(), redeemed.Load())
	}
}

// endingRacesRotating: RT-14. Once EndGrant has returned, nothing of the grant rotates, whatever was under way.
func endingRacesRotating(t *testing.T, open func() Store) {
	s, replica := open(), open()
	populate(t, s)
	for round := range 8 {
		id := fmt.Sprint("g", round)
		begun(t, s, id)
		done := make(chan error)
		go func() {
			leaf := "rt-" + id
			for i := 0; ; i++ {
				next := fmt.Sprint(leaf, ".", i)
				if err := replica.Rotate(ctx, leaf, now, aToken(next, id), event("token.refresh")); err != nil {
					done <- err
					return
				}
				leaf = next
			}
		}()
		must(t, s.EndGrant(ctx, id, now, "r", event("grant.end")))
		wantErr(t, "the rotation that met the end", issuer.ErrSpent, <-done)
	}
}

func cleanUp(t *testing.T, open func() Store) {
	s := open()
	populate(t, s)
	begun(t, s, "g")
	must(t, s.Rotate(ctx, "rt-g", now, aToken("rt2", "g"), event("token.refresh")))
	must(t, s.PutCode(ctx, aGrant("h"), aCode("h"), event("grant.create")))
	removed, err := s.DeleteExpired(ctx, now.Add(23*time.Hour), 90*24*time.Hour)
	if removed != 1 || err != nil {
		t.Errorf("an hour before the chain ends: got %d removed %v, want only the code that gave nothing", removed, err)
	}
	if _, _, err := s.RefreshToken(ctx, "rt-g"); err != nil {
		t.Errorf("a used token of a living chain: got %v, want it kept: its reuse must be noticed (RT-16)", err)
	}
	if removed, err = s.DeleteExpired(ctx, now.Add(25*time.Hour), 90*24*time.Hour); removed != 5 || err != nil {
		t.Errorf("after the chain's end: got %d removed %v, want two tokens and a code, and two grants ended", removed, err)
	}
	for _, id := range []string{"g", "h"} {
		if g, err := s.Grant(ctx, id); err != nil || g.EndReason != grant.ReasonExpired {
			t.Errorf("grant %s, from which nothing hangs: got %+v %v, want it ended", id, g, err)
		}
	}
	begun(t, s, "later")
	if removed, err = s.DeleteExpired(ctx, now.Add(30*time.Minute), 90*24*time.Hour); removed != 0 || err != nil {
		t.Errorf("a grant whose refresh token lives: got %d removed %v, want none", removed, err)
	}
}
