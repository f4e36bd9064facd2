package chain

import (
	"context"
	"database/sql"
	"slices"
)

// session is a transaction, or one whose statements are prepared.
type session interface {
	queryer
	Execer
}

// The statements that seal. Their texts are constant, so that each is prepared once: by the
// PostgreSQL driver, and for SQLite here.

func (c *Chain) heading() string {
	return "SELECT base, base_hash, seq, hash, mac FROM " + c.Name + "_head WHERE id = 1"
}

// Which record is wanted.
const (
	last     = "ORDER BY seq DESC LIMIT 1"
	numbered = "WHERE seq = $1"
)

func (c *Chain) pointing(which string) string {
	return "SELECT seq, hash FROM " + c.Name + "_records " + which
}

func (c *Chain) keeping() string {
	return "UPDATE " + c.Name + "_head SET base = $1, base_hash = $2, seq = $3, hash = $4, mac = $5 WHERE id = 1"
}

// placing inserts n records. PostgreSQL gets each column as an array.
func (c *Chain) placing(n int) string {
	into := "INSERT INTO " + c.Name + "_records (seq, hash, " + columns + ") "
	if c.Lock == "" {
		return into + "VALUES " + c.Places(1, n, width+2)
	}
	return into + "SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::text[], $5::text[], $6::text[], " +
		"$7::text[], $8::text[], $9::text[], $10::text[], $11::text[])"
}

// steps are the numbers of rows for which SQLite has a statement.
var steps = []int{32, 8, 1}

// atOnce returns how many of n rows one statement inserts.
func (c *Chain) atOnce(n int) int {
	if c.Lock != "" {
		return n
	}
	return steps[slices.IndexFunc(steps, func(step int) bool { return step <= n })]
}

// columnwise turns rows of records into an array of each column.
func columnwise(rows []any) []any {
	n := len(rows) / (width + 2)
	numbers, hashes, times := make([]int64, n), make([][]byte, n), make([]int64, n)
	texts := make([][]string, width-1)
	for i := range texts {
		texts[i] = make([]string, n)
	}
	for i := range n {
		row := rows[i*(width+2) : (i+1)*(width+2)]
		numbers[i], hashes[i], times[i] = row[0].(int64), row[1].([]byte), row[2].(int64)
		for j := range texts {
			texts[j][i] = row[3+j].(string)
		}
	}
	all := []any{numbers, hashes, times}
	for _, t := range texts {
		all = append(all, t)
	}
	return all
}

// prepare prepares the statements of SQLite before a transaction takes the connection. A statement
// that cannot be prepared now is executed unprepared.
func (c *Chain) prepare(ctx context.Context) {
	if c.Lock != "" || c.statements.Load() != nil {
		return
	}
	texts := []string{c.heading(), c.pointing(last), c.pointing(numbered), c.keeping()}
	for _, n := range steps {
		texts = append(texts, c.placing(n))
	}
	all := map[string]*sql.Stmt{}
	for _, text := range texts {
		s, err := c.Write.PrepareContext(ctx, text)
		if err != nil {
			break
		}
		all[text] = s
	}
	if len(all) < len(texts) || !c.statements.CompareAndSwap(nil, &all) { // another goroutine was faster
		for _, s := range all {
			_ = s.Close()
		}
	}
}

// prepared returns a transaction that uses the prepared statements.
func (c *Chain) prepared(tx *sql.Tx) session {
	if all := c.statements.Load(); all != nil {
		return &preparedTx{tx, *all}
	}
	return tx
}

type preparedTx struct {
	*sql.Tx
	statements map[string]*sql.Stmt
}

// ExecContext implements Execer.
func (x *preparedTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if s := x.statements[query]; s != nil {
		return x.StmtContext(ctx, s).ExecContext(ctx, args...)
	}
	return x.Tx.ExecContext(ctx, query, args...)
}

// QueryRowContext implements queryer.
func (x *preparedTx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if s := x.statements[query]; s != nil {
		return x.StmtContext(ctx, s).QueryRowContext(ctx, args...)
	}
	return x.Tx.QueryRowContext(ctx, query, args...)
}
