package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

func keys(t *testing.T, open func() Store) {
	s := open()
	key := func(kid string, generation int) keyring.Sealed {
		return keyring.Sealed{KID: kid, Algorithm: "ES256", Generation: generation, Private: []byte{0, 1, 0xff},
			Under: "a", CreatedAt: now, ActiveAt: now}
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
	wantErr(t, "while its successor does not sign yet", keyring.ErrSigns,
		s.WithdrawKey(ctx, "next", now, event("key.withdraw")))
	must(t, s.WithdrawKey(ctx, "next", now.Add(time.Minute), event("key.withdraw")))
	wantErr(t, "withdrawing twice", keyring.ErrNotFound,
		s.WithdrawKey(ctx, "next", now.Add(time.Hour), event("key.withdraw")))
	wantErr(t, "nobody", keyring.ErrNotFound, s.WithdrawKey(ctx, "nobody", now, event("key.withdraw")))
	left, err := s.Keys(ctx)
	must(t, err)
	if len(left) != 3 || left[1].KID != "next" || !left[1].Withdrawn.Equal(now.Add(time.Minute)) ||
		len(left[1].Private) != 0 || len(left[0].Private) == 0 {
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
		k := keyring.Sealed{KID: kid, Algorithm: "ES256", Generation: i + 1, Private: []byte(kid), Under: "a",
			CreatedAt: now, ActiveAt: now}
		_, err := s.PutKey(ctx, k, event("key.create"))
		must(t, err)
	}
	must(t, s.WithdrawKey(ctx, "k1", now, event("key.withdraw")))
	k2, root := keyring.Resealing{KID: "k2", Old: []byte("k2"), New: []byte("new")},
		keyring.Resealing{Name: "root", Old: []byte{1}, New: []byte{9}}
	stale := k2
	stale.Old = []byte("before")
	for name, rows := range map[string][]keyring.Resealing{
		"one left behind": {k2}, "the secret left behind": {root}, "a row that has changed": {root, stale},
		"a withdrawn key": {root, k2, {KID: "k1", Old: []byte{}, New: []byte{1}}},
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
	if got, err := open().Secret(ctx, "root"); err != nil || got.Under != "b" || got.Sealed[0] != 9 ||
		keys[1].Under != "b" || string(keys[1].Private) != "new" || lines() != 1 {
		t.Errorf("sealed anew: got %+v %+v %v, with %d lines", got, keys[1], err, lines())
	}
	// A replica that has not heard of it creates a key: nothing may be sealed under the previous
	// one again.
	late := keyring.Sealed{KID: "k3", Algorithm: "ES256", Generation: 3, Private: []byte("k3"), Under: "a",
		CreatedAt: now, ActiveAt: now}
	_, err = s.PutKey(ctx, late, event("key.create"))
	wantErr(t, "a key under the sealing key of before", keyring.ErrChanged, err)
	late.Under = "b"
	made, err := s.PutKey(ctx, late, event("key.create"))
	if !made || err != nil {
		t.Errorf("a key under the one of now: got %v %v", made, err)
	}
}

// pastKeys: KY. A key goes when another took its place long ago; never the one that signs, never a
// name that was withdrawn, and never without a line.
func pastKeys(t *testing.T, open func() Store) {
	s := open()
	put := func(kid, algorithm string, generation int, active time.Duration) {
		k := keyring.Sealed{KID: kid, Algorithm: algorithm, Generation: generation, Private: []byte{1}, Under: "a",
			CreatedAt: now, ActiveAt: now.Add(active)}
		_, err := s.PutKey(ctx, k, event("key.create"))
		must(t, err)
	}
	keep := keeping().Keys
	put("first", "ES256", 1, -4*keep)
	put("withdrawn", "ES256", 2, -3*keep)
	put("over", "ES256", 3, -2*keep)
	put("younger", "ES256", 4, -keep-time.Second)
	put("signs", "ES256", 5, -keep)
	put("next", "ES256", 6, time.Minute)
	put("alone", "RS256", 1, -9*keep)
	put("signs again", "EdDSA", 1, -9*keep)
	put("not any more", "EdDSA", 2, -8*keep)
	must(t, s.WithdrawKey(ctx, "withdrawn", now, event("key.withdraw")))
	exec(t, s, "UPDATE signing_keys SET withdrawn_at = 1 WHERE kid = 'not any more'")
	if n := clean(t, s, now, "keys"); n != 2 {
		t.Errorf("got %d gone, want the first and the one that was over", n)
	}
	left := []string{"alone", "next", "not any more", "signs", "signs again", "withdrawn", "younger"}
	same(t, "what is left", left, column(t, s, "SELECT kid FROM signing_keys ORDER BY kid"), nil)
	same(t, "the lines", []string{"first", "over"},
		column(t, s, "SELECT target FROM audit_events WHERE action = 'key.delete' AND actor = 'system' ORDER "+
			"BY target"), nil)
	clean(t, s, now.Add(time.Second), "keys")
	left = []string{"alone", "next", "not any more", "signs", "signs again", "withdrawn"}
	same(t, "a second later", left, column(t, s, "SELECT kid FROM signing_keys ORDER BY kid"), nil)
}

// withdrawnWhileSealed: a key is withdrawn while all are sealed anew: one waits for the other, and
// neither is broken off (they once held what the other wanted).
func withdrawnWhileSealed(t *testing.T, open func() Store) {
	s, replica := open(), open()
	under, signs := "u", keyring.Resealing{KID: "signs", Old: []byte("x"), New: []byte("x")}
	put := func(kid string, generation int) {
		_, err := s.PutKey(ctx, keyring.Sealed{KID: kid, Algorithm: "ES256", Generation: generation,
			Private: []byte("x"), Under: under, CreatedAt: now, ActiveAt: now.Add(time.Duration(generation))},
			event("key.create"))
		must(t, err)
	}
	put("signs", 1000)
	for round := range 20 {
		kid, next := fmt.Sprint("k", round), fmt.Sprint("u", round)
		put(kid, round)
		rows := []keyring.Resealing{{KID: kid, Old: []byte("x"), New: []byte("x")}, signs}
		var sealed, withdrawn error
		var both sync.WaitGroup
		both.Go(func() { sealed = s.Reseal(ctx, next, rows, event("key.reseal")) })
		both.Go(func() { withdrawn = replica.WithdrawKey(ctx, kid, now.Add(time.Hour), event("key.withdraw")) })
		both.Wait()
		if withdrawn != nil || sealed != nil && !errors.Is(sealed, keyring.ErrChanged) {
			t.Fatalf("round %d: withdrawing %v, sealing anew %v", round, withdrawn, sealed)
		}
		if sealed == nil {
			under = next
		}
	}
}
