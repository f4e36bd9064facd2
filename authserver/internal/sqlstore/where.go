package sqlstore

import (
	"fmt"
	"strings"
)

// where gathers the conditions of a list that is filtered, so that a filter that is not given is no
// part of the statement and the database can use the index of those that are.
type where struct {
	conditions []string
	args       []any
}

// is adds a condition; each ? in it stands for the next of the values.
func (w *where) is(condition string, values ...any) {
	for _, v := range values {
		w.args = append(w.args, v)
		condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(w.args)), 1)
	}
	w.conditions = append(w.conditions, condition)
}

// after lets the list, which is by created_at with the newest first and then by id, begin after the
// row of that id. An id that is not there begins no list.
func (w *where) after(table, alias, id string) {
	if id == "" {
		return
	}
	created := "(SELECT created_at FROM " + table + " WHERE id = ?)"
	w.is(alias+"created_at <= "+created+" AND ("+alias+"created_at < "+created+" OR "+alias+"id > ?)", id, id, id)
}

// newest is the statement and its arguments: the newest first, at most limit rows; 0 means 100.
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
