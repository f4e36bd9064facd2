package chain

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// into returns the destinations of an event's columns.
func into(e *audit.Event) []any {
	return []any{(*seconds)(&e.Time), &e.Actor, &e.Action, &e.Target, &e.Tenant, &e.Client, &e.Grant, &e.Outcome,
		&e.Detail}
}

// seconds is a time in a column.
type seconds time.Time

// Scan implements sql.Scanner.
func (s *seconds) Scan(src any) error {
	at, ok := src.(int64)
	if !ok {
		return fmt.Errorf("a time column holds %T", src)
	}
	*s = seconds(time.Unix(at, 0).UTC())
	return nil
}

// List returns the newest records first, unsealed ones included.
func (c *Chain) List(ctx context.Context, f audit.Filter) ([]audit.Record, error) {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	where, args := conditions(f)
	args = append(args, f.Limit)
	limit := " LIMIT $" + strconv.Itoa(len(args))
	var all []audit.Record
	err := c.snapshot(ctx,
		func(tx *sql.Tx) error { // a record that is sealed meanwhile is neither missed nor returned twice
			for _, from := range []string{
				"SELECT 0, " + columns + " FROM " + c.Name + "_events" + where + " ORDER BY at DESC, id DESC",
				"SELECT seq, " + columns + " FROM " + c.Name + "_records" + where + " ORDER BY at DESC, seq DESC",
			} {
				found, err := list(ctx, tx, from+limit, args)
				if err != nil {
					return err
				}
				all = append(all, found...)
			}
			return nil
		})
	slices.SortStableFunc(all, func(a, b audit.Record) int { return b.Time.Compare(a.Time) })
	return all[:min(len(all), f.Limit)], err
}

// conditions returns a filter as SQL.
func conditions(f audit.Filter) (where string, args []any) {
	var all []string
	also := func(condition string, value any) {
		args = append(args, value)
		all = append(all, strings.ReplaceAll(condition, "?", "$"+strconv.Itoa(len(args))))
	}
	for _, is := range []struct{ column, value string }{
		{"tenant", f.Tenant}, {"client", f.Client}, {"grant_id", f.Grant}, {"outcome", f.Outcome},
	} {
		if is.value != "" {
			also(is.column+" = ?", is.value)
		}
	}
	if f.Actor == audit.Operator {
		also("(actor = ? OR substr(actor, 1, length(?) + 1) = ? || ':')", f.Actor)
	} else if f.Actor != "" {
		also("(actor = ? OR substr(actor, 1, length(?) + 2) = ? || ' (')", f.Actor)
	}
	if f.Action != "" {
		also("(action = ? OR substr(action, 1, length(?) + 1) = ? || '.')", f.Action)
	}
	if f.User != "" {
		also("(actor = 'user:' || ? OR target = ?)", f.User)
	}
	if f.Tool != "" {
		also("target = ?", f.Tool)
	}
	if !f.Since.IsZero() {
		also("at >= ?", f.Since.Unix())
	}
	if !f.Until.IsZero() {
		also("at < ?", f.Until.Unix())
	}
	if len(all) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(all, " AND "), args
}

func list(ctx context.Context, tx *sql.Tx, query string, args []any) (found []audit.Record, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("reading audit lines: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var r audit.Record
		if err := rows.Scan(append([]any{&r.Seq}, into(&r.Event)...)...); err != nil {
			return nil, fmt.Errorf("reading an audit line: %w", err)
		}
		found = append(found, r)
	}
	return found, rows.Err()
}
