package calls

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// A process that serves has a row, which it updates regularly and deletes when all records are
// written. A row that is left belongs to a killed process: its last records may be missing.
const (
	beatEvery = 5 * time.Second
	deadAfter = 4 * beatEvery // if several processes share a database; a file has one process
	readEvery = time.Second   // of the settings
)

// enter inserts the row of the process, and looks for rows that were left.
func (l *Log) enter(ctx context.Context) {
	l.run = rand.Text()
	l.note(l.beat(ctx))
	l.note(l.bury(ctx))
	l.beats.Go(func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() {
			select {
			case <-l.stop:
			case <-ctx.Done():
			}
			cancel()
		}()
		l.keepBeating(ctx)
	})
}

// keepBeating updates the row and reads the settings until ctx is done. The first of several errors
// is logged.
func (l *Log) keepBeating(ctx context.Context) {
	turn, failing := time.NewTicker(readEvery), false
	defer turn.Stop()
	for n := time.Duration(1); ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-turn.C:
		}
		short, cancel := context.WithTimeout(ctx, writeWait)
		err := l.Refresh(short)
		if err == nil && n%(beatEvery/readEvery) == 0 {
			if err = l.beat(short); err == nil {
				err = l.bury(short)
			}
		}
		cancel()
		if err != nil && !failing && ctx.Err() == nil {
			l.note(err)
		}
		failing = err != nil
	}
}

// beat updates the row.
func (l *Log) beat(ctx context.Context) error {
	now := l.now().Unix()
	return l.book.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO call_runs (id, began_at, alive_at) VALUES ($1, $2, $2)
			ON CONFLICT (id) DO UPDATE SET alive_at = excluded.alive_at`, l.run, now)
		if err != nil {
			return fmt.Errorf("saying that this process is alive: %w", err)
		}
		return nil
	})
}

// left is a row that was left.
type left struct {
	id           string
	began, alive int64
}

// bury records that processes were killed, each once, by any process.
func (l *Log) bury(ctx context.Context) error {
	now := l.now()
	dead := now.Add(-deadAfter).Unix()
	if l.book.Embedded() {
		dead = now.Add(deadAfter).Unix() // whatever the time
	}
	var found []left
	err := l.book.Read(ctx, func(scan func(...any) error) error {
		var f left
		err := scan(&f.id, &f.began, &f.alive)
		found = append(found, f)
		return err
	}, "SELECT id, began_at, alive_at FROM call_runs WHERE id <> $1 AND alive_at < $2 ORDER BY id LIMIT 100",
		l.run, dead)
	if err != nil {
		return fmt.Errorf("looking for processes that were killed: %w", err)
	}
	for _, f := range found {
		err := l.book.Write(ctx, func(tx *sql.Tx) error {
			r, err := tx.ExecContext(ctx, "DELETE FROM call_runs WHERE id = $1 AND alive_at = $2", f.id, f.alive)
			if err != nil {
				return fmt.Errorf("deleting the row of a process that was killed: %w", err)
			}
			if n, err := r.RowsAffected(); err != nil || n == 0 {
				return err
			}
			return l.book.Calls().Insert(ctx, tx, audit.Event{
				Time: now, Actor: "system", Action: ActionGap, Outcome: audit.Failed,
				Detail: fmt.Sprintf("a process that began at %s and was last known to run at %s was not stopped in "+
					"order: records of calls that changed nothing may be missing: of the 20 ms before its end, and "+
					"of the time in which the store took none",
					moment(f.began), moment(f.alive)),
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func moment(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }

// leave deletes the row, unless lost records are not recorded.
func (l *Log) leave() {
	l.mu.Lock()
	gap := !l.gap.since.IsZero()
	l.mu.Unlock()
	if l.run == "" || gap {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeWait)
	defer cancel()
	l.note(l.book.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM call_runs WHERE id = $1", l.run)
		return err
	}))
}
