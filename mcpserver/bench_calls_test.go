//go:build unix

package mcpserver_test

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo/demotest"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// BenchmarkCallRecords measures calls of a tool that reads, by 16 clients at once, over real HTTP,
// with a record of each in the audit chain and without: the same server, two tenants, one of which
// keeps records of refusals and writes alone. of-unrecorded is the ratio of their speeds: 1 is as
// fast; of-unrecorded-cpu that of the processor's time that they take, which another program's load
// changes less. What waits to be written when the last answer is out belongs to the recorded calls.
// Clients and server share this process and its processors, so that each microsecond of the
// writer's is one less for the others. The gateway has a benchmark of the same name.
func BenchmarkCallRecords(b *testing.B) {
	const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_customer",` +
		`"arguments":{"customer_id":"cus_1001"}}}`
	for dialect, database := range map[string]func(testing.TB) string{"sqlite": nil, "postgres": testenv.Postgres} {
		b.Run(dialect, func(b *testing.B) {
			w := openWing(b, func(c *mcpserver.Config) {
				if c.CallsPerMinute = 1 << 40; database != nil {
					c.Database = database(b)
					demotest.Migrate(b, c.Database)
				}
			})
			o := w.server.Operator()
			must(b, o.KeepCalls(b.Context(),
				operator.CallSetting{Tenant: "globex", Keep: operator.KeepRefusalsAndWrites}))
			compareRecords(b, o, manyAsker(b, recordClients, w.resource, w.token("acme", allScopes...), body),
				manyAsker(b, recordClients, w.resource, w.token("globex", allScopes...), body))
		})
	}
}

// recordClients is how many ask at once.
const recordClients = 16

// compareRecords measures calls whose records are kept, and calls whose are not, in turn.
func compareRecords(b *testing.B, o *operator.Registry, recorded, unrecorded func()) {
	const volley = 8000
	shoot := func(ask func()) (took, worked time.Duration) {
		began, before := time.Now(), processor(b)
		var shooting sync.WaitGroup
		for range recordClients {
			shooting.Go(func() {
				for range volley / recordClients {
					ask()
				}
			})
		}
		shooting.Wait()
		for o.CallsWaiting() > 0 {
			time.Sleep(time.Millisecond)
		}
		return time.Since(began), processor(b) - before
	}
	var took, worked [2]time.Duration
	asks := []func(){recorded, unrecorded}
	for _, ask := range asks {
		shoot(ask)
	}
	n := 0
	for b.Loop() {
		n++
		for i, ask := range asks {
			t, p := shoot(ask)
			took[i] += t
			worked[i] += p
		}
	}
	calls := float64(n * volley)
	b.ReportMetric(float64(took[0].Microseconds())/calls, "recorded-µs")
	b.ReportMetric(float64(took[1].Microseconds())/calls, "unrecorded-µs")
	b.ReportMetric(float64(took[1])/float64(took[0]), "of-unrecorded")
	b.ReportMetric(float64(worked[1])/float64(worked[0]), "of-unrecorded-cpu")
}

// processor is the processor's time that this process has had.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
