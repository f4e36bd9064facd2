package usage_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/usage"
)

// refusedBy is a request that the door refused for this.
func refusedBy(at time.Time, agent string, why guard.Denial) *guard.Record {
	why.Resource = "https://mcp.example/mcp"
	return &guard.Record{At: at, Agent: agent, Method: "POST", Refused: "invalid_token", Status: 401, Denial: &why}
}

func TestRefusalsAtTheDoor(t *testing.T) {
	eachStore(t, func(t *testing.T, database string) {
		ctx, b := context.Background(), open(t, database)
		one, replica := counter(b), counter(b)
		wrong := guard.Denial{Reason: guard.DenyAudience, Sentence: "It is for another.", Client: "cli_1",
			Tenant: "acme",
			About:  "https://other.example"}
		over := guard.Denial{Reason: guard.DenyExpired, Sentence: "It is over for 5 seconds.", Client: "cli_1",
			Tenant: "acme"}
		page := guard.Denial{Reason: guard.DenyOrigin, Sentence: "A page of https://page.example.",
			About: "https://page.example"}
		one.Record(refusedBy(noon, "smith", wrong), "")
		one.Record(refusedBy(noon.Add(time.Second), "smith", wrong), "")
		replica.Record(refusedBy(noon.Add(2*time.Second), "smith", wrong), "")
		one.Record(refusedBy(noon.Add(3*time.Second), "smith", over), "")
		one.Record(refusedBy(noon.Add(4*time.Second), "Mozilla", page), "")
		passed := refusedBy(noon.Add(5*time.Second), "smith", page)
		passed.Passed = true // where requests without a good token may pass, nothing was refused
		one.Record(passed, "")
		list := func(f usage.RefusalFilter) []usage.Refusal {
			t.Helper()
			must(t, one.Flush(ctx))
			must(t, replica.Flush(ctx))
			f.Limit = 10
			found, err := usage.Refusals(ctx, b, f)
			must(t, err)
			for i := range found {
				found[i].ID = ""
			}
			return found
		}
		row := func(w guard.Denial, agent string, first, last time.Duration, times int64) usage.Refusal {
			return usage.Refusal{Client: w.Client, Tenant: w.Tenant, Agent: agent, Resource: "https://mcp.example/mcp",
				Reason: w.Reason, About: w.About, Why: w.Sentence,
				First: noon.Add(first), Last: noon.Add(last), Times: times}
		}
		want := []usage.Refusal{row(page, "Mozilla", 4*time.Second, 4*time.Second, 1),
			row(over, "smith", 3*time.Second, 3*time.Second, 1), row(wrong, "smith", 0, 2*time.Second, 3)}
		if diff := cmp.Diff(want, list(usage.RefusalFilter{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want[1:], list(usage.RefusalFilter{Client: "cli_1", Tenant: "acme"})); diff != "" {
			t.Errorf("of one client (-want +got):\n%s", diff)
		}

		// The client renews and passes: that its token was over was of the moment. That another was
		// for another server was not.
		one.Record(called("acme", "read_customer", noon.Add(10*time.Second)), "read_customer")
		want[1].Overcome = true
		if diff := cmp.Diff(want, list(usage.RefusalFilter{})); diff != "" {
			t.Errorf("after a pass (-want +got):\n%s", diff)
		}
		calls, err := usage.LastCalls(ctx, b, []string{"cli_1", "cli_2"})
		must(t, err)
		if diff := cmp.Diff(map[usage.Holder]time.Time{{Client: "cli_1", Tenant: "acme"}: noon.Add(10 * time.Second)},
			calls); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}

		// Strangers fill neither memory nor the table, and push no client's refusals out.
		for i := range 300 {
			one.Record(refusedBy(noon.Add(time.Minute), "scanner",
				guard.Denial{Reason: guard.DenyOrigin, About: fmt.Sprint("https://", i, ".example"),
					Sentence: "A page."}),
				"")
		}
		if lost := one.Overflow().Refusals; lost != 200 {
			t.Errorf("%d are left out, want 200", lost)
		}
		must(t, one.Flush(ctx))
		must(t, usage.ForgetRefusals(ctx, b, noon.Add(usage.Kept+3*time.Second)))
		left, err := usage.Refusals(ctx, b, usage.RefusalFilter{Limit: 1000})
		must(t, err)
		if n := len(left); n != 102 || left[n-1].Reason != guard.DenyExpired {
			t.Errorf("%d are left, want all that are not older than ninety days", n)
		}
	})
}

// One tenant's clients that are refused in a thousand ways push no other tenant's refusals out,
// neither of memory nor of the table.
func TestOneTenantsRefusalsPushNoneOut(t *testing.T) {
	eachStore(t, func(t *testing.T, database string) {
		ctx, b := context.Background(), open(t, database)
		c := counter(b)
		c.Record(refusedBy(noon, "x", guard.Denial{Reason: guard.DenyAudience, Client: "cli_1", Tenant: "acme",
			Sentence: "It is for another."}), "")
		for round := range 8 {
			for i := range 1500 {
				c.Record(refusedBy(noon.Add(time.Minute), "x", guard.Denial{Reason: guard.DenyAudience, Client: "cli_2",
					Tenant: "mallory", About: fmt.Sprint(round, "/", i), Sentence: "It is for another."}), "")
			}
			c.Record(refusedBy(noon, "x", guard.Denial{Reason: guard.DenyAudience, Client: "cli_3", Tenant: "globex",
				About: fmt.Sprint(round), Sentence: "It is for another."}), "")
			must(t, c.Flush(ctx))
		}
		must(t, usage.ForgetRefusals(ctx, b, noon.Add(time.Hour)))
		for tenant, want := range map[string]int{"acme": 1, "globex": 8, "mallory": 500} {
			found, err := usage.Refusals(ctx, b, usage.RefusalFilter{Tenant: tenant, Limit: 10_000})
			must(t, err)
			if len(found) != want {
				t.Errorf("%d refusals of %s's are left, want %d", len(found), tenant, want)
			}
		}
		if lost := c.Overflow().Refusals; lost != 8*1400 {
			t.Errorf("%d are left out, want %d", lost, 8*1400)
		}
	})
}
