package calls_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/auditstore"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/demo/demotest"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// BenchmarkBatch measures what a batch of 80 records costs, which is what gathers at 8,000 calls a
// second.
func BenchmarkBatch(b *testing.B) {
	const rows = 80
	for dialect, place := range map[string]func(testing.TB) string{
		"sqlite":   func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "companion.db") },
		"postgres": testenv.Postgres,
	} {
		b.Run(dialect, func(b *testing.B) {
			database := place(b)
			demotest.Migrate(b, database)
			d, err := auditstore.Open(context.Background(), database)
			must(b, err)
			b.Cleanup(func() { _ = d.Close() })
			var events []audit.Event
			for i := range rows {
				events = append(events, audit.Event{
					Time: time.Now(), Actor: "user:usr_ann", Action: "tool.call", Target: fmt.Sprint("tool_", i),
					Tenant: "acme", Client: "cli_1", Grant: "grt_1", Outcome: audit.OK,
					Detail: "arguments=jx8XZ0Xr0dO2aGmL0b7n1Q took=0.153ms",
				})
			}
			b.ReportAllocs()
			for b.Loop() {
				must(b, d.Calls().Add(context.Background(), events))
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/rows, "µs/record")
		})
	}
}
