package admin_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/manifest"
)

// thousand is a file of 1,000 tenants with a policy, two roles and 10 clients each.
func thousand() string {
	var b strings.Builder
	b.WriteString("resources:\n  - uri: https://notes.example/mcp\n    scopes:\n      - {name: 'notes:read', " +
		"description: Read your notes, baseline: true}\ntenants:\n")
	for i := range 1000 {
		fmt.Fprintf(&b,
			"  - id: t%d\n    name: Tenant %d\n    policy:\n      scopes: [customers:read, customers:write, "+
				"notes:read]\n      max_access_token_lifetime: 5m\n", i, i)
		b.WriteString("    roles:\n      - role: clerk\n        scopes: [customers:read]\n        includes: " +
			"[reader]\n      - role: lead\n        includes: [clerk]\n        scopes: [customers:write]\n    " +
			"clients:\n")
		for j := range 10 {
			fmt.Fprintf(&b, "      - name: job %d\n        scopes: [customers:read, notes:read]\n", j)
		}
	}
	return b.String()
}

// BenchmarkApply measures a file of 1,000 tenants with 10 clients each: how long it takes to read
// it, to apply it where nothing of it is, and to find that nothing is to change, and to change each
// of the clients. held is how long the writing transaction took: on SQLite nobody else writes
// meanwhile; looked is the same of one that found nothing to change.
func BenchmarkApply(b *testing.B) {
	text := []byte(thousand())
	for name, open := range stores {
		b.Run(name, func(b *testing.B) {
			var read, first, second, third, held, looked time.Duration
			for range b.N {
				b.StopTimer()
				o := open(b)
				within := o.Atomically
				o.Atomically = o.timed(within, &held)
				b.StartTimer()
				at := time.Now()
				file, err := manifest.Read(text)
				must(b, err)
				read += time.Since(at)
				at = time.Now()
				changes, err := o.Apply(b.Context(), file)
				must(b, err)
				first += time.Since(at)
				o.Atomically = o.timed(within, &looked)
				if len(changes) != 1+1000*(1+1+2+10) {
					b.Fatal(len(changes))
				}
				at = time.Now()
				changes, err = o.Apply(b.Context(), file)
				must(b, err)
				second += time.Since(at)
				if len(changes) != 0 {
					b.Fatal(changes[:3])
				}
				narrower, err := manifest.Read([]byte(strings.ReplaceAll(string(text), "[customers:read, notes:read]",
					"[notes:read]")))
				must(b, err)
				o.Atomically = within
				at = time.Now()
				changes, err = o.Apply(b.Context(), narrower)
				must(b, err)
				third += time.Since(at)
				if len(changes) != 10_000 {
					b.Fatal(len(changes))
				}
			}
			for unit, d := range map[string]time.Duration{"read-s": read, "first-s": first, "again-s": second,
				"changed-s": third, "held-s": held, "looked-s": looked} {
				b.ReportMetric(d.Seconds()/float64(b.N), unit)
			}
		})
	}
}
