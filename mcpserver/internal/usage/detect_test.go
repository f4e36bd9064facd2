package usage_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/usage"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// The detector says what is far off a tenant's own history, once a tenant, tool and hour, anyone
// who looks.
func TestSignals(t *testing.T) {
	eachStore(t, func(t *testing.T, database string) {
		ctx := context.Background()
		b := open(t, database)
		c := counter(b)
		use := func(tenant, tool string, calls int, at time.Time, change ...func(*guard.Record)) {
			for range calls {
				r := called(tenant, tool, at)
				for _, f := range change {
					f(r)
				}
				count(c, r)
			}
		}
		refused := func(r *guard.Record) { r.Passed, r.Refused = false, "insufficient_scope" }
		for hours := 1; hours <= 4; hours++ {
			at := noon.Add(-time.Duration(hours) * 5 * time.Hour)
			use("acme", "read_customer", 10, at)
			use("acme", "create_ticket", 1, at)
			use("globex", "read_customer", 10, at)
			use("globex", "update_customer", 20, at, refused)
		}
		use("initech", "read_customer", 5, noon.Add(-5*time.Hour))
		must(t, c.Flush(ctx))
		first, err := usage.Detect(ctx, b, noon.Add(-20*time.Hour))
		must(t, err)
		if len(first) != 3 {
			t.Errorf("a first hour: got %+v, want the three first uses", first)
		}
		use("acme", "read_customer", 81, noon)               // more than 8 times 10
		use("acme", "create_ticket", 49, noon)               // 49 times as many, but few
		use("globex", "read_customer", 80, noon)             // 8 times 10, not more
		use("globex", "update_customer", 1, noon)            // it was refused before
		use("initech", "read_customer", 1000, noon)          // there is no history yet
		use("mallory", "update_customer", 60, noon, refused) // what does not pass is no use
		use("", "read_customer", 500, noon)                  // nobody
		must(t, c.Flush(ctx))
		got := map[string]string{}
		for range 2 { // another replica
			found, err := usage.Detect(ctx, b, noon)
			must(t, err)
			for _, e := range found {
				if got[e.Tenant+" "+e.Target] != "" {
					t.Errorf("twice: %+v", e)
				}
				got[e.Tenant+" "+e.Target] = e.Action
			}
		}
		want := map[string]string{"acme read_customer": usage.SignalVolume,
			"globex update_customer": usage.SignalFirstUse}
		if len(got) != len(want) || got["acme read_customer"] != usage.SignalVolume ||
			got["globex update_customer"] != usage.SignalFirstUse {
			t.Errorf("got %v, want %v", got, want)
		}
		use("acme", "read_customer", 100, noon)
		must(t, c.Flush(ctx))
		if again, err := usage.Detect(ctx, b, noon.Add(time.Hour)); err != nil || len(again) != 0 {
			t.Errorf("the same hour, an hour later: got %+v %v", again, err)
		}
		events, err := b.Events(ctx, audit.Filter{})
		must(t, err)
		if len(events) != 5 || events[0].Actor != "system" || events[0].Tenant == "" || events[0].Detail == "" {
			t.Errorf("the audit stream: %+v", events)
		}
	})
}

// The names by which a signal is written once are forgotten when nobody looks at their hour any
// more; other names stay.
func TestOldNamesOfSignalsAreForgotten(t *testing.T) {
	eachStore(t, func(t *testing.T, database string) {
		ctx, b := context.Background(), open(t, database)
		hour := func(at time.Time) string {
			return fmt.Sprint("signal:", at.Unix()-at.Unix()%3600,
				":acme:crm/read_it")
		}
		old, young := hour(noon.Add(-26*time.Hour)), hour(noon.Add(-2*time.Hour))
		once := func(name string) (written bool) {
			must(t, b.Write(ctx, func(tx *sql.Tx) (err error) {
				written, err = b.LineOnce(ctx, tx, audit.Event{Time: noon, Actor: "system", Action: "x"}, name)
				return err
			}))
			return written
		}
		for _, name := range []string{old, young, "migrated", "signals"} {
			once(name)
		}
		must(t, usage.ForgetSignals(ctx, b, noon))
		for name, forgotten := range map[string]bool{old: true, young: false, "migrated": false, "signals": false} {
			if once(name) != forgotten {
				t.Errorf("%s: forgotten is not %v", name, forgotten)
			}
		}
	})
}
