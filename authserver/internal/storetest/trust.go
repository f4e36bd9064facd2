package storetest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/trustedissuer"
)

const idp = "https://idp.acme.example"

func trustedIssuers(t *testing.T, open func() Store) {
	s := open()
	populate(t, s)
	must(t, s.CreateTenant(ctx, tenant.Tenant{ID: "globex", CreatedAt: now}))
	want := trustedissuer.Issuer{Issuer: idp, TenantID: "acme", JWKSURI: "https://idp.acme.example/keys",
		CreatedAt: now}
	must(t, s.PutIssuer(ctx, want))
	wantErr(t, "one for two tenants", trustedissuer.ErrTaken,
		s.PutIssuer(ctx, trustedissuer.Issuer{Issuer: idp, TenantID: "globex", CreatedAt: now}))
	got, err := s.Issuer(ctx, idp)
	same(t, "issuer", want, got, err)
	want.JWKSURI, want.JWKS = "", "{}"
	must(t, s.PutIssuer(ctx, want))
	all, err := s.Issuers(ctx, "acme")
	same(t, "issuers", []trustedissuer.Issuer{want}, all, err)
	all, err = s.Issuers(ctx, "globex")
	same(t, "another tenant's issuers", []trustedissuer.Issuer{}, all, err)
	_, err = s.Issuer(ctx, idp+"/")
	wantErr(t, "a near miss", trustedissuer.ErrNotFound, err)
	_, err = s.Subject(ctx, idp, "s")
	wantErr(t, "nobody yet", trustedissuer.ErrNotFound, err)
	_, err = s.Assert(ctx, anAssertion("1"), assertedGrant("g"), event("grant.create"))
	must(t, err)
	elsewhere := assertedGrant("e")
	elsewhere.TenantID = "globex"
	_, err = s.Assert(ctx, anAssertion("e"), elsewhere, event("grant.create"))
	wantErr(t, "an assertion for a tenant that does not trust the issuer", trustedissuer.ErrNotFound, err)
	another := anAssertion("another")
	another.Subject = "s2"
	_, err = s.Assert(ctx, another, assertedGrant("a"), event("grant.create"))
	wantErr(t, "a second subject for one person", trustedissuer.ErrNotFound, err)
	userID, err := s.Subject(ctx, idp, "s")
	same(t, "subject", "usr_ann", userID, err)
	must(t, s.DeleteIssuer(ctx, idp))
	wantErr(t, "forgetting twice", trustedissuer.ErrNotFound, s.DeleteIssuer(ctx, idp))
	_, err = s.Subject(ctx, idp, "s")
	wantErr(t, "a forgotten issuer's subject", trustedissuer.ErrNotFound, err)
	_, err = s.Assert(ctx, anAssertion("2"), assertedGrant("h"), event("grant.create"))
	wantErr(t, "an assertion of an issuer that is trusted no more", trustedissuer.ErrNotFound, err)
}

func anAssertion(id string) trustedissuer.Assertion {
	return trustedissuer.Assertion{Issuer: idp, Subject: "s", Hash: id, IssuedAt: now,
		ExpiresAt: now.Add(5 * time.Minute)}
}

func assertedGrant(id string) grant.Grant {
	g := aGrant(id)
	g.SignedInAt, g.AssertedBy, g.AssertedAt = time.Time{}, idp, now
	return g
}

// assertions: EMA-06. One counts once, and many at once make one grant.
func assertions(t *testing.T, open func() Store) {
	s, replica := open(), open()
	populate(t, s)
	must(t, s.PutIssuer(ctx, trustedissuer.Issuer{Issuer: idp, TenantID: "acme", JWKS: "{}", CreatedAt: now}))
	var n, once atomic.Int64
	ids := make(chan string, crowd)
	parallel(func() {
		i := n.Add(1)
		at := s
		if i%2 == 0 {
			at = replica
		}
		g, err := at.Assert(ctx, anAssertion(fmt.Sprint("own", i)), assertedGrant(fmt.Sprint("g", i)),
			event("grant.create"))
		if err != nil {
			t.Error(err)
		}
		ids <- g.ID
		if _, err := at.Assert(ctx, anAssertion("shared"), assertedGrant(fmt.Sprint("h", i)),
			event("grant.create")); err == nil {
			once.Add(1)
		} else {
			wantErr(t, "an assertion again", trustedissuer.ErrUsed, err)
		}
	})
	close(ids)
	first := <-ids
	for id := range ids {
		if id != first {
			t.Errorf("one of many at once got %s, want the one grant %s", id, first)
		}
	}
	if once.Load() != 1 {
		t.Errorf("one assertion counted %d times, want once", once.Load())
	}
	wider := assertedGrant("w")
	wider.Scopes = []string{"a", "b"}
	got, err := s.Assert(ctx, anAssertion("wider"), wider, event("grant.create"))
	want := wider
	want.ID = first
	same(t, "renewed", want, got, err)
	kept, err := s.Grant(ctx, first)
	same(t, "renewed, as it is kept", want, kept, err)
	of, err := s.Grants(ctx, grant.Filter{AssertedBy: idp, Active: true})
	same(t, "of this issuer", []grant.Grant{want}, of, err)

	later := now.Add(time.Hour)
	must(t, s.RevokeGrant(ctx, first, later, "by the person", event("grant.revoke")))
	_, err = s.Assert(ctx, anAssertion("before the end"), assertedGrant("x"), event("grant.create"))
	wantErr(t, "an assertion of before the end", trustedissuer.ErrEnded, err)
	must(t, s.SetDisabled(ctx, "usr_ann", true)) // between the check and here
	shut := anAssertion("shut out")
	shut.IssuedAt = later.Add(time.Second)
	_, err = s.Assert(ctx, shut, assertedGrant("s"), event("grant.create"))
	wantErr(t, "for somebody who was shut out just now", trustedissuer.ErrNotFound, err)
	must(t, s.SetDisabled(ctx, "usr_ann", false))
	young := anAssertion("before the end") // what was refused is not used up
	young.IssuedAt = later.Add(time.Second)
	if g, err := s.Assert(ctx, young, assertedGrant("y"), event("grant.create")); err != nil || g.ID != "y" {
		t.Errorf("an assertion of after the end: got %+v %v, want a new grant", g, err)
	}
	clean(t, s, now.Add(time.Hour))
	again := anAssertion("shared")
	again.IssuedAt = later.Add(time.Second)
	if _, err := s.Assert(ctx, again, assertedGrant("z"), event("grant.create")); err != nil {
		t.Errorf("long after it was over, its id is free: got %v", err)
	}
	clean(t, s, now.Add(25*time.Hour))
	if g, err := s.Grant(ctx, "y"); err != nil || g.RevokeReason != grant.ReasonExpired {
		t.Errorf("a day after the last assertion: got %+v %v, want the grant over", g, err)
	}
}
