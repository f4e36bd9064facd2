package sqlstore

import (
	"fmt"
	"strings"
)

// where collects the conditions of a filtered list, so that an absent filter is not part of the
// statement and the indexes of the others can be used.
type where struct {
	conditions []string
	args       []any
}

// is adds a condition; each ? in it stands for the next value.
func (w *where) is(condition string, values ...any) {
	for _, v := range values {
		w.args = append(w.args, v)
		condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(w.args)), 1)
	}
	w.conditions = append(w.conditions, condition)
}

// after begins the list, ordered by created_at descending and id, after the row of that id; with an
// unknown id it is empty.
func (w *where) after(table, alias, id string) {
	if id == "" {
		return
	}
	created := "(SELECT created_at FROM " + table + " WHERE id = ?)"
	w.is(alias+"created_at <= "+created+" AND ("+alias+"created_at < "+created+" OR "+alias+"id > ?)", id, id, id)
}

// newest returns the statement and its arguments: the newest first, at most limit rows; 0 means
// 100.
func (w *where) newest(selected, alias string, limit int) (query string, args []any) {
	if limit == 0 {
		limit = 100
	}
	args = append(w.args, limit)
	if len(w.conditions) > 0 {
		selected += " WHERE " + strings.Join(w.conditions, " AND ")
	}
	return fmt.Sprintf("%s ORDER BY %screated_at DESC, %sid LIMIT $%d", selected, alias, alias, len(args)), args
}
