package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	attempt1 "github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/job"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
)

const idle = 90 * 24 * time.Hour

func keeping() job.Keeping {
	return job.Keeping{Clients: idle, Keys: 30 * 24 * time.Hour, Audit: 400 * 24 * time.Hour}
}

// clean does jobs to their end, all of them when none is named, as they are done at a time, and
// returns how many rows that took away.
func clean(t *testing.T, s Store, at time.Time, names ...string) (removed int64) {
	t.Helper()
	for _, j := range s.Jobs(keeping()) {
		if len(names) > 0 && !slices.Contains(names, j.Name) {
			continue
		}
		for next := ""; ; {
			done, err := j.Batch(ctx, at, next)
			if err != nil {
				t.Fatalf("job %s: %v", j.Name, err)
			}
			if done.Rows > job.Most {
				t.Errorf("job %s: a batch took %d rows, want %d at most", j.Name, done.Rows, job.Most)
			}
			removed += done.Rows
			if next = done.Next; next == "" {
				break
			}
		}
	}
	return removed
}

// exec writes rows that no act makes.
func exec(t *testing.T, s Store, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := s.Audit().Write.ExecContext(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// column reads a column of texts.
func column(t *testing.T, s Store, query string) (all []string) {
	t.Helper()
	rows, err := s.Audit().Read.QueryContext(ctx, query)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var v string
		must(t, rows.Scan(&v))
		all = append(all, v)
	}
	must(t, rows.Err())
	return all
}

// backlog: many rows are deleted in batches, and writers get their turn between and during batches.
func backlog(t *testing.T, open func() Store) {
	const old = 5000
	const batches = old/job.Most + 1
	s := open()
	populate(t, s)
	begun(t, s, "g")
	exec(t, s, fmt.Sprintf(`INSERT INTO refresh_tokens (hash, grant_id, client_id, created_at, expires_at, chain_ends,
		used_at)
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT 'old' || i, 'g', 'cli_app',
		0, 1, 1 + i, 1 FROM n`, old))
	var tokens job.Job
	for _, j := range s.Jobs(keeping()) {
		if j.Name == "refresh-tokens" {
			tokens = j
		}
	}
	var took []int64
	leaf, between := "rt-g", 0
	batch := tokens.Batch
	tokens.Batch = func(ctx context.Context, now time.Time, after string) (job.Done, error) {
		done, err := batch(ctx, now, after)
		took = append(took, done.Rows)
		between++
		next := aToken(fmt.Sprint("rt-", between), "g")
		if err := s.Rotate(ctx, leaf, now, next, event("token.refresh")); err != nil {
			t.Errorf("between two batches: %v", err)
		}
		leaf = next.Hash
		return done, err
	}
	var over atomic.Bool
	var issuing sync.WaitGroup
	issuing.Go(func() { // all the while
		for i := 0; !over.Load(); i++ {
			id := fmt.Sprint("h", i)
			first := aToken("rt-"+id, id)
			if err := errors.Join(s.PutCode(ctx, aGrant(id), aCode(id), event("grant.create")),
				s.Redeem(ctx, "code-"+id, now, &first, event("token.issue"))); err != nil {
				t.Errorf("issuing meanwhile: %v", err)
				return
			}
		}
	})
	state, err := newRunner(s, "one", tokens).Once(ctx, "refresh-tokens", time.Minute)
	over.Store(true)
	issuing.Wait()
	if state.Removed != old || state.Outcome != job.OK || err != nil {
		t.Errorf("got %+v %v, want %d removed", state, err, old)
	}
	if len(took) != batches || slices.Max(took) > job.Most {
		t.Errorf("got batches of %v, want %d of %d at most", took, batches, job.Most)
	}
	if left := column(t, s, "SELECT hash FROM refresh_tokens WHERE hash LIKE 'old%'"); len(left) > 0 {
		t.Errorf("%d are left", len(left))
	}
	if _, _, err := s.RefreshToken(ctx, leaf); err != nil {
		t.Errorf("the living one: %v", err)
	}
}

// oneSecondYounger: each job takes what is over, and nothing that is one second younger, or that
// something still hangs from.
func oneSecondYounger(t *testing.T, open func() Store) {
	const hour, day = 3600, 86400
	s := open()
	populate(t, s)
	at := func(ago int) int64 { return now.Unix() - int64(ago) }
	grants := func(rows ...string) string {
		return "INSERT INTO grants (id, tenant_id, client_id, user_id, resource, scopes, created_at, asserted_at, " +
			"ended_at) VALUES " + strings.Join(rows, ", ")
	}
	aGrantAt := func(id, clientID string, created int, rest string) string {
		return fmt.Sprintf("('%s', 'acme', '%s', 'usr_ann', 'r', '[]', %d, %s)", id, clientID, at(created), rest)
	}
	code := func(id string, expires int, used string) string {
		return fmt.Sprintf("INSERT INTO codes (hash, grant_id, client_id, redirect_uri, challenge, created_at, "+
			"expires_at, used_at) VALUES ('%s', '%s', 'cli_app', '', '', 0, %d, %s)", id, id, at(expires), used)
	}
	token := func(hash, id string, expires, chain int) string {
		return fmt.Sprintf("INSERT INTO refresh_tokens (hash, grant_id, client_id, created_at, expires_at, "+
			"chain_ends) VALUES ('%s', '%s', 'cli_app', 0, %d, %d)", hash, id, at(expires), at(chain))
	}
	initial := func(hash string, expires int) string {
		return fmt.Sprintf("INSERT INTO initial_tokens (hash, tenant_id, scopes, expires_at, uses, created_at) "+
			"VALUES ('%s', 'acme', '[]', %d, 1, 0)", hash, at(expires))
	}
	for _, c := range []struct {
		id     string
		ago    int
		origin string
	}{
		{"new-over", hour + 1, client.OriginRegistration}, {"new-younger", hour, client.OriginRegistration},
		{"new-document", hour + 1, client.OriginDocument}, {"new-operators", hour + 1, client.OriginOperator},
		{"new-tenants", hour + 1, client.OriginInitialToken}, {"new-let-in", hour + 1, client.OriginRegistration},
		{"idle-over", 90*day + 1, client.OriginRegistration}, {"idle-younger", 90 * day, client.OriginRegistration},
		{"idle-alive", 91 * day, client.OriginRegistration},
		{"idle-lately", 91 * day, client.OriginDocument}, {"idle-operators", 91 * day, client.OriginOperator},
	} {
		must(t, s.CreateClient(ctx, client.Client{ID: c.id, Origin: c.origin, CreatedAt: time.Unix(at(c.ago), 0)}))
	}
	ended := func(ago int) string { return fmt.Sprintf("NULL, %d", at(ago)) }
	const alive = "NULL, NULL"
	exec(t, s,
		grants(aGrantAt("fresh", "cli_app", 0, alive), aGrantAt("over", "cli_app", day+1, alive),
			aGrantAt("younger", "cli_app", day, alive),
			aGrantAt("asserted", "cli_app", 9*day, fmt.Sprintf("%d, NULL", at(day))),
			aGrantAt("coded", "cli_app", 2*day, alive), aGrantAt("uncoded", "cli_app", 2*day, alive),
			aGrantAt("renewable", "cli_app", 2*day, alive), aGrantAt("renewed", "cli_app", 2*day, alive),
			aGrantAt("new", "new-let-in", 10, alive),
			aGrantAt("1", "idle-over", 100*day, ended(90*day)), aGrantAt("2", "idle-younger", 100*day, ended(90*day)),
			aGrantAt("3", "idle-alive", 10, alive), aGrantAt("4", "idle-lately", 100*day, ended(90*day-1)),
			aGrantAt("5", "idle-operators", 100*day, ended(100*day))),
		code("over", hour+1, "NULL"), code("younger", hour, "NULL"), code("fresh", hour+9, "1"),
		code("coded", -1, "NULL"), code("uncoded", 0, "NULL"),
		token("over", "fresh", 9, 1), token("younger", "fresh", 9, 0), token("renewable", "renewable", day-1, -9),
		token("renewed", "renewed", day, -9),
		initial("over", 1), initial("younger", 0),
		fmt.Sprintf("INSERT INTO used_assertions (hash, expires_at) VALUES ('over', %d), ('younger', %d)", at(61),
			at(60)))
	for id, ago := range map[string]int{"over": 30*day + 1, "younger": 30 * day} {
		r := attempt1.Attempt{ID: id, Client: id, StartedAt: time.Unix(at(ago), 0), UpdatedAt: time.Unix(at(ago), 0),
			Step: attempt1.Token, Outcome: attempt1.Done}
		must(t, s.PutAttempts(ctx, []attempt1.Entry{{Attempt: r}}))
	}
	c := anchored(s)
	sealAll(t, c)
	for i, ago := range []int{400*day + 1, 400 * day} {
		e := event(fmt.Sprint("old", i))
		e.Time = time.Unix(at(ago), 0)
		must(t, s.Record(ctx, e))
	}
	sealAll(t, c)
	for _, row := range []struct {
		job, query string
		left       []string
	}{
		{"refresh-tokens", "SELECT hash FROM refresh_tokens ORDER BY hash",
			[]string{"renewable", "renewed", "younger"}},
		{"codes", "SELECT hash FROM codes ORDER BY hash", []string{"coded", "fresh", "uncoded", "younger"}},
		{"initial-tokens", "SELECT hash FROM initial_tokens", []string{"younger"}},
		{"assertions", "SELECT hash FROM used_assertions", []string{"younger"}},
		{"grants", "SELECT id FROM grants WHERE ended_at IS NULL ORDER BY id",
			[]string{"3", "asserted", "coded", "fresh", "new", "renewable", "younger"}},
		{"unused-clients", "SELECT id FROM clients WHERE id LIKE 'new-%' ORDER BY id",
			[]string{"new-let-in", "new-operators", "new-tenants", "new-younger"}},
		{"idle-clients", "SELECT id FROM clients WHERE id LIKE 'idle-%' AND deleted_at IS NULL ORDER BY id",
			[]string{"idle-alive", "idle-lately", "idle-operators", "idle-younger"}},
		{"connections", "SELECT id FROM connections", []string{"younger"}},
		{"audit", "SELECT action FROM audit_records ORDER BY seq", []string{"old1"}},
	} {
		clean(t, s, now, row.job)
		same(t, row.job, row.left, column(t, s, row.query), nil)
	}
	wantWhole(t, "the audit", c, chain.Point{}, 1)
	if g, err := s.Grant(ctx, "over"); err != nil || g.RevokeReason != grant.ReasonExpired || !g.RevokedAt.Equal(now) {
		t.Errorf("a grant that is over: got %+v %v, want it ended now", g, err)
	}
	if n := clean(t, s, now); n != 0 {
		t.Errorf("once more: got %d removed, want none", n)
	}
}
