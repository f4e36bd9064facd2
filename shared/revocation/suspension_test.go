package revocation_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

// A suspension refuses what was issued before a time, of its subject alone; a later one of the same
// subject takes its place, in whichever order and to whichever reader they are told; it leaves with
// its entry.
func TestSuspensions(t *testing.T) {
	begin := time.Unix(1_800_000_000, 0)
	now := begin
	clock := func() time.Time { return now }
	list := revocation.NewMemory(clock)
	must(t, list.Restore(t.Context(), nil, 24*time.Hour))
	follower := revocation.NewReplica(revocation.ReplicaOptions{Feed: list, Now: clock})
	agent := revocation.Client("https://app.example:8443/client:1.json")
	tell := func(s revocation.Subject, at, before int) {
		t.Helper()
		e := revocation.Suspension{Subject: s, At: begin.Add(time.Duration(at) * time.Second),
			Before: begin.Add(time.Duration(before) * time.Second)}
		must(t, list.Add(t.Context(), e.ID(), begin.Add(time.Hour)))
		must(t, follower.CatchUp(t.Context()))
	}
	want := func(what string, s revocation.Subject, issued int, refused bool) {
		t.Helper()
		for name, r := range map[string]revocation.Reader{"memory": list, "replica": follower} {
			if got := r.Suspended(s, begin.Unix()+int64(issued)); got != refused {
				t.Errorf("%s: %s: got %v, want %v", what, name, got, refused)
			}
		}
	}
	want("nothing is told", agent, 0, false)
	tell(agent, 0, 30)
	want("of before", agent, -5, true)
	want("within the skew", agent, 29, true)
	want("of after", agent, 30, false)
	want("a tenant of the same name", revocation.Tenant("https://app.example:8443/client:1.json"), 0, false)
	want("another client", revocation.Client("other"), 0, false)
	tell(agent, 2, 2) // enabled again
	want("enabled, of before", agent, 1, true)
	want("enabled, of after", agent, 2, false)
	tell(agent, 1, 31) // an older one, told late
	want("an older one", agent, 2, false)
	tell(agent, 2, 32) // disabled within the same second
	want("in the same second, the one that was told last", agent, 3, true)
	tell(agent, 2, 2)
	want("enabled once more in that second", agent, 3, false)
	tell(agent, 2, 32)
	want("and disabled, with an entry that is on the list already", agent, 3, true)
	for _, id := range follower.Entries() {
		if revocation.IsGrant(id) {
			t.Errorf("%s counts as a grant", id)
		}
	}
	now = begin.Add(2 * time.Hour)
	must(t, list.Add(t.Context(), "grt_1", now.Add(time.Hour)))
	must(t, follower.CatchUp(t.Context()))
	want("when its entry has left", agent, 3, false)
}

// Anyone who hears of a suspension does not wait for ever for anyone who forgets what has expired,
// nor does anybody who asks.
func TestSuspensionsAreHeardWhileOthersLeave(t *testing.T) {
	begin := time.Now()
	var ahead atomic.Int64 // minutes
	clock := func() time.Time { return begin.Add(time.Duration(ahead.Load()) * time.Minute) }
	list := revocation.NewMemory(nil)
	must(t, list.Restore(t.Context(), nil, time.Hour))
	must(t, list.Add(t.Context(), "grt_1", begin.Add(time.Hour)))
	heard := revocation.NewReplica(revocation.ReplicaOptions{Feed: list, Now: clock})
	id := revocation.Suspension{Subject: revocation.Tenant("acme"), At: begin, Before: begin}.ID()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var over atomic.Bool
		var work sync.WaitGroup
		work.Go(func() {
			for i := time.Duration(0); !over.Load(); i++ {
				heard.Hear(id, begin.Add(10_000*time.Hour+i*time.Second))
			}
		})
		for range 20_000 {
			ahead.Add(2)
			// each time what has expired leaves; whether the list is complete is not asked
			_ = heard.CatchUp(t.Context())
		}
		over.Store(true)
		work.Wait()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("they wait for each other")
	}
}

// What is no suspension is an entry like any other.
func TestWhatIsNoSuspension(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	list := revocation.NewMemory(func() time.Time { return now })
	for i, id := range []string{"suspended:", "suspended:1:2", "suspended:a:2:client:x", "suspended:1:b:client:x",
		"grt_suspended:1:2:client:x"} {
		must(t, list.Add(t.Context(), id, now.Add(time.Hour)))
		if list.Suspended(revocation.Client("x"), 0) {
			t.Error(fmt.Sprint(i, id, ": x is suspended"))
		}
	}
}

// Over HTTP a suspension says whose tokens it refuses, for those who do not read ids, and arrives
// as it was.
func TestSuspensionsOverHTTP(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	for _, s := range []revocation.Subject{revocation.Client("cli_1"), revocation.Tenant("acme")} {
		id := revocation.Suspension{Subject: s, At: at, Before: at.Add(30 * time.Second)}.ID()
		b := revocation.Batch{Ended: []revocation.Entry{{GrantID: id, Until: at.Add(time.Hour)}}, Now: at}
		d := revocation.NewDocument(b)
		e := d.Ended[0]
		if e.IssuedBefore != at.Unix()+30 || (e.ClientID == "cli_1") == (e.TenantID == "acme") {
			t.Errorf("got %+v", e)
		}
		if got := d.Batch().Ended[0]; got.GrantID != id {
			t.Errorf("it arrives as %q, was %q", got.GrantID, id)
		}
	}
}
