package storetest

import (
	"fmt"
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
	_, _ = s.Audit().Begin(ctx) // an error of it also fails the first record
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

// auditLines: records are found by each of their names, newest first.
func auditLines(t *testing.T, open func() Store) {
	s := open()
	ann := audit.Event{Time: now, Actor: "user:usr_ann", Action: "grant.create", Target: "g", Tenant: "acme",
		Client: "cli_app", Grant: "g", Outcome: audit.OK, Detail: "a b"}
	bob := audit.Event{Time: now.Add(time.Hour), Actor: "user:usr_bob", Action: "grants.x", Tenant: "globex",
		Client: "cli_2", Grant: "h", Outcome: audit.Refused}
	system := audit.Event{Time: now.Add(2 * time.Hour), Actor: "system", Action: "grant.revoke", Tenant: "acme",
		Outcome: audit.Failed}
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
			"all":     {audit.Filter{}, []audit.Event{system, bob, ann}},
			"tenant":  {audit.Filter{Tenant: "acme"}, []audit.Event{system, ann}},
			"client":  {audit.Filter{Client: "cli_2"}, []audit.Event{bob}},
			"grant":   {audit.Filter{Grant: "g"}, []audit.Event{ann}},
			"actor":   {audit.Filter{Actor: "system"}, []audit.Event{system}},
			"outcome": {audit.Filter{Outcome: audit.Refused}, []audit.Event{bob}},
			"action":  {audit.Filter{Action: "grant.revoke"}, []audit.Event{system}},
			"noun":    {audit.Filter{Action: "grant"}, []audit.Event{system, ann}},
			"since":   {audit.Filter{Since: now.Add(time.Hour)}, []audit.Event{system, bob}},
			"until":   {audit.Filter{Until: now.Add(time.Hour)}, []audit.Event{ann}},
			"limit":   {audit.Filter{Limit: 1}, []audit.Event{system}},
			"all together": {audit.Filter{Tenant: "acme", Client: "cli_app", Grant: "g", Actor: "user:usr_ann",
				Action: "grant", Outcome: audit.OK, Since: now, Until: now.Add(1), Limit: 5}, nil},
			"nobody": {audit.Filter{Tenant: "acme' OR '1'='1"}, nil},
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
	// What a database cannot hold, or a terminal would take for its own, is written as far as it
	// can be (DS-11).
	must(t, s.Record(ctx, audit.Event{Time: now, Actor: "a\x00b\xff", Action: "x.odd",
		Detail: "\x1b[2J\n" + strings.Repeat("é", 2000)}))
	odd, err := s.Events(ctx, audit.Filter{Action: "x.odd"})
	must(t, err)
	if len(odd) != 1 || odd[0].Actor != "a?b?" || !strings.HasPrefix(odd[0].Detail, "?[2J?éé") ||
		len(odd[0].Detail) > 1100 {
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
	for _, s := range []string{"", "1", "1:", "x:" + strings.Repeat("0", 64), "1:" + strings.Repeat("0", 63),
		"-1:" + strings.Repeat("0", 64), "1:" + strings.Repeat("0", 66)} {
		if _, err := chain.ParsePoint(s); err == nil {
			t.Errorf("head %q: got no error", s)
		}
	}
	wrong := first.Head
	wrong.Hash[0] ^= 1
	wantFinding(t, "another head than was noted", c, wrong, chain.Changed, 30)
	wantFinding(t, "a head that is ahead", c, chain.Point{Seq: 40}, chain.Removed, 34)
	wantFinding(t, "another key", func() *chain.Chain { o := open().Audit(); o.Anchor([]byte("another")); return o }(),
		chain.Point{}, chain.Changed, 33)
	both := open().Audit()
	both.Anchor([]byte("the next key"), auditKey)
	wantWhole(t, "a key that is being replaced", both, chain.Point{}, 33)
	must(t, s.Record(ctx, event("x.y")))
	sealAll(t, both)
	wantFinding(t, "the key before, afterwards", c, chain.Point{}, chain.Changed, 34)
}

// auditWriters: with concurrent writers and a sealer at each of two processes, each record gets one
// place, once.
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
	if n, err = c.Prune(ctx, now.Add(time.Hour)); n != 0 || err == nil ||
		!strings.Contains(err.Error(), "record 1001 is missing") {
		t.Errorf("what is not whole: got %d gone %v, want it kept, and to hear why", n, err)
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
