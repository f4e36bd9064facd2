package storetest

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
)

var auditKey = []byte("the key of the head, in these tests")

// anchored is a store's chain, as one who has the key opens it.
func anchored(s Store) *chain.Chain {
	s.Audit().Anchor(auditKey)
	return s.Audit()
}

// sealed writes n lines and gives them their places.
func sealed(t *testing.T, s Store, n int) {
	t.Helper()
	for i := range n {
		e := event(fmt.Sprint("x.y", i))
		e.Time = now.Add(time.Duration(i) * time.Second)
		must(t, s.Record(ctx, e))
	}
	sealAll(t, s.Audit())
}

func sealAll(t *testing.T, c *chain.Chain) {
	t.Helper()
	for {
		n, err := c.Seal(ctx)
		must(t, err)
		if n == 0 {
			return
		}
	}
}

// verify walks to the end, a few records at a time.
func verify(t *testing.T, c *chain.Chain, noted chain.Point) (last chain.Walked, records int64) {
	t.Helper()
	w := chain.Walk{Noted: noted, Limit: 7}
	for !last.Done {
		var err error
		last, err = c.Verify(ctx, w)
		must(t, err)
		w.After = last.Reached
		records += last.Records
	}
	return last, records
}

func wantWhole(t *testing.T, what string, c *chain.Chain, noted chain.Point, want int64) chain.Walked {
	t.Helper()
	w, n := verify(t, c, noted)
	if w.Finding != nil || n != want {
		t.Errorf("%s: got %d records and %+v, want %d as they were sealed", what, n, w.Finding, want)
	}
	return w
}

func wantFinding(t *testing.T, what string, c *chain.Chain, noted chain.Point, kind string, seq int64) {
	t.Helper()
	w, _ := verify(t, c, noted)
	if w.Finding == nil || w.Finding.Kind != kind || w.Finding.Seq != seq {
		t.Errorf("%s: got %+v, want %s at %d", what, w.Finding, kind, seq)
	}
}

// auditLines: what is written is found, by each of its names, the newest first.
func auditLines(t *testing.T, open func() Store) {
	s := open()
	ann := audit.Event{Time: now, Actor: "user:usr_ann", Action: "grant.create", Target: "g", Tenant: "acme", Client: "cli_app", Grant: "g", Outcome: audit.OK, Detail: "a b"}
	bob := audit.Event{Time: now.Add(time.Hour), Actor: "user:usr_bob", Action: "grants.x", Tenant: "globex", Client: "cli_2", Grant: "h", Outcome: audit.Refused}
	system := audit.Event{Time: now.Add(2 * time.Hour), Actor: "system", Action: "grant.end", Tenant: "acme", Outcome: audit.Failed}
	must(t, s.Record(ctx, ann))
	must(t, s.RecordAll(ctx, []audit.Event{bob, system}))
	for _, placed := range []bool{false, true} {
		if placed {
			sealAll(t, s.Audit())
		}
		for name, row := range map[string]struct {
			f    audit.Filter
			want []audit.Event
		}{
			"all":          {audit.Filter{}, []audit.Event{system, bob, ann}},
			"tenant":       {audit.Filter{Tenant: "acme"}, []audit.Event{system, ann}},
			"client":       {audit.Filter{Client: "cli_2"}, []audit.Event{bob}},
			"grant":        {audit.Filter{Grant: "g"}, []audit.Event{ann}},
			"actor":        {audit.Filter{Actor: "system"}, []audit.Event{system}},
			"outcome":      {audit.Filter{Outcome: audit.Refused}, []audit.Event{bob}},
			"action":       {audit.Filter{Action: "grant.end"}, []audit.Event{system}},
			"noun":         {audit.Filter{Action: "grant"}, []audit.Event{system, ann}},
			"since":        {audit.Filter{Since: now.Add(time.Hour)}, []audit.Event{system, bob}},
			"until":        {audit.Filter{Until: now.Add(time.Hour)}, []audit.Event{ann}},
			"limit":        {audit.Filter{Limit: 1}, []audit.Event{system}},
			"all together": {audit.Filter{Tenant: "acme", Client: "cli_app", Grant: "g", Actor: "user:usr_ann", Action: "grant", Outcome: audit.OK, Since: now, Until: now.Add(1), Limit: 5}, nil},
			"nobody":       {audit.Filter{Tenant: "acme' OR '1'='1"}, nil},
		} {
			records, err := open().Events(ctx, row.f)
			var got []audit.Event
			for i, r := range records {
				got = append(got, r.Event)
				if placed != (r.Seq > 0) || i > 0 && placed && r.Seq >= records[i-1].Seq {
					t.Errorf("%s: record %d after %d, and placed is %v", name, r.Seq, i, placed)
				}
			}
			same(t, name, row.want, got, err)
		}
	}
	// What a database cannot hold, or a terminal would take for its own, is written as far as it can be (DS-11).
	must(t, s.Record(ctx, audit.Event{Time: now, Actor: "a\x00b\xff", Action: "x.odd", Detail: "\x1b[2J\n" + strings.Repeat("é", 2000)}))
	odd, err := s.Events(ctx, audit.Filter{Action: "x.odd"})
	must(t, err)
	if len(odd) != 1 || odd[0].Actor != "a?b?" || !strings.HasPrefix(odd[0].Detail, "?[2J?éé") || len(odd[0].Detail) > 1100 {
		t.Errorf("an odd line: got %+v", odd)
	}
}

func auditChain(t *testing.T, open func() Store) {
	s := open()
	c := anchored(s)
	wantWhole(t, "nothing", c, chain.Point{}, 0)
	must(t, s.Record(ctx, event("x.y")))
	if w := wantWhole(t, "one line that waits", c, chain.Point{}, 0); w.Waiting != 1 || !w.Anchored {
		t.Errorf("got %+v, want one that waits", w)
	}
	sealed(t, s, 29)
	first := wantWhole(t, "thirty", c, chain.Point{}, 30)
	if first.Head.Seq != 30 || first.Waiting != 0 || first.Reached != first.Head {
		t.Errorf("got %+v, want a head at 30", first)
	}
	sealed(t, s, 3)
	wantWhole(t, "with a head that was noted", anchored(open()), first.Head, 33)
	parsed, err := chain.ParsePoint(first.Head.String())
	same(t, "a head in writing", first.Head, parsed, err)
	for _, s := range []string{"", "1", "1:", "x:" + strings.Repeat("0", 64), "1:" + strings.Repeat("0", 63), "-1:" + strings.Repeat("0", 64), "1:" + strings.Repeat("0", 66)} {
		if _, err := chain.ParsePoint(s); err == nil {
			t.Errorf("head %q: got no error", s)
		}
	}
	wrong := first.Head
	wrong.Hash[0] ^= 1
	wantFinding(t, "another head than was noted", c, wrong, chain.Changed, 30)
	wantFinding(t, "a head that is ahead", c, chain.Point{Seq: 40}, chain.Removed, 34)
	wantFinding(t, "another key", func() *chain.Chain { o := open().Audit(); o.Anchor([]byte("another")); return o }(), chain.Point{}, chain.Changed, 33)
	both := open().Audit()
	both.Anchor([]byte("the next key"), auditKey)
	wantWhole(t, "a key that is being replaced", both, chain.Point{}, 33)
	must(t, s.Record(ctx, event("x.y")))
	sealAll(t, both)
	wantFinding(t, "the key before, afterwards", c, chain.Point{}, chain.Changed, 34)
}

// auditWriters: whoever writes, in whatever order transactions end, each line gets one place, once; with a sealer at each of two processes.
func auditWriters(t *testing.T, open func() Store) {
	const writers, each = 8, 25
	stores := []Store{open(), open()}
	for _, s := range stores {
		anchored(s)
	}
	var writing, sealing sync.WaitGroup
	var done atomic.Bool
	for _, s := range stores {
		sealing.Go(func() {
			for !done.Load() {
				if _, err := s.Audit().Seal(ctx); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for w := range writers {
		writing.Go(func() {
			s := stores[w%2]
			for i := range each {
				tx, err := s.Audit().Write.BeginTx(ctx, nil)
				if err != nil {
					t.Error(err)
					return
				}
				e := event(fmt.Sprintf("w%d.%d", w, i))
				err = s.Audit().Insert(ctx, tx, e)
				if err == nil && i%5 == w%5 {
					err = tx.Rollback() // and its number is never used
				} else if err == nil {
					err = tx.Commit()
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	done.Store(true)
	sealing.Wait()
	sealAll(t, stores[0].Audit())
	const kept = writers * each * 4 / 5
	wantWhole(t, "after two sealers", stores[1].Audit(), chain.Point{}, kept)
	all, err := stores[1].Events(ctx, audit.Filter{Limit: 1000})
	must(t, err)
	seen := map[string]bool{}
	for _, r := range all {
		seen[r.Action] = true
	}
	if len(all) != kept || len(seen) != kept {
		t.Errorf("got %d lines, %d of them different; want %d", len(all), len(seen), kept)
	}
}

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
	k.exec(t, "CREATE TABLE kept_records AS SELECT * FROM audit_records", "CREATE TABLE kept_head AS SELECT * FROM audit_head")
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
	k.exec(t, "DELETE FROM audit_records", "INSERT INTO audit_records SELECT * FROM kept_records", "DELETE FROM audit_head", "INSERT INTO audit_head SELECT * FROM kept_head")
}

// swap gives two records each other's number; shift moves all from one on.
func swap(a, b int) []string {
	return []string{
		fmt.Sprintf("UPDATE audit_records SET seq = -1 WHERE seq = %d", a), fmt.Sprintf("UPDATE audit_records SET seq = %d WHERE seq = %d", a, b),
		fmt.Sprintf("UPDATE audit_records SET seq = %d WHERE seq = -1", b),
	}
}

func shift(from, by int) []string {
	return []string{
		fmt.Sprintf("UPDATE audit_records SET seq = -seq WHERE seq >= %d", from), fmt.Sprintf("UPDATE audit_records SET seq = -seq + %d WHERE seq < 0", by),
	}
}

// copyOf is a record that was never sealed there: what another one says, with its hash.
func copyOf(of, as int) string {
	return fmt.Sprintf(`INSERT INTO audit_records (seq, hash, at, actor, action, target, tenant, client, grant_id, outcome, detail)
		SELECT %d, hash, at, actor, 'forged', target, tenant, client, grant_id, outcome, detail FROM audit_records WHERE seq = %d`, as, of)
}

func then(parts ...[]string) []string { return slices.Concat(parts...) }

// auditTampered: each thing that can be done to records is found, where it was done, and called by its name.
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
		{"a word moved to the next column", one("UPDATE audit_records SET actor = 'user:usr_an', action = 'n' || action WHERE seq = 9"), chain.Changed, 9},
		{"another outcome", one("UPDATE audit_records SET outcome = 'refused' WHERE seq = 12"), chain.Changed, 12},
		{"another hash", one("UPDATE audit_records SET hash = (SELECT hash FROM kept_records WHERE seq = 3) WHERE seq = 7"), chain.Changed, 7},
		{"two changed", one("UPDATE audit_records SET detail = '' WHERE seq IN (6, 7)"), chain.Changed, 6},

		{"one taken out", one("DELETE FROM audit_records WHERE seq = 8"), chain.Removed, 8},
		{"the first taken out", one("DELETE FROM audit_records WHERE seq = 1"), chain.Removed, 1},
		{"several taken out", one("DELETE FROM audit_records WHERE seq BETWEEN 4 AND 15"), chain.Removed, 4},
		{"the newest taken out", one("DELETE FROM audit_records WHERE seq > 17"), chain.Removed, 18},
		{"all taken out", one("DELETE FROM audit_records"), chain.Removed, 1},
		{"one taken out, the rest closed up", then(one("DELETE FROM audit_records WHERE seq = 8"), shift(9, -1)), chain.Removed, 8},
		{"three taken out, the rest closed up", then(one("DELETE FROM audit_records WHERE seq IN (8, 9, 10)"), shift(11, -3)), chain.Removed, 8},

		{"two neighbours moved", swap(5, 6), chain.Reordered, 5},
		{"the last two moved", swap(19, 20), chain.Reordered, 19},
		{"two far apart moved", swap(3, 15), chain.Reordered, 3},
		{"one and the last moved", swap(3, 20), chain.Reordered, 3},
		{"one moved back", then(shift(6, 1), one("UPDATE audit_records SET seq = 6 WHERE seq = 13")), chain.Reordered, 6},
		{"what two say moved, their hashes not", one(`UPDATE audit_records SET action = (SELECT action FROM kept_records k WHERE k.seq = 16 - audit_records.seq), at = (SELECT at FROM kept_records k
			WHERE k.seq = 16 - audit_records.seq) WHERE seq IN (5, 11)`), chain.Reordered, 5},

		{"one put in", then(shift(9, 1), one(copyOf(4, 9))), chain.Inserted, 9},
		{"one put in at the beginning", then(shift(1, 1), one(copyOf(4, 1))), chain.Inserted, 1},
		{"two put in", then(shift(9, 2), one(copyOf(4, 9)), one(copyOf(4, 10))), chain.Inserted, 9},
		{"one put in before the last", then(shift(20, 1), one(copyOf(4, 20))), chain.Inserted, 20},
		{"one put in after the last", one(copyOf(4, 21)), chain.Inserted, 21},

		{"the head gone", one("DELETE FROM audit_head"), chain.Removed, 0},
		{"the head set back, with its records", one("UPDATE audit_head SET seq = 15, hash = (SELECT hash FROM audit_records WHERE seq = 15)"), chain.Changed, 15},
		{"the beginning forgotten", then(one("DELETE FROM audit_records WHERE seq <= 5"), one("UPDATE audit_head SET base = 5, base_hash = (SELECT hash FROM kept_records WHERE seq = 5)")), chain.Changed, 20},
	} {
		k.exec(t, row.attack...)
		wantFinding(t, row.name, k.Chain, chain.Point{}, row.kind, row.seq)
		k.setBack(t)
	}
	// Who has the heads of before, with their words, can set the chain back to one of them. Only who has noted a later one sees it.
	k.setBack(t)
	wantWhole(t, "set back", k.Chain, k.head, 20)
}

// auditAtRandom: whatever is done to records, and however the numbers and the head are mended after it by somebody without the key, it is found.
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
			attack = []string{fmt.Sprintf("UPDATE audit_records SET %s = %[1]s || 'x' WHERE seq = %d", columns[r.Intn(len(columns))], a)}
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
			attack = append(attack, "UPDATE audit_head SET seq = COALESCE((SELECT MAX(seq) FROM audit_records), 0), hash = COALESCE((SELECT hash FROM audit_records ORDER BY seq DESC LIMIT 1), hash)")
		}
		k.exec(t, attack...)
		if w, _ := verify(t, k.Chain, chain.Point{}); w.Finding == nil {
			t.Errorf("round %d: not found: %s", round, strings.Join(attack, "; "))
		}
		// Even who has no key finds it by the hashes, unless the newest alone went and the head is mended.
		if w, _ := verify(t, keyless(), chain.Point{}); w.Finding == nil && !(mended && strings.HasPrefix(attack[0], "DELETE") && a == n) {
			t.Errorf("round %d: not found without the key: %s", round, strings.Join(attack, "; "))
		}
		k.setBack(t)
		wantWhole(t, "set back", k.Chain, chain.Point{}, n)
	}
}

// auditWrittenAnew: somebody who can write the database, but has not the key, writes the whole chain anew.
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
	// The next sealer goes on, and says so in the chain itself: it is found for ever, or until somebody has noted a later head.
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

	// A head of before with its word: a sealer that has seen a later one notices, and so does who has noted one.
	k.setBack(t)
	k.exec(t, "DELETE FROM kept_records", "DELETE FROM kept_head", "INSERT INTO kept_records SELECT * FROM audit_records", "INSERT INTO kept_head SELECT * FROM audit_head")
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

// auditRetention: the oldest go in batches, and the rest is provable.
func auditRetention(t *testing.T, open func() Store) {
	s := open()
	c := anchored(s)
	sealed(t, s, 1100)
	whole := wantWhole(t, "before", c, chain.Point{}, 1100)
	n, err := c.Prune(ctx, now)
	if n != 0 || err != nil {
		t.Errorf("nothing is as old: got %d %v", n, err)
	}
	n, err = c.Prune(ctx, now.Add(1000*time.Second))
	if n != 1000 || err != nil {
		t.Errorf("got %d %v, want the oldest thousand gone", n, err)
	}
	if w := wantWhole(t, "the rest", anchored(open()), whole.Head, 100); w.Base.Seq != 1000 {
		t.Errorf("it begins after %d, want 1000", w.Base.Seq)
	}
	wantFinding(t, "a head of what is gone", c, chain.Point{Seq: 999}, chain.Unproven, 999)
	c.Write.ExecContext(ctx, "DELETE FROM audit_records WHERE seq = 1001")
	wantFinding(t, "one more gone", c, chain.Point{}, chain.Removed, 1001)
	if n, err = c.Prune(ctx, now.Add(time.Hour)); n != 0 || err != nil {
		t.Errorf("what is not whole: got %d gone %v, want it kept", n, err)
	}
	other := open().Audit()
	other.Anchor([]byte("another key"))
	if n, err = other.Prune(ctx, now.Add(time.Hour)); n != 0 || err == nil {
		t.Errorf("without the key: got %d gone %v, want an error", n, err)
	}
	must(t, s.Record(ctx, event("x.y")))
	sealAll(t, c)
	var rows int
	must(t, c.Read.QueryRowContext(ctx, "SELECT COUNT(*) FROM audit_records WHERE seq > 1000").Scan(&rows))
	if rows != 100 {
		t.Errorf("got %d records, want 99 and the new one", rows)
	}
}
