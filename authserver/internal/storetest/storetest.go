// Package storetest is the test suite that every store of the authorization server must pass.
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

	attempt1 "github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/job"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/trustedissuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
)

// Store is all that a store must implement.
type Store interface {
	tenant.Store
	user.Store
	client.Store
	grant.Store
	issuer.Store
	issuer.ResourceStore
	keyring.Store
	trustedissuer.Store
	attempt1.Store
	job.Store
	Jobs(job.Keeping) []job.Job
	audit.Log
	RecordAll(ctx context.Context, events []audit.Event) error
	Events(ctx context.Context, f audit.Filter) ([]audit.Record, error)
	Audit() *chain.Chain
}

// Run tests a store. open opens the same migrated, empty database each time it is called within one
// part, so that a part can see what another process would see.
func Run(t *testing.T, begin func(t *testing.T) (open func() Store)) {
	for name, part := range map[string]func(*testing.T, func() Store){
		"nouns": nouns, "initial tokens": initialTokens, "registrations": registrations, "codes": codes,
		"refresh tokens": refreshTokens, "grants": grants, "machine grants": machineGrants,
		"resources": resources, "keys": keys, "sealed rows": sealedRows, "trusted issuers": trustedIssuers,
		"who may what": whoMayWhat, "deleted users": deletedUsers, "roles": roles, "many at once": manyAtOnce,
		"lock-outs": lockouts, "lock-outs at once": lockoutsAtOnce, "assertions": assertions, "one winner": oneWinner,
		"ending races rotating": endingRacesRotating, "clean-up": cleanUp, "lists by the page": listsByThePage,
		"audit": auditLines, "audit chain": auditChain, "audit writers at once": auditWriters,
		"audit tampered with": auditTampered, "audit at random": auditAtRandom,
		"audit written anew": auditWrittenAnew, "audit retention": auditRetention,
		"jobs": jobs, "jobs and clocks": jobsClock, "jobs that go on": jobsGoOn,
		"withdrawn while sealed anew": withdrawnWhileSealed, "whose job it is": whoseJob, "jobs at once": jobsAtOnce,
		"a backlog": backlog, "one second younger": oneSecondYounger, "keys that are past": pastKeys,
		"connections": connections, "connections of many replicas": connectionsOfMany,
		"merging connections": mergingConnections,
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
	return audit.Event{Time: now, Actor: "user:usr_ann", Action: action, Target: "x", Tenant: "acme", Client: "cli_app",
		Grant: "g", Outcome: audit.OK, Detail: "d"}
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
	must(t, s.CreateTenant(ctx,
		tenant.Tenant{ID: "acme", Name: "Acme", Policy: tenant.Policy{Scopes: []string{"a", "b"}}, CreatedAt: now}))
	must(t, s.CreateUser(ctx, user.User{ID: "usr_ann", Email: "ann@acme.example", Name: "Ann", PasswordHash: "h",
		CreatedAt: now}))
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "member", Scopes: []string{"a"}}))
	must(t, s.PutMember(ctx, "acme", "usr_ann", "member"))
	must(t, s.CreateClient(ctx,
		client.Client{ID: "cli_app", Name: "App", RedirectURIs: []string{"https://app.example/cb"},
			GrantTypes: []string{"authorization_code"}, AuthMethod: "none", CreatedAt: now}))
	must(t, s.CreateClient(ctx, client.Client{ID: "cli_machine", TenantID: "acme",
		GrantTypes: []string{"client_credentials"}, AuthMethod: "client_secret_basic", SecretHash: "h",
		Scopes: []string{"a"}, CreatedAt: now}))
}

func nouns(t *testing.T, open func() Store) {
	s := open()
	populate(t, s)
	s = open()
	wantErr(t, "a tenant twice", tenant.ErrExists, s.CreateTenant(ctx, tenant.Tenant{ID: "acme", CreatedAt: now}))
	got, err := s.Tenant(ctx, "acme")
	same(t, "tenant",
		tenant.Tenant{ID: "acme", Name: "Acme", Policy: tenant.Policy{Scopes: []string{"a", "b"}, Clients: []string{},
			Registrations: []string{}}, CreatedAt: now}, got, err)
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
	wantErr(t, "an address twice", user.ErrExists,
		s.CreateUser(ctx, user.User{ID: "usr_2", Email: "ann@acme.example", CreatedAt: now}))
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "member", Scopes: []string{"a", "b"}}))
	m, err := s.Memberships(ctx, "usr_ann")
	same(t, "memberships",
		[]user.Membership{{TenantID: "acme", TenantName: "Acme", Role: "member", Scopes: []string{"a", "b"}}}, m, err)
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "member", Scopes: []string{"a"}, Admin: true}))
	m, err = open().Memberships(ctx, "usr_ann")
	same(t, "an admin",
		[]user.Membership{{TenantID: "acme", TenantName: "Acme", Role: "member", Scopes: []string{"a"}, Admin: true}},
		m, err)
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "deputy", Admin: true}))
	must(t, s.CreateUser(ctx, user.User{ID: "usr_dora", Email: "dora@acme.example", CreatedAt: now}))
	must(t, s.PutMember(ctx, "acme", "usr_dora", "deputy"))
	must(t, s.PutRole(ctx, user.Role{TenantID: "acme", Name: "member", Scopes: []string{"a"}}))
	m, err = open().Memberships(ctx, "usr_ann")
	same(t, "and no longer",
		[]user.Membership{{TenantID: "acme", TenantName: "Acme", Role: "member", Scopes: []string{"a"}}}, m, err)
	must(t, s.CreateUser(ctx, user.User{ID: "usr_off", Email: "off@acme.example", Disabled: true, CreatedAt: now}))
	must(t, s.PutMember(ctx, "acme", "usr_off", "member"))
	m, err = s.Memberships(ctx, "usr_off")
	same(t, "memberships of a disabled user", []user.Membership{}, m, err)
	wantErr(t, "a member of a role that is not there", user.ErrNotFound,
		s.PutMember(ctx, "acme", "usr_ann", "no such role"))

	_, err = s.Client(ctx, "cli_none")
	wantErr(t, "no client", client.ErrNotFound, err)
	c, err := s.Client(ctx, "cli_app")
	same(t, "client", client.Client{ID: "cli_app", Name: "App", RedirectURIs: []string{"https://app.example/cb"},
		GrantTypes: []string{"authorization_code"}, AuthMethod: "none", Scopes: []string{},
		PostLogoutRedirectURIs: []string{}, CreatedAt: now}, c, err)
	of, err := s.Clients(ctx, client.Filter{TenantID: "acme", Limit: 10})
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
	must(t, s.CreateInitialToken(ctx, client.InitialToken{Hash: "once", TenantID: "acme", Scopes: []string{"a"},
		ExpiresAt: now.Add(time.Hour), Uses: 1, CreatedAt: now}))
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
			return client.Client{ID: fmt.Sprint("cli_", n.Add(1)), TenantID: it.TenantID, Scopes: it.Scopes,
				CreatedAt: now}, event("client.register"), nil
		})
		if err == nil {
			wins.Add(1)
		} else if !errors.Is(err, client.ErrNoInitialToken) {
			t.Error(err)
		}
	})
	if of, err := s.Clients(ctx, client.Filter{TenantID: "acme", Limit: 100}); wins.Load() != 1 || len(of) != 2 ||
		err != nil {
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
			ID: id, Name: "Agent", RedirectURIs: []string{"http://127.0.0.1/cb"},
			GrantTypes: []string{"authorization_code"}, AuthMethod: "none", SoftwareID: "x",
			Scopes: []string{}, PostLogoutRedirectURIs: []string{}, Origin: client.OriginRegistration, Fingerprint: "f",
			CreatedAt: at,
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
	same(t, "registering again", shared("cli_1", now.Add(time.Hour)),
		register(shared("cli_2", now.Add(time.Hour))), nil)
	_, err := s.Client(ctx, "cli_2")
	wantErr(t, "the id that was not needed", client.ErrNotFound, err)
	other := shared("cli_3", now)
	other.Fingerprint = "g"
	same(t, "another one", other, register(other), nil)
	same(t, "one of its own", lone("cli_4", now.Add(time.Second)), register(lone("cli_4", now.Add(time.Second))), nil)

	// There are three. The shared one counts once, goes for nobody when it comes again, and is as
	// old as its last registration.
	register(shared("cli_5", now.Add(2*time.Hour)))
	for _, id := range []string{"cli_1", "cli_3", "cli_4"} {
		if _, err := s.Client(ctx, id); err != nil {
			t.Errorf("%s: got %v, want it there", id, err)
		}
	}
	register(lone("cli_6", now.Add(2*time.Hour))) // for which the oldest goes
	_, err = s.Client(ctx, "cli_3")
	wantErr(t, "the oldest", client.ErrNotFound, err)
	if removed := clean(t, s, now.Add(2*time.Hour+time.Minute)); removed != 1 {
		t.Errorf("an hour after: got %d removed, want only cli_4", removed)
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
	same(t, "a shared one, with all in use", shared("cli_1", now.Add(3*time.Hour)),
		register(shared("cli_9", now.Add(3*time.Hour))), nil)

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
	must(t, s.RevokeGrant(ctx, "g10", now, "r", event("grant.revoke")))
	_, err = s.Register(ctx, shared("cli_11", now.Add(80*24*time.Hour)), 1000, event("client.register"))
	must(t, err)
	clean(t, s, now.Add(91*24*time.Hour))
	if _, err := s.Client(ctx, first); err != nil {
		t.Errorf("registered again eleven days ago: got %v, want it there", err)
	}
	clean(t, s, now.Add(171*24*time.Hour))
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
	return grant.Grant{ID: id, TenantID: "acme", ClientID: "cli_app", UserID: "usr_ann", Resource: resource,
		Scopes: []string{"a"}, CreatedAt: now, SignedInAt: now.Add(-time.Hour)}
}

func grantOf(id, clientID string) grant.Grant {
	g := aGrant(id)
	g.ClientID = clientID
	return g
}

func grants(t *testing.T, open func() Store) {
	s := open()
	populate(t, s)
	begun(t, s, "g1")
	begun(t, s, "g2")
	wantErr(t, "ending nothing", grant.ErrNotFound, s.RevokeGrant(ctx, "g0", now, "r", event("grant.revoke")))
	must(t, s.RevokeGrant(ctx, "g1", now, "first", event("grant.revoke")))
	must(t, s.RevokeGrant(ctx, "g1", now.Add(time.Hour), "second", event("grant.revoke")))
	s = open()
	g, err := s.Grant(ctx, "g1")
	want := aGrant("g1")
	want.RevokedAt, want.RevokeReason = now, "first"
	same(t, "an ended grant", want, g, err)
	events, err := s.Events(ctx, audit.Filter{})
	ends := 0
	for _, e := range events {
		if e.Action == "grant.revoke" {
			ends++
		}
	}
	if ends != 1 || err != nil {
		t.Errorf("audit lines of one end: got %d %v, want 1", ends, err)
	}
	alive, err := s.Grants(ctx, grant.Filter{UserID: "usr_ann", Active: true})
	same(t, "living grants", []grant.Grant{aGrant("g2")}, alive, err)
	all, err := s.Grants(ctx, grant.Filter{TenantID: "acme", ClientID: "cli_app"})
	if len(all) != 2 || err != nil {
		t.Errorf("all grants: got %d %v, want 2", len(all), err)
	}
	since, err := s.RevokedSince(ctx, now)
	same(t, "ended since", map[string]time.Time{"g1": now}, since, err)
	since, err = s.RevokedSince(ctx, now.Add(time.Second))
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
		g, err := s.PutMachineGrant(ctx, grant.Grant{ID: fmt.Sprint("m", n.Add(1)), TenantID: "acme",
			ClientID: "cli_machine", Resource: resource, Scopes: []string{"a"}, CreatedAt: now}, event("grant.create"))
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
	must(t, s.RevokeGrant(ctx, living.ID, now, grant.ReasonClient, event("grant.revoke")))
	_, err = s.MachineGrant(ctx, "cli_machine", resource)
	wantErr(t, "after the client itself ended it", grant.ErrNotFound, err)
	next := grant.Grant{ID: "next", TenantID: "acme", ClientID: "cli_machine", Resource: resource,
		Scopes: []string{"a"}, CreatedAt: now}
	_, err = s.PutMachineGrant(ctx, next, event("grant.create"))
	must(t, err)
	must(t, s.RevokeGrant(ctx, "next", now, "by the operator", event("grant.revoke")))
	if g, err := s.MachineGrant(ctx, "cli_machine", resource); err != nil || !g.Revoked() || g.ID != "next" {
		t.Errorf("after the operator ended it: got %+v %v, want it to say so", g, err)
	}
}
