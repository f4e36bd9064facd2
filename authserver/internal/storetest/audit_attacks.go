package storetest

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
)

// keptChain is a chain that can be set back after each attack on it.
type keptChain struct {
	*chain.Chain
	head chain.Point
}

func keep(t *testing.T, open func() Store, n int) keptChain {
	t.Helper()
	s := open()
	c := anchored(s)
	sealed(t, s, n)
	w := wantWhole(t, "before", c, chain.Point{}, int64(n))
	k := keptChain{c, w.Head}
	k.exec(t, "CREATE TABLE kept_records AS SELECT * FROM audit_records",
		"CREATE TABLE kept_head AS SELECT * FROM audit_head")
	return k
}

func (k keptChain) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := k.Write.ExecContext(ctx, s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func (k keptChain) setBack(t *testing.T) {
	t.Helper()
	k.exec(t, "DELETE FROM audit_records", "INSERT INTO audit_records SELECT * FROM kept_records",
		"DELETE FROM audit_head", "INSERT INTO audit_head SELECT * FROM kept_head")
}

// swap gives two records each other's number; shift moves all from one on.
func swap(a, b int) []string {
	return []string{
		fmt.Sprintf("UPDATE audit_records SET seq = -1 WHERE seq = %d", a),
		fmt.Sprintf("UPDATE audit_records SET seq = %d WHERE seq = %d", a, b),
		fmt.Sprintf("UPDATE audit_records SET seq = %d WHERE seq = -1", b),
	}
}

func shift(from, by int) []string {
	return []string{
		fmt.Sprintf("UPDATE audit_records SET seq = -seq WHERE seq >= %d", from),
		fmt.Sprintf("UPDATE audit_records SET seq = -seq + %d WHERE seq < 0", by),
	}
}

// copyOf is a record that was never sealed there: what another one says, with its hash.
func copyOf(of, as int) string {
	return fmt.Sprintf(`INSERT INTO audit_records (seq, hash, at, actor, action, target, tenant, client, grant_id,
		outcome, detail)
		SELECT %d, hash, at, actor, 'forged', target, tenant, client, grant_id, outcome, detail FROM audit_records
		WHERE seq = %d`, as, of)
}

func then(parts ...[]string) []string { return slices.Concat(parts...) }

// auditTampered: each thing that can be done to records is found, where it was done, and called by
// its name.
func auditTampered(t *testing.T, open func() Store) {
	k := keep(t, open, 20)
	one := func(s string) []string { return []string{s} }
	for _, row := range []struct {
		name   string
		attack []string
		kind   string
		seq    int64
	}{
		{"another detail", one("UPDATE audit_records SET detail = 'nothing' WHERE seq = 5"), chain.Changed, 5},
		{"another tenant", one("UPDATE audit_records SET tenant = 'globex' WHERE seq = 1"), chain.Changed, 1},
		{"another time", one("UPDATE audit_records SET at = at - 1 WHERE seq = 20"), chain.Changed, 20},
		{"a word moved to the next column",
			one("UPDATE audit_records SET actor = 'user:usr_an', action = 'n' || action WHERE seq = 9"),
			chain.Changed, 9},
		{"another outcome", one("UPDATE audit_records SET outcome = 'refused' WHERE seq = 12"), chain.Changed, 12},
		{"another hash",
			one("UPDATE audit_records SET hash = (SELECT hash FROM kept_records WHERE seq = 3) WHERE seq = 7"),
			chain.Changed, 7},
		{"two changed", one("UPDATE audit_records SET detail = '' WHERE seq IN (6, 7)"), chain.Changed, 6},

		{"one taken out", one("DELETE FROM audit_records WHERE seq = 8"), chain.Removed, 8},
		{"the first taken out", one("DELETE FROM audit_records WHERE seq = 1"), chain.Removed, 1},
		{"several taken out", one("DELETE FROM audit_records WHERE seq BETWEEN 4 AND 15"), chain.Removed, 4},
		{"the newest taken out", one("DELETE FROM audit_records WHERE seq > 17"), chain.Removed, 18},
		{"all taken out", one("DELETE FROM audit_records"), chain.Removed, 1},
		{"one taken out, the rest closed up", then(one("DELETE FROM audit_records WHERE seq = 8"), shift(9, -1)),
			chain.Removed, 8},
		{"three taken out, the rest closed up", then(one("DELETE FROM audit_records WHERE seq IN (8, 9, 10)"),
			shift(11, -3)), chain.Removed, 8},

		{"two neighbours moved", swap(5, 6), chain.Reordered, 5},
		{"the last two moved", swap(19, 20), chain.Reordered, 19},
		{"two far apart moved", swap(3, 15), chain.Reordered, 3},
		{"one and the last moved", swap(3, 20), chain.Reordered, 3},
		{"one moved back", then(shift(6, 1), one("UPDATE audit_records SET seq = 6 WHERE seq = 13")),
			chain.Reordered, 6},
		{"what two say moved, their hashes not", one(`UPDATE audit_records SET action = (SELECT action
			FROM kept_records k WHERE k.seq = 16 - audit_records.seq), at = (SELECT at FROM kept_records k
			WHERE k.seq = 16 - audit_records.seq) WHERE seq IN (5, 11)`), chain.Reordered, 5},

		{"one put in", then(shift(9, 1), one(copyOf(4, 9))), chain.Inserted, 9},
		{"one put in at the beginning", then(shift(1, 1), one(copyOf(4, 1))), chain.Inserted, 1},
		{"two put in", then(shift(9, 2), one(copyOf(4, 9)), one(copyOf(4, 10))), chain.Inserted, 9},
		{"one put in before the last", then(shift(20, 1), one(copyOf(4, 20))), chain.Inserted, 20},
		{"one put in after the last", one(copyOf(4, 21)), chain.Inserted, 21},

		{"everything gone, as if nothing had ever been",
			then(one("DELETE FROM audit_records"),
				one("UPDATE audit_head SET base = 0, base_hash = '', seq = 0, hash = '', mac = ''")), chain.Changed, 0},
		{"the head gone", one("DELETE FROM audit_head"), chain.Removed, 0},
		{"the head set back, with its records",
			one("UPDATE audit_head SET seq = 15, hash = (SELECT hash FROM audit_records WHERE seq = 15)"),
			chain.Changed, 15},
		{"the beginning forgotten", then(one("DELETE FROM audit_records WHERE seq <= 5"),
			one("UPDATE audit_head SET base = 5, base_hash = (SELECT hash FROM kept_records WHERE seq = 5)")),
			chain.Changed, 20},
	} {
		k.exec(t, row.attack...)
		wantFinding(t, row.name, k.Chain, chain.Point{}, row.kind, row.seq)
		k.setBack(t)
	}
	// Someone who has earlier heads with their codes can set the chain back to one of them. Only a
	// noted later head shows it.
	k.setBack(t)
	wantWhole(t, "set back", k.Chain, k.head, 20)
}

// auditAtRandom: any change of records is found, however the numbers and the head are corrected
// afterwards without the key.
func auditAtRandom(t *testing.T, open func() Store) {
	const n = 12
	k := keep(t, open, n)
	keyless := func() *chain.Chain {
		return chain.New(chain.Options{Write: k.Write, Read: k.Read, Name: "audit", Lock: k.Lock})
	}
	r := rand.New(rand.NewSource(1))
	for round := range 60 {
		a, b := 1+r.Intn(n), 1+r.Intn(n-1)
		if b >= a {
			b++
		}
		columns := []string{"actor", "action", "target", "tenant", "client", "grant_id", "outcome", "detail"}
		var attack []string
		switch r.Intn(6) {
		case 0:
			attack = []string{fmt.Sprintf("UPDATE audit_records SET %s = %[1]s || 'x' WHERE seq = %d",
				columns[r.Intn(len(columns))], a)}
		case 1:
			attack = []string{fmt.Sprintf("DELETE FROM audit_records WHERE seq = %d", a)}
		case 2:
			attack = then([]string{fmt.Sprintf("DELETE FROM audit_records WHERE seq = %d", a)}, shift(a+1, -1))
		case 3:
			attack = swap(a, b)
		case 4:
			attack = then(shift(a, 1), []string{copyOf(max(1, a-1), a)})
		case 5:
			attack = []string{fmt.Sprintf("UPDATE audit_records SET at = at + %d WHERE seq = %d", 1+r.Intn(9), a)}
		}
		mended := r.Intn(2) == 0
		if mended {
			attack = append(attack, "UPDATE audit_head SET seq = COALESCE((SELECT MAX(seq) FROM audit_records), 0), "+
				"hash = COALESCE((SELECT hash FROM audit_records ORDER BY seq DESC LIMIT 1), hash)")
		}
		k.exec(t, attack...)
		if w, _ := verify(t, k.Chain, chain.Point{}); w.Finding == nil {
			t.Errorf("round %d: not found: %s", round, strings.Join(attack, "; "))
		}
		// Even without the key it is found by the hashes, unless only the newest were removed and
		// the head is corrected.
		if w, _ := verify(t, keyless(), chain.Point{}); w.Finding == nil &&
			!(mended && strings.HasPrefix(attack[0], "DELETE") && a == n) {
			t.Errorf("round %d: not found without the key: %s", round, strings.Join(attack, "; "))
		}
		k.setBack(t)
		wantWhole(t, "set back", k.Chain, chain.Point{}, n)
	}
}

// auditWrittenAnew: someone who can write the database but does not have the key writes the whole
// chain anew.
func auditWrittenAnew(t *testing.T, open func() Store) {
	k := keep(t, open, 20)
	anew := func() {
		k.exec(t, "DELETE FROM audit_records", "UPDATE audit_head SET base = 0, seq = 0, hash = base_hash")
		for i := range 20 {
			e := event(fmt.Sprint("x.y", i))
			e.Actor = "user:usr_mallory"
			must(t, k.Insert(ctx, k.Write, e))
		}
		sealAll(t, chain.New(chain.Options{Write: k.Write, Read: k.Read, Name: "audit", Lock: k.Lock}))
	}
	anew()
	wantFinding(t, "written anew", k.Chain, chain.Point{}, chain.Changed, 20)
	// The next sealer goes on, and records that in the chain itself: it is found forever, or until
	// someone noted a later head.
	must(t, k.Insert(ctx, k.Write, event("x.after")))
	fresh := anchored(open())
	sealAll(t, fresh)
	wantFinding(t, "when it was noticed", fresh, chain.Point{}, chain.Noticed, 21)
	w, err := fresh.Verify(ctx, chain.Walk{Limit: 100})
	must(t, err)
	wantWhole(t, "with a head of after that", fresh, w.Head, 22)
	wantFinding(t, "with the head of before", fresh, k.head, chain.Changed, 20)
	lines, err := open().Events(ctx, audit.Filter{Action: chain.Broken})
	if err != nil || len(lines) != 1 || lines[0].Outcome != audit.Failed {
		t.Errorf("the line of it: got %+v %v", lines, err)
	}

	// An earlier head with its code: a sealer that has seen a later one notices, and so does
	// someone who noted one.
	k.setBack(t)
	k.exec(t, "DELETE FROM kept_records", "DELETE FROM kept_head",
		"INSERT INTO kept_records SELECT * FROM audit_records", "INSERT INTO kept_head SELECT * FROM audit_head")
	running := anchored(open())
	for range 5 {
		must(t, k.Insert(ctx, k.Write, event("x.more")))
	}
	sealAll(t, running)
	later := wantWhole(t, "five more", running, k.head, 25)
	k.setBack(t)
	wantWhole(t, "set back, for who knows no better", anchored(open()), chain.Point{}, 20)
	wantFinding(t, "set back, for who noted a head", anchored(open()), later.Head, chain.Removed, 21)
	must(t, k.Insert(ctx, k.Write, event("x.after")))
	sealAll(t, running)
	wantFinding(t, "set back, and noticed", running, chain.Point{}, chain.Noticed, 21)

	// A head with an invented number is not continued.
	k.setBack(t)
	k.exec(t, "UPDATE audit_head SET seq = 9223372036854775807")
	must(t, k.Insert(ctx, k.Write, event("x.after")))
	sealAll(t, anchored(open()))
	wantFinding(t, "a number that was made up", anchored(open()), chain.Point{}, chain.Noticed, 21)
	// Everything is deleted while no server runs, and the next sealer does not know: but it has the
	// key, and an empty head has its code.
	k.setBack(t)
	k.exec(t, "DELETE FROM audit_records",
		"UPDATE audit_head SET base = 0, base_hash = '', seq = 0, hash = '', mac = ''")
	must(t, k.Insert(ctx, k.Write, event("x.after")))
	next := open().Audit()
	next.Anchor(auditKey)
	sealAll(t, next)
	wantFinding(t, "everything taken away", next, chain.Point{}, chain.Noticed, 1)
	// Forged records ahead of the head do not stop the sealer.
	k.setBack(t)
	k.exec(t, copyOf(20, 21), copyOf(20, 23))
	must(t, k.Insert(ctx, k.Write, event("x.after")))
	sealAll(t, anchored(open()))
	wantFinding(t, "records ahead of the head", anchored(open()), chain.Point{}, chain.Changed, 21)
	k.setBack(t)
	k.exec(t, "DELETE FROM audit_head")
	must(t, k.Insert(ctx, k.Write, event("x.after")))
	sealAll(t, anchored(open()))
	wantFinding(t, "the head gone", anchored(open()), chain.Point{}, chain.Noticed, 21)
}
