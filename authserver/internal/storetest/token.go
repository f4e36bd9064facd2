package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
)

func aToken(hash, id string) issuer.RefreshToken {
	return issuer.RefreshToken{Hash: hash, GrantID: id, ClientID: "cli_app", JKT: "k", CreatedAt: now,
		ExpiresAt: now.Add(time.Hour), ChainEnds: now.Add(24 * time.Hour)}
}

func aCode(id string) issuer.Code {
	return issuer.Code{Hash: "code-" + id, GrantID: id, ClientID: "cli_app", RedirectURI: "https://app.example/cb",
		Challenge: "ch", Nonce: "n", JKT: "k", CreatedAt: now, ExpiresAt: now.Add(time.Minute)}
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
	must(t, s.RevokeGrant(ctx, "h", now, "r", event("grant.revoke")))
	// TK-09
	wantErr(t, "a code of an ended grant", issuer.ErrSpent, s.Redeem(ctx, "code-h", now, nil, event("token.issue")))
	if c, _, _ := s.Code(ctx, "code-h"); !c.UsedAt.IsZero() {
		t.Error("a refused redemption left its mark")
	}
	derived := aGrant("d") // of one that has ended
	derived.DerivedFrom = "h"
	wantErr(t, "a grant that comes of an ended one", issuer.ErrSpent,
		s.PutCode(ctx, derived, aCode("d"), event("grant.create")))
	derived.DerivedFrom = "g"
	must(t, s.PutCode(ctx, derived, aCode("d"), event("grant.create")))
	from, err := s.Grants(ctx, grant.Filter{DerivedFrom: "g", Active: true})
	same(t, "the result of a grant", []grant.Grant{derived}, from, err)
	byHand, err := s.Grants(ctx, grant.Filter{UserID: "usr_ann", Resource: resource, Active: true, Consented: true})
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
	if s.Rotate(ctx, "rt2", now, aToken("rt2", "g"), event("token.refresh")) == nil {
		// SF-03: the successor cannot be kept
		t.Error("a successor that is there already: got nil, want an error")
	}
	must(t, s.Rotate(ctx, "rt2", now, aToken("rt3", "g"), event("token.refresh"))) // and the parent still works
	must(t, s.RevokeGrant(ctx, "g", now, "r", event("grant.revoke")))
	wantErr(t, "a token of an ended grant", issuer.ErrSpent,
		s.Rotate(ctx, "rt3", now, aToken("rt4", "g"), event("token.refresh")))
	_, g, err = s.RefreshToken(ctx, "rt3")
	if err != nil || !g.Revoked() {
		t.Errorf("an ended grant's token: got %+v %v, want it to say so", g, err)
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

// endingRacesRotating: RT-14. Once RevokeGrant has returned, nothing of the grant rotates, whatever
// was under way.
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
		must(t, s.RevokeGrant(ctx, id, now, "r", event("grant.revoke")))
		wantErr(t, "the rotation that met the end", issuer.ErrSpent, <-done)
	}
}

func cleanUp(t *testing.T, open func() Store) {
	s := open()
	populate(t, s)
	begun(t, s, "g")
	must(t, s.Rotate(ctx, "rt-g", now, aToken("rt2", "g"), event("token.refresh")))
	must(t, s.PutCode(ctx, aGrant("h"), aCode("h"), event("grant.create")))
	if removed := clean(t, s, now.Add(23*time.Hour)); removed != 1 {
		t.Errorf("an hour before the chain ends: got %d removed, want only the code that gave nothing", removed)
	}
	if _, _, err := s.RefreshToken(ctx, "rt-g"); err != nil {
		t.Errorf("a used token of a living chain: got %v, want it kept: its reuse must be noticed (RT-16)", err)
	}
	if removed := clean(t, s, now.Add(25*time.Hour)); removed != 5 {
		t.Errorf("after the chain's end: got %d removed, want two tokens and a code, and two grants ended", removed)
	}
	for _, id := range []string{"g", "h"} {
		if g, err := s.Grant(ctx, id); err != nil || g.RevokeReason != grant.ReasonExpired {
			t.Errorf("grant %s, from which nothing hangs: got %+v %v, want it ended", id, g, err)
		}
	}
	begun(t, s, "later")
	if removed := clean(t, s, now.Add(30*time.Minute)); removed != 0 {
		t.Errorf("a grant whose refresh token is valid: got %d removed, want none", removed)
	}
}
