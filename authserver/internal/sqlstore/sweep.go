package sqlstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/job"
)

// sweep describes how a table is rid of expired rows. Rows are read along an index in batches,
// without blocking writers. Only those that are due are written, by a statement that checks all
// conditions again, because a row may have changed meanwhile.
//
// In all conditions c is the row, $1 is now, and {past} is the time before which along must be.
type sweep struct {
	table string
	key   string        // primary key
	along string        // the indexed column, with
	of    string        // the condition of its rows; empty: all of them
	keep  time.Duration // how long rows stay after along
	due   string        // which of the older rows are due; empty: all
	set   string        // what is set in them; empty: they are deleted
}

// batch returns the sweep as the batches of a job.
func (d *DB) batch(w sweep) func(ctx context.Context, now time.Time, after string) (job.Done, error) {
	return func(ctx context.Context, now time.Time, after string) (job.Done, error) {
		due, next, err := d.look(ctx, w, now, after)
		if err != nil {
			return job.Done{}, fmt.Errorf("looking for expired rows of %s: %w", w.table, err)
		}
		if len(due) == 0 {
			return job.Done{Next: next}, nil
		}
		args := []any{now.Unix(), int64(w.keep / time.Second)}
		for _, key := range due {
			args = append(args, key)
		}
		r, err := d.write.ExecContext(ctx, w.act(len(due), !d.db.Postgres), args...)
		if err != nil {
			return job.Done{}, fmt.Errorf("deleting expired rows of %s: %w", w.table, err)
		}
		n, err := r.RowsAffected()
		return job.Done{Rows: n, Next: next}, err
	}
}

// look reads the next rows, and returns the keys of those that are due and where to go on; next is
// empty at the end.
func (d *DB) look(ctx context.Context, w sweep, now time.Time, after string) (due []string, next string, err error) {
	at, key := int64(-1), ""
	if number, rest, ok := strings.Cut(after, " "); ok {
		if at, err = strconv.ParseInt(number, 10, 64); err != nil {
			return nil, "", err
		}
		key = rest
	}
	rows, err := d.read.QueryContext(ctx, w.look(), now.Unix(), int64(w.keep/time.Second), at, key, job.Most)
	if err != nil {
		return nil, "", err
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var over bool
		if err := rows.Scan(&key, &at, &over); err != nil {
			return nil, "", err
		}
		if over {
			due = append(due, key)
		}
	}
	if n == job.Most {
		next = strconv.FormatInt(at, 10) + " " + key
	}
	return due, next, rows.Err()
}

// look returns the statement that reads the next rows.
func (w sweep) look() string {
	return w.with("SELECT c." + w.key + ", " + w.along + ", (" + either(w.due, "TRUE") + ") FROM " + w.table +
		" c WHERE " + w.along + " < {past} AND " + either(w.of, "TRUE") +
		" AND " + w.along + " >= $3 AND (" + w.along + ", c." + w.key + ") > ($3, $4) ORDER BY " + w.along + ", c." +
		w.key + " LIMIT $5")
}

// act returns the statement that removes n rows. SQLite, which has no statistics of its tables, is
// told to find them by key: it could otherwise scan a whole index while blocking writers.
func (w sweep) act(n int, sqlite bool) string {
	rows := w.table + " AS c"
	if sqlite {
		rows += " INDEXED BY sqlite_autoindex_" + w.table + "_1"
	}
	act := "DELETE FROM " + rows
	if w.set != "" {
		act = "UPDATE " + rows + " SET " + w.set
	}
	return w.with(act + " WHERE " + w.along + " < {past} AND " + either(w.of, "TRUE") + " AND " +
		either(w.due, "TRUE") + " AND c." + w.key + " IN (" + places(3, n) + ")")
}

func (w sweep) with(query string) string {
	return strings.ReplaceAll(query, "{past}", "CAST($1 AS BIGINT) - CAST($2 AS BIGINT)")
}

// places returns n parameters, from $first on.
func places(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("$" + strconv.Itoa(first+i))
	}
	return b.String()
}

func either(condition, otherwise string) string {
	if condition == "" {
		return otherwise
	}
	return condition
}
