package chain

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// The kinds of findings.
const (
	Changed   = "changed"
	Removed   = "removed"
	Inserted  = "inserted"
	Reordered = "reordered"
	Noticed   = "noticed"  // a sealer recorded that the head was not as it had been left
	Unproven  = "unproven" // a noted head is of a record that is no longer stored
)

// Finding is the first place where a chain differs from what was sealed.
type Finding struct {
	Kind string
	Seq  int64     // number of the record, or of the first missing one
	At   time.Time // time of the record that shows it; zero when there is none
	What string    // a sentence
}

// Walk says which part of a chain to verify.
type Walk struct {
	After Point // where the previous walk ended; zero: at the beginning
	// Noted is a head that was noted: nothing up to it may be missing or changed. Zero: none.
	Noted Point
	Limit int64 // maximum of records; 0 or too many: the most that one walk allows
}

// Walked is the result of a walk.
type Walked struct {
	Base     Point    // before the oldest stored record
	Reached  Point    // the last record that was verified
	Head     Point    // where the chain ends
	Records  int64    // verified in this walk
	Waiting  int64    // unsealed events
	Anchored bool     // the head was authenticated by a key
	Done     bool     // the end was reached, or something was found
	Finding  *Finding // nil: the chain is intact
}

// Verify verifies the chain, as of one moment, record by record. It changes nothing.
func (c *Chain) Verify(ctx context.Context, w Walk) (done Walked, err error) {
	err = c.snapshot(ctx, func(tx *sql.Tx) error {
		done, err = c.verify(ctx, tx, w)
		return err
	})
	return done, err
}

func (c *Chain) verify(ctx context.Context, tx *sql.Tx, w Walk) (done Walked, err error) {
	h, err := c.head(ctx, tx, "")
	if errors.Is(err, errNoHead) {
		return Walked{Done: true,
			Finding: &Finding{Kind: Removed,
				What: "the head of the chain is missing: where it begins and ends is unknown"}}, nil
	}
	if err != nil {
		return Walked{}, err
	}
	done = Walked{Base: h.base, Head: h.end, Reached: h.base, Anchored: len(c.keys) > 0}
	if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+c.Name+"_events").Scan(&done.Waiting); err != nil {
		return Walked{}, fmt.Errorf("counting audit lines: %w", err)
	}
	if w.Limit <= 0 || w.Limit > mostAtOnce {
		w.Limit = mostAtOnce
	}
	if w.After.Seq > h.base.Seq {
		done.Reached = w.After
	}
	switch {
	case !c.believed(h):
		done.Finding = &Finding{Kind: Changed, Seq: h.end.Seq,
			What: "the head was not written by a sealer that has the key: the chain may have been written anew, whole"}
	case w.Noted.Seq > 0 && w.Noted.Seq < h.base.Seq:
		done.Finding = &Finding{Kind: Unproven, Seq: w.Noted.Seq,
			What: fmt.Sprintf("records up to %d are no longer kept, and the head that you noted with them; note a "+
				"newer one", h.base.Seq)}
	case w.Noted.Seq > 0 && w.Noted.Seq == h.base.Seq && w.Noted.Hash != h.base.Hash:
		done.Finding = another(w.Noted)
	default:
		err = c.walk(ctx, tx, w, &done)
	}
	done.Done = done.Done || done.Finding != nil
	return done, err
}

// another is the finding that a record's hash is not the noted one.
func another(noted Point) *Finding {
	return &Finding{Kind: Changed, Seq: noted.Seq,
		What: fmt.Sprintf("record %d has another hash than the head that you noted: the chain was written anew up "+
			"to there", noted.Seq)}
}

// walk verifies records one by one.
func (c *Chain) walk(ctx context.Context, tx *sql.Tx, w Walk, done *Walked) error {
	rows, err := tx.QueryContext(ctx, "SELECT seq, hash, "+content+" FROM "+c.Name+
		"_records WHERE seq > $1 ORDER BY seq LIMIT $2", done.Reached.Seq, w.Limit)
	if err != nil {
		return fmt.Errorf("reading the audit chain: %w", err)
	}
	defer rows.Close()
	var seq int64
	var sum, content sql.RawBytes
	var scratch []byte
	prev := done.Reached
	for rows.Next() {
		if err := rows.Scan(&seq, &sum, &content); err != nil {
			return fmt.Errorf("reading an audit record: %w", err)
		}
		next := Point{Seq: seq}
		next.Hash, scratch = follow(scratch, &prev.Hash, seq, content)
		switch {
		case seq > prev.Seq+1:
			done.Finding = &Finding{Kind: Removed, Seq: prev.Seq + 1, What: missing(prev.Seq+1, seq-1)}
		case seq <= prev.Seq:
			done.Finding = &Finding{Kind: Inserted, Seq: seq,
				What: fmt.Sprintf("there is more than one record %d", seq)}
		case seq > done.Head.Seq:
			done.Finding = &Finding{Kind: Inserted, Seq: seq,
				What: fmt.Sprintf("record %d is after the head, which is %d", seq, done.Head.Seq)}
		case string(sum) != string(next.Hash[:]):
			if err := rows.Close(); err != nil { // one connection runs one query at a time
				return fmt.Errorf("reading the audit chain: %w", err)
			}
			done.Finding, err = c.diagnose(ctx, tx, prev)
			return err
		case seq > w.Noted.Seq && bytes.Contains(content, brokenAsHashed):
			done.Finding = noticed(seq, content)
		case seq == w.Noted.Seq && next.Hash != w.Noted.Hash:
			done.Finding = another(w.Noted)
		}
		if done.Finding != nil {
			done.Finding.At, _ = read(content)
			return nil
		}
		prev = next
		done.Reached = next
		done.Records++
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading the audit chain: %w", err)
	}
	if done.Records == w.Limit {
		return nil // there may be more
	}
	done.Done = true
	switch {
	case prev.Seq < done.Head.Seq:
		done.Finding = &Finding{Kind: Removed, Seq: prev.Seq + 1, What: missing(prev.Seq+1, done.Head.Seq) +
			", the newest"}
	case prev.Hash != done.Head.Hash:
		done.Finding = &Finding{Kind: Changed, Seq: prev.Seq,
			What: fmt.Sprintf("record %d is not the one that the head names", prev.Seq)}
	case prev.Seq < w.Noted.Seq:
		done.Finding = &Finding{Kind: Removed, Seq: prev.Seq + 1,
			What: fmt.Sprintf("%s: the chain went to %d when you noted its head", missing(prev.Seq+1, w.Noted.Seq),
				w.Noted.Seq)}
	}
	return nil
}

// brokenAsHashed is contained in each record by which a sealer reported a problem.
var brokenAsHashed = []byte("\n" + Broken + "\n")

func noticed(seq int64, content []byte) *Finding {
	_, columns := read(content)
	if len(columns) != width-1 || columns[1] != Broken {
		return nil
	}
	return &Finding{Kind: Noticed, Seq: seq,
		What: fmt.Sprintf("when record %d was sealed, the chain was not as it had been left: %s", seq,
			columns[width-2])}
}

func missing(from, to int64) string {
	if from == to {
		return fmt.Sprintf("record %d is missing", from)
	}
	return fmt.Sprintf("records %d to %d are missing", from, to)
}

// mostAtOnce bounds a walk, and with it how long a database keeps its snapshot.
const mostAtOnce = 500_000

// How far Verify searches for the reason of a mismatch.
const (
	nearby   = 1000
	mostLost = 10_000
)

// diagnose returns what happened to the record after prev, which does not match, by looking at
// those that follow: inserting or removing a record and renumbering leaves hashes that were
// computed for other numbers.
func (c *Chain) diagnose(ctx context.Context, tx *sql.Tx, prev Point) (*Finding, error) {
	near, err := c.near(ctx, tx, prev.Seq)
	if err != nil || len(near) == 0 {
		return nil, err
	}
	first := near[0]
	f := &Finding{Seq: first.seq}
	f.At, _ = read(first.content)
	switch j, alone := wasHere(prev, near); {
	case j > 0 && alone:
		f.Kind, f.What = Reordered,
			fmt.Sprintf("record %d is not in the place that it was sealed in: what was there is record %d now",
				first.seq, near[j].seq)
		return f, nil
	case j > 0:
		f.Kind, f.What = Inserted, fmt.Sprintf("%s put in from %d on, and those after it were renumbered",
			several(int64(j)), first.seq)
		return f, nil
	}
	if len(near) > 1 {
		for d := int64(1); d <= mostLost; d++ {
			if near[1].fits(first.sum(), near[1].seq+d) {
				f.Kind, f.What = Removed, fmt.Sprintf("%s taken out before %d, and those after it were renumbered",
					several(d), first.seq)
				return f, nil
			}
			if d < near[1].seq && near[1].fits(first.sum(), near[1].seq-d) {
				f.Kind, f.What = Inserted, fmt.Sprintf("%s put in before %d, and those after it were renumbered",
					several(d), first.seq)
				return f, nil
			}
		}
	}
	f.Kind, f.What = Changed,
		fmt.Sprintf("record %d does not follow from the one before it: it says something else than when it was "+
			"sealed, or that one was replaced with its hash", first.seq)
	return f, nil
}

func several(n int64) string {
	if n == 1 {
		return "one record was"
	}
	return fmt.Sprintf("%d records were", n)
}

// wasHere finds the record that was sealed in the place of the first one of near, or 0. alone
// reports that only it was moved; otherwise all records sealed after it moved too, and those before
// it are new.
func wasHere(prev Point, near []line) (j int, alone bool) {
	first := near[0]
	for j := 1; j < len(near); j++ {
		here := near[j]
		here.hash = first.hash
		if here.fits(prev.Hash, first.seq) {
			return j, true // the hashes stayed where they were
		}
		if !near[j].fits(prev.Hash, first.seq) {
			continue
		}
		if j+1 < len(near) && !near[j+1].fits(near[j].sum(), first.seq+1) {
			return j, true
		}
		for k := 1; k < len(near); k++ { // was the first one sealed further on?
			if first.fits(near[k].sum(), near[k].seq) || first.fits(near[k].sum(), near[k].seq+1) ||
				first.fits(near[j].sum(), first.seq+1) {
				return j, true
			}
		}
		return j, false
	}
	return 0, false
}

func (l *line) sum() (sum [32]byte) {
	copy(sum[:], l.hash)
	return sum
}

// fits reports whether a record's hash is that of its content with this number after prev.
func (l *line) fits(prev [32]byte, seq int64) bool {
	sum, _ := follow(nil, &prev, seq, l.content)
	return string(l.hash) == string(sum[:])
}

// near reads the records after a number.
func (c *Chain) near(ctx context.Context, tx *sql.Tx, after int64) (near []line, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT seq, hash, "+content+" FROM "+c.Name+
		"_records WHERE seq > $1 ORDER BY seq LIMIT $2", after, nearby)
	if err != nil {
		return nil, fmt.Errorf("reading the audit chain: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var l line
		if err := rows.Scan(&l.seq, &l.hash, &l.content); err != nil {
			return nil, fmt.Errorf("reading an audit record: %w", err)
		}
		near = append(near, l)
	}
	return near, rows.Err()
}
