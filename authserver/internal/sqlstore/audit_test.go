package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/sqlstore"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// writerDatabase and writerName tell a process that it is one of TestProcessesWriteAtOnce's.
const (
	writerDatabase = "GATEHOUSE_TEST_AUDIT_DATABASE"
	writerName     = "GATEHOUSE_TEST_AUDIT_WRITER"
	linesEach      = 300
)

var key = []byte("the key of the head, in these tests")

// Two processes write and seal at once, and the chain holds: each line has one place, and none is
// missing.
func TestProcessesWriteAtOnce(t *testing.T) {
	if database := os.Getenv(writerDatabase); database != "" {
		writeAndSeal(t, database)
		return
	}
	for dialect, database := range map[string]string{"sqlite": sqliteFile(t), "postgres": testenv.Postgres(t)} {
		t.Run(dialect, func(t *testing.T) {
			s := begin(t, database)()
			const writers = 2
			var running sync.WaitGroup
			for w := range writers {
				running.Go(func() {
					c := exec.Command(os.Args[0], "-test.run=^TestProcessesWriteAtOnce$")
					c.Env = append(os.Environ(), writerDatabase+"="+database, writerName+"="+strconv.Itoa(w))
					if out, err := c.CombinedOutput(); err != nil {
						t.Errorf("process %d: %v\n%s", w, err, out)
					}
				})
			}
			running.Wait()
			s.Audit().Anchor(key)
			began(t, s)
			for n := 1; n > 0; {
				var err error
				n, err = s.Audit().Seal(t.Context())
				must(t, err)
			}
			w, err := s.Audit().Verify(t.Context(), chain.Walk{Limit: 10 * writers * linesEach})
			must(t, err)
			if w.Finding != nil || w.Records != writers*linesEach {
				t.Errorf("got %d records and %+v, want %d as they were sealed", w.Records, w.Finding, writers*linesEach)
			}
			all, err := s.Events(t.Context(), audit.Filter{Limit: 10 * writers * linesEach})
			must(t, err)
			seen := map[string]bool{}
			for _, r := range all {
				seen[r.Action] = true
			}
			if len(seen) != writers*linesEach {
				t.Errorf("got %d different lines, want %d", len(seen), writers*linesEach)
			}
		})
	}
}

func writeAndSeal(t *testing.T, database string) {
	s, err := sqlstore.Open(t.Context(), database)
	must(t, err)
	defer s.Close()
	s.Audit().Anchor(key)
	began(t, s)
	for i := range linesEach {
		must(t, s.Record(t.Context(),
			audit.Event{Time: time.Now(), Actor: "system", Action: fmt.Sprintf("p%s.%d", os.Getenv(writerName), i)}))
		if i%7 == 0 {
			_, err := s.Audit().Seal(t.Context())
			must(t, err)
		}
	}
}

// BenchmarkAuditRefresh is the durable part of a refresh with its audit line, while lines get their
// places, beside the same without a line. Both are done in turn. of-bare is the ratio of their
// speeds: 0.9 and more is what the line may cost.
func BenchmarkAuditRefresh(b *testing.B) {
	for name, database := range map[string]func(testing.TB) string{"sqlite": sqliteFile, "postgres": testenv.Postgres} {
		b.Run(name, func(b *testing.B) {
			s := begin(b, database(b))()
			ctx, stop := context.WithCancel(b.Context())
			var sealing sync.WaitGroup
			sealing.Go(func() { s.Audit().Run(ctx, slog.New(slog.DiscardHandler)) })
			defer sealing.Wait()
			defer stop()
			seed(b, s)
			leaf, n := "rt", 0
			var spent [2]time.Duration
			rotate := func(which int) {
				n++
				next := issuer.RefreshToken{
					Hash: fmt.Sprintf("%064d", n), GrantID: "g", ClientID: "c", CreatedAt: time.Now(),
					ExpiresAt: time.Now(), ChainEnds: time.Now(),
				}
				start := time.Now()
				var err error
				if which == 0 {
					err = s.Rotate(ctx, leaf, time.Now(), next, line)
				} else {
					err = s.RotateWithoutLine(ctx, leaf, time.Now(), next)
				}
				spent[which] += time.Since(start)
				must(b, err)
				leaf = next.Hash
			}
			for range 50 {
				rotate(0)
				rotate(1)
			}
			spent = [2]time.Duration{}
			rounds := 0
			for b.Loop() {
				rounds++
				rotate(0)
				rotate(1)
			}
			b.ReportMetric(float64(spent[0].Microseconds())/float64(rounds), "with-µs")
			b.ReportMetric(float64(spent[1].Microseconds())/float64(rounds), "without-µs")
			b.ReportMetric(float64(spent[1])/float64(spent[0]), "of-bare")
		})
	}
}

// BenchmarkAuditVerify is how many records a second are proven.
func BenchmarkAuditVerify(b *testing.B) {
	const records = 200_000
	for name, database := range map[string]func(testing.TB) string{"sqlite": sqliteFile, "postgres": testenv.Postgres} {
		b.Run(name, func(b *testing.B) {
			s := begin(b, database(b))()
			s.Audit().Anchor(key)
			began(b, s)
			for range records / 1000 {
				must(b, s.RecordAll(b.Context(), slices.Repeat([]audit.Event{line}, 1000)))
			}
			for n := 1; n > 0; {
				var err error
				n, err = s.Audit().Seal(b.Context())
				must(b, err)
			}
			b.ResetTimer()
			for b.Loop() {
				w, err := s.Audit().Verify(b.Context(), chain.Walk{Limit: records + 1})
				if err == nil && (w.Finding != nil || w.Records != records) {
					err = errors.New("it is not whole")
				}
				must(b, err)
			}
			b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// B5: many lines that wait are sealed in batches with rests between, and nothing of that is an
// error.
func TestBacklogOfAuditLinesIsSealed(t *testing.T) {
	for name, database := range map[string]func(testing.TB) string{"sqlite": sqliteFile, "postgres": testenv.Postgres} {
		t.Run(name, func(t *testing.T) {
			const lines = 4200 // more than eight batches
			s := begin(t, database(t))()
			s.Audit().Anchor(key)
			began(t, s)
			must(t, s.RecordAll(t.Context(), slices.Repeat([]audit.Event{line}, lines)))
			ctx, stop := context.WithCancel(t.Context())
			var said testenv.Book
			var sealing sync.WaitGroup
			sealing.Go(func() { s.Audit().Run(ctx, slog.New(slog.NewTextHandler(&said, nil))) })
			look := time.NewTicker(20 * time.Millisecond)
			defer look.Stop()
			for sealed := int64(0); sealed < lines; <-look.C {
				w, err := s.Audit().Verify(t.Context(), chain.Walk{Limit: 2 * lines})
				must(t, err)
				if w.Finding != nil {
					t.Fatalf("got %+v", w.Finding)
				}
				sealed = w.Records
			}
			stop()
			sealing.Wait()
			if strings.Contains(said.String(), "level=ERROR") {
				t.Error(said.String())
			}
		})
	}
}

// BenchmarkAuditBacklog is the durable part of a refresh while a million lines wait for their place
// in the chain, beside the same while none waits, each in a database of its own and in turn.
// of-floor is the ratio of their speeds.
func BenchmarkAuditBacklog(b *testing.B) {
	for name, database := range map[string]func(testing.TB) string{"sqlite": sqliteFile, "postgres": testenv.Postgres} {
		b.Run(name, func(b *testing.B) {
			var rotate [2]func()
			for i, lines := range []int{1_000_000, 0} {
				s := begin(b, database(b))()
				s.Audit().Anchor(key)
				began(b, s)
				seed(b, s)
				for range lines / 10_000 {
					must(b, s.RecordAll(b.Context(), slices.Repeat([]audit.Event{line}, 10_000)))
				}
				ctx, stop := context.WithCancel(b.Context())
				var sealing sync.WaitGroup
				sealing.Go(func() { s.Audit().Run(ctx, slog.New(slog.DiscardHandler)) })
				defer sealing.Wait()
				defer stop()
				leaf, n := "rt", 0
				rotate[i] = func() {
					n++
					next := issuer.RefreshToken{
						Hash: fmt.Sprintf("%064d", n), GrantID: "g", ClientID: "c", CreatedAt: time.Now(),
						ExpiresAt: time.Now(), ChainEnds: time.Now(),
					}
					must(b, s.Rotate(b.Context(), leaf, time.Now(), next, line))
					leaf = next.Hash
				}
			}
			var spent [2]time.Duration
			for b.Loop() {
				for i, do := range rotate {
					start := time.Now()
					do()
					spent[i] += time.Since(start)
				}
			}
			b.ReportMetric(float64(spent[1])/float64(spent[0]), "of-floor")
		})
	}
}

// began begins the chain of a store, as who serves does once.
func began(t testing.TB, s *sqlstore.DB) {
	t.Helper()
	_, err := s.Audit().Begin(t.Context())
	must(t, err)
}
