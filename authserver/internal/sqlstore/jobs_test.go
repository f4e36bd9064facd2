package sqlstore_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/job"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/sqlstore"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// No job reads a table whole: what it looks for is in the order of an index, from where the batch
// before it ended, and what it takes away is found by its key.
func TestJobsUseIndexes(t *testing.T) {
	looking, taking := []any{1000, 10, -1, "", job.Most}, []any{1000, 10}
	for n := range job.Most {
		taking = append(taking, fmt.Sprint("key", n))
	}
	t.Run("sqlite", func(t *testing.T) {
		database := sqliteFile(t)
		begin(t, database)
		raw := rawDB(t, "sqlite", database)
		for name, s := range sqlstore.SweepStatements(job.Most, true) {
			plan := planOf(t, raw, "EXPLAIN QUERY PLAN "+s[0], looking)
			if strings.Contains(plan, "SCAN ") || !strings.Contains(plan, ">") {
				t.Errorf("%s looks at more than it must:\n%s\n%s", name, s[0], plan)
			}
			plan = planOf(t, raw, "EXPLAIN QUERY PLAN "+s[1], taking)
			if strings.Contains(plan, "SCAN ") || !strings.Contains(plan, "SEARCH c USING INDEX sqlite_autoindex_") {
				t.Errorf("%s holds the database for more than it must:\n%s\n%s", name, s[1], plan)
			}
		}
	})
	t.Run("postgres", func(t *testing.T) {
		database := testenv.Postgres(t)
		begin(t, database)
		raw := rawDB(t, "postgres", database)
		raw.SetMaxOpenConns(1)
		// it is what tables without rows are read by; where no index helps, others are, too
		_, err := raw.Exec("SET enable_seqscan = off")
		must(t, err)
		for name, s := range sqlstore.SweepStatements(job.Most, false) {
			for i, args := range [][]any{looking, taking} {
				if plan := planOf(t, raw, "EXPLAIN (COSTS OFF) "+s[i], args); strings.Contains(plan, "Seq Scan") {
					t.Errorf("%s reads a table whole:\n%s\n%s", name, s[i], plan)
				}
			}
		}
	})
}

// planOf is how a database would do a statement: the last column of each line.
func planOf(t *testing.T, db *sql.DB, explain string, args []any) (plan string) {
	t.Helper()
	rows, err := db.Query(explain, args...)
	must(t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	must(t, err)
	for rows.Next() {
		line := make([]any, len(columns))
		for i := range line {
			line[i] = new(any)
		}
		must(t, rows.Scan(line...))
		plan += fmt.Sprintln(*line[len(line)-1].(*any))
	}
	must(t, rows.Err())
	return plan
}
