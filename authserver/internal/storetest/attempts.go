package storetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	attempt1 "github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
)

// attempt is an attempt of ann's client at a step.
func attempt(id string, step attempt1.Step, at time.Duration) attempt1.Attempt {
	return attempt1.Attempt{
		ID: id, Client: "cli_a", Source: "192.0.2.1", StartedAt: now.Add(at), UpdatedAt: now.Add(at), Step: step,
		Outcome: attempt1.Open,
	}
}

// refusedAt is one that was rejected.
func refusedAt(r attempt1.Attempt, reason string) attempt1.Attempt {
	r.Outcome, r.Reason, r.Support, r.Refusals = attempt1.Failed, reason, "support", 1
	return r
}

func put(t *testing.T, s Store, records ...attempt1.Attempt) {
	t.Helper()
	for _, r := range records {
		begins := r.Step == attempt1.Registration || r.Step == attempt1.Authorize
		must(t, s.PutAttempts(ctx, []attempt1.Entry{{Attempt: r, Begins: begins}}))
	}
}

func connections(t *testing.T, open func() Store) {
	s, replica := open(), open()
	list := func(f attempt1.Filter) []attempt1.Attempt {
		t.Helper()
		f.Limit = max(f.Limit, 100)
		found, err := replica.Attempts(ctx, f)
		must(t, err)
		return found
	}

	// Discovery and registration begin the attempt that follows, at whichever replica.
	discovery := attempt("source", attempt1.Discovery, 0)
	discovery.Client, discovery.Program, discovery.Unknown = "", "smith", true
	registration := attempt("registered", attempt1.Registration, 2*time.Second)
	registration.ClientName = "Agent Smith"
	put(t, s, discovery, registration)
	asked := attempt("attempt", attempt1.Authorize, 5*time.Second)
	put(t, replica, asked)
	consent := refusedAt(attempt("attempt", attempt1.Consent, 9*time.Second), "no")
	consent.Tenant, consent.User = "acme", "usr_ann"
	put(t, s, consent, attempt("attempt", attempt1.SignIn, 10*time.Second))
	want := consent
	want.Program, want.ClientName, want.StartedAt, want.UpdatedAt = "smith", "Agent Smith", now, now.Add(10*time.Second)
	same(t, "an attempt that stopped", []attempt1.Attempt{want}, list(attempt1.Filter{}), nil)

	// It gets further, and is done: then its failure is over. What comes too late at an earlier
	// step changes nothing of that.
	done := attempt("attempt", attempt1.Token, 20*time.Second)
	done.Outcome = attempt1.Done
	put(t, replica, done)
	put(t, s, refusedAt(attempt("attempt", attempt1.Code, 30*time.Second), "late"))
	want.Step, want.Outcome, want.Reason, want.Support, want.Refusals, want.UpdatedAt = attempt1.Token,
		attempt1.Done, "", "", 2, now.Add(30*time.Second)
	same(t, "one that is done", []attempt1.Attempt{want},
		list(attempt1.Filter{Done: true, Clients: []string{"cli_a", "cli_b"}}), nil)

	// What is done, or rested for too long, or is another's, is no beginning.
	put(t, s, attempt("old", attempt1.Registration, -time.Hour))
	other := attempt("other", attempt1.Registration, 0)
	other.Client = "cli_b"
	put(t, s, other, attempt("next", attempt1.Authorize, 40*time.Second))
	if got := len(list(attempt1.Filter{})); got != 4 {
		t.Errorf("%d records, want the old, the other's, the one that is done and the next", got)
	}

	failed := attempt1.Filter{Failed: true, Now: now.Add(time.Minute)}
	same(t, "failed", []string{"old"}, ids(list(failed)), nil)
	failed.Now = now.Add(time.Hour)
	same(t, "failed or left, an hour later", []string{"next", "other", "old"}, ids(list(failed)), nil)
	same(t, "of a tenant", []string{"attempt"}, ids(list(attempt1.Filter{Tenant: "acme"})), nil)
	same(t, "since", []string{"next"}, ids(list(attempt1.Filter{Since: now.Add(40 * time.Second)})), nil)
	same(t, "by id", []string{"other"}, ids(list(attempt1.Filter{ID: "other"})), nil)

	n := clean(t, s, now.Add(attempt1.Kept), "connections", "surplus-connections")
	same(t, "after forgetting", []string{"next", "attempt", "other"}, ids(list(attempt1.Filter{})), nil)
	if n != 1 {
		t.Errorf("%d were forgotten, want the old one", n)
	}
	strangersAreBounded(t, s)
}

func ids(of []attempt1.Attempt) (found []string) {
	for _, r := range of {
		found = append(found, r.ID)
	}
	return found
}

// strangersAreBounded floods the store with unregistered clients: they displace each other, and no
// one else.
func strangersAreBounded(t *testing.T, s Store) {
	t.Helper()
	var entries []attempt1.Entry
	for i := range attempt1.MostOfOne + 30 {
		r := attempt(fmt.Sprint("stranger", i), attempt1.Authorize, time.Duration(i)*time.Second)
		r.Client, r.Unknown = fmt.Sprint("made up ", i), true
		entries = append(entries, attempt1.Entry{Attempt: refusedAt(r, "who?")})
	}
	must(t, s.PutAttempts(ctx, entries))
	n := clean(t, s, now.Add(attempt1.Kept), "connections", "surplus-connections")
	if n != 30 {
		t.Errorf("%d were forgotten, want the 30 oldest strangers", n)
	}
	found, err := s.Attempts(ctx, attempt1.Filter{Clients: []string{"cli_a", "cli_b", "made up 29", "made up 30"},
		Limit: 100})
	must(t, err)
	same(t, "who stays", []string{"next", "attempt", "stranger30", "other"}, ids(found), nil)
}

// mergingConnections compares the stores' merging with Attempt.With, over random histories.
func mergingConnections(t *testing.T, open func() Store) {
	s, dice := open(), rand.New(rand.NewPCG(7, 11))
	one := func(words ...string) string { return words[dice.IntN(len(words))] }
	for n := range 60 {
		id := fmt.Sprint("con_", n)
		var want attempt1.Attempt
		for i := range 6 {
			at := now.Add(time.Duration(dice.IntN(5)) * time.Second)
			r := attempt1.Attempt{
				ID: id, Client: one("", "cli_a"), ClientName: one("", "A", "B"), Program: one("", "p", "q"),
				Source: one("192.0.2.1", "192.0.2.2"), Tenant: one("", "acme"),
				User: one("", "usr_ann"), Resource: one("", resource), StartedAt: at, UpdatedAt: at,
				Step:    attempt1.Step(10 * (1 + dice.IntN(8))),
				Outcome: one(attempt1.Open, attempt1.Done, attempt1.Failed), Reason: one("", "r", "s"),
				Support: one("", "x"), Refusals: int64(dice.IntN(2)),
				NoResource: dice.IntN(2) == 0, Unknown: dice.IntN(2) == 0,
			}
			if want = want.With(r); i == 0 {
				want = r
			}
			must(t, s.PutAttempts(ctx, []attempt1.Entry{{Attempt: r}}))
		}
		got, err := s.Attempts(ctx, attempt1.Filter{ID: id, Limit: 1})
		same(t, "merged", []attempt1.Attempt{want}, got, err)
	}
}

// connectionsOfMany: replicas that write, take over and delete the same attempts do not deadlock.
func connectionsOfMany(t *testing.T, open func() Store) {
	var replicas sync.WaitGroup
	for n := range 4 {
		s := open()
		random := rand.New(rand.NewPCG(uint64(n), 7))
		replicas.Go(func() {
			for round := range 40 {
				var entries []attempt1.Entry
				for range 12 {
					step := attempt1.Step(random.IntN(int(attempt1.Token)) + 1)
					r := attempt(fmt.Sprint("a", random.IntN(30)), step, time.Duration(round)*time.Second)
					r.Client = fmt.Sprint("cli_", random.IntN(3))
					entries = append(entries, attempt1.Entry{Attempt: r, Begins: random.IntN(3) == 0})
				}
				if err := s.PutAttempts(ctx, entries); err != nil {
					t.Errorf("replica %d: %v", n, err)
					return
				}
				if round%10 != n {
					continue
				}
				for _, j := range s.Jobs(keeping()) {
					if j.Name != "surplus-connections" {
						continue
					}
					if _, err := j.Batch(ctx, now.Add(time.Hour), ""); err != nil {
						t.Errorf("replica %d: %v", n, err)
					}
				}
			}
		})
	}
	replicas.Wait()
}
