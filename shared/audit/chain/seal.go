package chain

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// batch bounds how many events one transaction seals or deletes, so that no request waits long for
// it.
const batch = 500

// Broken is the action of the record that a sealer writes when the head is not as a sealer left it.
const Broken = "audit.broken"

// Seal seals committed events, at most a batch, and returns how many. It waits for another sealer.
// A head that is not as a sealer left it is recorded as the next record, and stops nothing.
func (c *Chain) Seal(ctx context.Context) (n int, err error) {
	var waiting int
	if err := c.Read.QueryRowContext(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM "+c.Name+"_events LIMIT 1) AS one").Scan(
		&waiting); err != nil {
		return 0, fmt.Errorf("looking for audit lines: %w", err)
	}
	if waiting == 0 {
		return 0, nil
	}
	var end Point
	err = c.tx(ctx, func(tx *sql.Tx) error {
		n, end, err = c.seal(ctx, tx)
		return err
	})
	if err != nil {
		return 0, err
	}
	if n > 0 {
		c.remember(end)
	}
	return n, nil
}

// Add writes and seals events in one transaction, which costs half as much as waiting for a sealer.
// It waits for a running sealer.
func (c *Chain) Add(ctx context.Context, events []audit.Event) error {
	if len(events) == 0 {
		return nil
	}
	lines := make([]waiting, len(events))
	for i, e := range events {
		lines[i].line = e
	}
	c.prepare(ctx)
	var end Point
	err := c.tx(ctx, func(tx *sql.Tx) (err error) {
		_, end, err = c.sealing(ctx, c.prepared(tx), func() ([]waiting, error) { return lines, nil })
		return err
	})
	if err != nil {
		return err
	}
	c.remember(end)
	return nil
}

func (c *Chain) seal(ctx context.Context, tx *sql.Tx) (int, Point, error) {
	return c.sealing(ctx, tx, func() ([]waiting, error) { return c.take(ctx, tx) })
}

// sealing locks the head, and seals the events that take returns.
func (c *Chain) sealing(ctx context.Context, tx session, take func() ([]waiting, error)) (int, Point, error) {
	h, broken, err := c.ending(ctx, tx)
	if err != nil {
		return 0, Point{}, err
	}
	events, err := take()
	if err != nil || len(events) == 0 {
		return 0, Point{}, err
	}
	if broken != "" {
		events = append(
			[]waiting{{line: audit.Event{Time: time.Now(), Actor: "system", Action: Broken, Outcome: audit.Failed,
				Detail: broken}}}, events...)
	}
	end, err := c.append(ctx, tx, h.end, events)
	if err != nil {
		return 0, Point{}, err
	}
	h.end = end
	return len(events), end, c.keep(ctx, tx, h)
}

// Begin authenticates the head of a chain without records. It is called once for an installation,
// before the first event is sealed: an empty head without a code shows that the chain was removed.
// A head with a code, or records, stays as it is. began reports whether this call did it.
func (c *Chain) Begin(ctx context.Context) (began bool, err error) {
	err = c.tx(ctx, func(tx *sql.Tx) error {
		h, err := c.head(ctx, tx, c.Lock)
		if err != nil {
			return err
		}
		newest, err := c.newest(ctx, tx)
		if err != nil || newest.Seq > 0 || h.base.Seq > 0 || h.end.Seq > 0 || len(h.mac) > 0 {
			return err
		}
		began = true
		return c.keep(ctx, tx, h)
	})
	return began && err == nil, err
}

// ending locks the head and returns where the next record goes, and in words what is not as a
// sealer left it.
func (c *Chain) ending(ctx context.Context, tx session) (h head, broken string, err error) {
	h, err = c.head(ctx, tx, c.Lock)
	gone := errors.Is(err, errNoHead)
	if err != nil && !gone {
		return h, "", err
	}
	newest, err := c.newest(ctx, tx)
	if err != nil {
		return h, "", err
	}
	known, believed := c.known(), c.believed(h)
	switch {
	case gone:
		broken = "the head was gone"
		if _, err := tx.ExecContext(ctx,
			"INSERT INTO "+c.Name+"_head (id, base, base_hash, seq, hash, mac) VALUES (1, 0, $1, 0, $1, $1)",
			[]byte{}); err != nil {
			return h, "", fmt.Errorf("making a head for the audit chain: %w", err)
		}
	case !believed:
		broken = "the head was written without the key: " + h.end.String()
	case newest.Seq > h.end.Seq:
		broken = fmt.Sprintf("there were records after the head, which was %s", h.end)
	case h.end.Seq < known.Seq:
		broken = fmt.Sprintf("the head went back to %d from %s", h.end.Seq, known)
	case known.Seq > 0:
		there, err := c.point(ctx, tx, numbered, known.Seq)
		if err != nil {
			return h, "", err
		}
		if there.Seq != 0 && there.Hash != known.Hash {
			// a missing one is found by Verify, or has expired
			broken = fmt.Sprintf("record %s had become %s", known, there)
		}
	}
	if broken != "" && (newest.Seq >= h.end.Seq || !believed) {
		// an invented number is not continued
		h.end = newest
	}
	return h, broken, nil
}

// waiting is an unsealed event.
type waiting struct {
	id   int64
	line audit.Event
}

// take returns the oldest waiting events. Ids are assigned before commit, so an event may appear
// with a lower id than sealed ones; what exists counts.
func (c *Chain) take(ctx context.Context, tx *sql.Tx) (taken []waiting, err error) {
	rows, err := tx.QueryContext(ctx, "DELETE FROM "+c.Name+"_events WHERE id IN (SELECT id FROM "+c.Name+
		"_events ORDER BY id LIMIT $1) RETURNING id, "+columns, batch)
	if err != nil {
		return nil, fmt.Errorf("taking audit lines: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var w waiting
		if err := rows.Scan(append([]any{&w.id}, into(&w.line)...)...); err != nil {
			return nil, fmt.Errorf("reading an audit line: %w", err)
		}
		taken = append(taken, w)
	}
	slices.SortFunc(taken, func(a, b waiting) int { return cmp.Compare(a.id, b.id) })
	return taken, rows.Err()
}

// append seals events after prev.
func (c *Chain) append(ctx context.Context, tx Execer, prev Point, events []waiting) (Point, error) {
	var scratch []byte
	rows := make([]any, 0, len(events)*(width+2))
	for _, w := range events {
		row := Row(w.line)
		prev.Seq++
		prev.Hash, scratch = follow(scratch, &prev.Hash, prev.Seq, write(row))
		rows = append(append(rows, prev.Seq, slices.Clone(prev.Hash[:])), row...)
	}
	for len(rows) > 0 {
		n := c.atOnce(len(rows) / (width + 2))
		args := rows[:n*(width+2)]
		rows = rows[len(args):]
		if c.Lock != "" {
			args = columnwise(args)
		}
		if _, err := tx.ExecContext(ctx, c.placing(n), args...); err != nil {
			return Point{}, fmt.Errorf("giving audit lines their place: %w", err)
		}
	}
	return prev, nil
}

// keep stores a locked head.
func (c *Chain) keep(ctx context.Context, tx Execer, h head) error {
	mac := []byte{}
	if len(c.keys) > 0 {
		mac = c.word(c.keys[0], h)
	}
	_, err := tx.ExecContext(ctx, c.keeping(),
		h.base.Seq, h.base.Hash[:], h.end.Seq, h.end.Hash[:], mac)
	if err != nil {
		return fmt.Errorf("writing the head of the audit chain: %w", err)
	}
	return nil
}

func (c *Chain) known() Point {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

func (c *Chain) remember(p Point) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = p
}

// Prune deletes records older than before, and stores in the head where the chain begins then. It
// returns how many were deleted.
func (c *Chain) Prune(ctx context.Context, before time.Time) (total int64, err error) {
	for {
		n, more, err := c.PruneSome(ctx, before)
		total += n
		if err != nil || !more {
			return total, err
		}
	}
}

// PruneSome is Prune for one batch in one transaction, and reports whether there may be more.
func (c *Chain) PruneSome(ctx context.Context, before time.Time) (n int64, more bool, err error) {
	err = c.tx(ctx, func(tx *sql.Tx) error {
		n, err = c.prune(ctx, tx, before)
		return err
	})
	if err != nil {
		return 0, false, err
	}
	return n, n == batch, nil
}

func (c *Chain) prune(ctx context.Context, tx *sql.Tx, before time.Time) (int64, error) {
	h, err := c.head(ctx, tx, c.Lock)
	if err != nil {
		return 0, err
	}
	if !c.believed(h) {
		return 0, errors.New("the head of the audit chain is not as a sealer leaves it: nothing is deleted before " +
			"the next line is sealed")
	}
	rows, err := tx.QueryContext(ctx, "SELECT seq, hash, at FROM "+c.Name+
		"_records WHERE seq > $1 ORDER BY seq LIMIT $2", h.base.Seq, batch)
	if err != nil {
		return 0, fmt.Errorf("reading old audit records: %w", err)
	}
	defer rows.Close()
	n, gap := int64(0), error(nil)
	for rows.Next() {
		var p Point
		var sum []byte
		var at int64
		if err := rows.Scan(&p.Seq, &sum, &at); err != nil {
			return 0, fmt.Errorf("reading old audit records: %w", err)
		}
		if at >= before.Unix() || p.Seq > h.end.Seq {
			break
		}
		if p.Seq != h.base.Seq+1 { // a damaged chain is kept for Verify
			gap = fmt.Errorf("%s: what is older than that is kept, too", missing(h.base.Seq+1, p.Seq-1))
			break
		}
		copy(p.Hash[:], sum)
		h.base = p
		n++
	}
	if err := cmp.Or(rows.Err(), rows.Close()); err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, gap
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM "+c.Name+"_records WHERE seq <= $1", h.base.Seq); err != nil {
		return 0, fmt.Errorf("deleting old audit records: %w", err)
	}
	return n, c.keep(ctx, tx, h)
}

// The sealer's times.
const (
	sealEvery = 500 * time.Millisecond
	sealTime  = 10 * time.Second // for one batch, and about that for one turn
	noteEvery = time.Hour
	tellEvery = time.Minute // while many lines wait
	// restShare is how much longer than a full batch took the sealer rests, so that it uses a tenth
	// of the writer's time at most.
	restShare = 9
)

// Run seals until ctx ends, and once more then. A problem is logged when it begins, and retried.
// Once an hour and at the end the head is logged, which someone who can only write the database
// cannot undo. While more wait than one turn seals, progress is logged once a minute.
func (c *Chain) Run(ctx context.Context, log *slog.Logger) {
	turn := time.NewTicker(sealEvery)
	defer turn.Stop()
	noting := time.NewTicker(noteEvery)
	defer noting.Stop()
	failing, p, noted := "", progress{chain: c, log: log}, Point{}
	for ctx.Err() == nil {
		note := false
		select {
		case <-ctx.Done():
		case <-turn.C:
		case <-noting.C:
			note = true
		}
		n, more, err := c.turn(ctx)
		p.tell(ctx, n, more)
		switch {
		case err == nil:
			failing = ""
		case err.Error() != failing:
			failing = err.Error()
			log.Error("audit lines wait for their place in the chain", "chain", c.Name, "error", err)
		}
		if end := c.known(); (note || ctx.Err() != nil) && end != noted {
			noted = end
			log.Info("the head of the audit chain", "chain", c.Name, "head", end.String())
		}
	}
}

// turn seals what waits, for at most sealTime, resting between full batches unless ctx has ended.
// more reports that events are left.
func (c *Chain) turn(ctx context.Context) (sealed int, more bool, err error) {
	begun := time.Now()
	for {
		started := time.Now()
		n, err := c.sealInTime(context.WithoutCancel(ctx))
		sealed += n
		if err != nil || n < batch {
			return sealed, false, err
		}
		if time.Since(begun) > sealTime {
			return sealed, true, nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(restShare * time.Since(started)):
		}
	}
}

func (c *Chain) sealInTime(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, sealTime)
	defer cancel()
	return c.Seal(ctx)
}

// progress logs how a backlog shrinks.
type progress struct {
	chain  *Chain
	log    *slog.Logger
	sealed int       // since the backlog was noticed; 0: there is none
	told   time.Time // when that was last logged
}

func (p *progress) tell(ctx context.Context, n int, more bool) {
	if p.sealed == 0 && !more {
		return
	}
	p.sealed += n
	if !more {
		p.log.Info("the audit lines that waited have their place in the chain", "chain", p.chain.Name, "sealed",
			p.sealed)
		p.sealed = 0
		return
	}
	if time.Since(p.told) < tellEvery {
		return
	}
	p.told = time.Now()
	p.log.Info("audit lines get their place in the chain", "chain", p.chain.Name, "sealed", p.sealed, "waiting_at_most",
		p.chain.waitingAtMost(ctx))
}

// waitingAtMost returns an upper bound of the waiting events; their ids have gaps.
func (c *Chain) waitingAtMost(ctx context.Context) (n int64) {
	if err := c.Read.QueryRowContext(ctx, "SELECT COALESCE(MAX(id) - MIN(id) + 1, 0) FROM "+c.Name+
		"_events").Scan(&n); err != nil {
		return -1
	}
	return n
}
