package storetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/connection"
)

// attempt is a record of ann's client at a step.
func attempt(id string, step connection.Step, at time.Duration) connection.Record {
	return connection.Record{
		ID: id, Client: "cli_a", Source: "192.0.2.1", StartedAt: now.Add(at), UpdatedAt: now.Add(at), Step: step,
		Outcome: connection.Open,
	}
}

// refusedAt is one that was refused.
func refusedAt(r connection.Record, reason string) connection.Record {
	r.Outcome, r.Reason, r.Support, r.Refusals = connection.Failed, reason, "support", 1
	return r
}

func put(t *testing.T, s Store, records ...connection.Record) {
	t.Helper()
	for _, r := range records {
		begins := r.Step == connection.Registration || r.Step == connection.Authorize
		must(t, s.PutConnections(ctx, []connection.Entry{{Record: r, Begins: begins}}))
	}
}

func connections(t *testing.T, open func() Store) {
	s, replica := open(), open()
	list := func(f connection.Filter) []connection.Record {
		t.Helper()
		f.Limit = max(f.Limit, 100)
		found, err := replica.Connections(ctx, f)
		must(t, err)
		return found
	}

	// Discovery and registration are the beginning of the attempt that follows, at whichever
	// replica.
	discovery := attempt("source", connection.Discovery, 0)
	discovery.Client, discovery.Program, discovery.Stranger = "", "smith", true
	registration := attempt("registered", connection.Registration, 2*time.Second)
	registration.ClientName = "Agent Smith"
	put(t, s, discovery, registration)
	asked := attempt("attempt", connection.Authorize, 5*time.Second)
	put(t, replica, asked)
	consent := refusedAt(attempt("attempt", connection.Consent, 9*time.Second), "no")
	consent.Tenant, consent.User = "acme", "usr_ann"
	put(t, s, consent, attempt("attempt", connection.SignIn, 10*time.Second))
	want := consent
	want.Program, want.ClientName, want.StartedAt, want.UpdatedAt = "smith", "Agent Smith", now, now.Add(10*time.Second)
	same(t, "an attempt that stopped", []connection.Record{want}, list(connection.Filter{}), nil)

	// It gets further, and is done: then its failure is over. What comes too late at an earlier
	// step changes nothing of that.
	done := attempt("attempt", connection.Token, 20*time.Second)
	done.Outcome = connection.Done
	put(t, replica, done)
	put(t, s, refusedAt(attempt("attempt", connection.Code, 30*time.Second), "late"))
	want.Step, want.Outcome, want.Reason, want.Support, want.Refusals, want.UpdatedAt = connection.Token,
		connection.Done, "", "", 2, now.Add(30*time.Second)
	same(t, "one that is done", []connection.Record{want},
		list(connection.Filter{Done: true, Clients: []string{"cli_a", "cli_b"}}), nil)

	// What is done, or rested for too long, or is another's, is no beginning.
	put(t, s, attempt("old", connection.Registration, -time.Hour))
	other := attempt("other", connection.Registration, 0)
	other.Client = "cli_b"
	put(t, s, other, attempt("next", connection.Authorize, 40*time.Second))
	if got := len(list(connection.Filter{})); got != 4 {
		t.Errorf("%d records, want the old, the other's, the one that is done and the next", got)
	}

	failed := connection.Filter{Failed: true, Now: now.Add(time.Minute)}
	same(t, "failed", []string{"old"}, ids(list(failed)), nil)
	failed.Now = now.Add(time.Hour)
	same(t, "failed or left, an hour later", []string{"next", "other", "old"}, ids(list(failed)), nil)
	same(t, "of a tenant", []string{"attempt"}, ids(list(connection.Filter{Tenant: "acme"})), nil)
	same(t, "since", []string{"next"}, ids(list(connection.Filter{Since: now.Add(40 * time.Second)})), nil)
	same(t, "by id", []string{"other"}, ids(list(connection.Filter{ID: "other"})), nil)

	n := clean(t, s, now.Add(connection.Kept), "connections", "surplus-connections")
	same(t, "after forgetting", []string{"next", "attempt", "other"}, ids(list(connection.Filter{})), nil)
	if n != 1 {
		t.Errorf("%d were forgotten, want the old one", n)
	}
	strangersAreBounded(t, s)
}

func ids(of []connection.Record) (found []string) {
	for _, r := range of {
		found = append(found, r.ID)
	}
	return found
}

// strangersAreBounded floods the store with clients that are not known: they push each other out,
// and nobody else.
func strangersAreBounded(t *testing.T, s Store) {
	t.Helper()
	var entries []connection.Entry
	for i := range connection.MostOfOne + 30 {
		r := attempt(fmt.Sprint("stranger", i), connection.Authorize, time.Duration(i)*time.Second)
		r.Client, r.Stranger = fmt.Sprint("made up ", i), true
		entries = append(entries, connection.Entry{Record: refusedAt(r, "who?")})
	}
	must(t, s.PutConnections(ctx, entries))
	n := clean(t, s, now.Add(connection.Kept), "connections", "surplus-connections")
	if n != 30 {
		t.Errorf("%d were forgotten, want the 30 oldest strangers", n)
	}
	found, err := s.Connections(ctx, connection.Filter{Clients: []string{"cli_a", "cli_b", "made up 29", "made up 30"},
		Limit: 100})
	must(t, err)
	same(t, "who stays", []string{"next", "attempt", "stranger30", "other"}, ids(found), nil)
}

// mergingConnections holds the stores' way of merging against Record.With, over random histories.
func mergingConnections(t *testing.T, open func() Store) {
	s, dice := open(), rand.New(rand.NewPCG(7, 11))
	one := func(words ...string) string { return words[dice.IntN(len(words))] }
	for n := range 60 {
		id := fmt.Sprint("con_", n)
		var want connection.Record
		for i := range 6 {
			at := now.Add(time.Duration(dice.IntN(5)) * time.Second)
			r := connection.Record{
				ID: id, Client: one("", "cli_a"), ClientName: one("", "A", "B"), Program: one("", "p", "q"),
				Source: one("192.0.2.1", "192.0.2.2"), Tenant: one("", "acme"),
				User: one("", "usr_ann"), Resource: one("", resource), StartedAt: at, UpdatedAt: at,
				Step:    connection.Step(10 * (1 + dice.IntN(8))),
				Outcome: one(connection.Open, connection.Done, connection.Failed), Reason: one("", "r", "s"),
				Support: one("", "x"), Refusals: int64(dice.IntN(2)),
				Bare: dice.IntN(2) == 0, Stranger: dice.IntN(2) == 0,
			}
			if want = want.With(r); i == 0 {
				want = r
			}
			must(t, s.PutConnections(ctx, []connection.Entry{{Record: r}}))
		}
		got, err := s.Connections(ctx, connection.Filter{ID: id, Limit: 1})
		same(t, "merged", []connection.Record{want}, got, err)
	}
}

// Replicas that write the same attempts, take up what others began and delete surplus ones do not
// wait for each other for ever.
func connectionsOfMany(t *testing.T, open func() Store) {
	var replicas sync.WaitGroup
	for n := range 4 {
		s := open()
		random := rand.New(rand.NewPCG(uint64(n), 7))
		replicas.Go(func() {
			for round := range 40 {
				var entries []connection.Entry
				for range 12 {
					step := connection.Step(random.IntN(int(connection.Token)) + 1)
					r := attempt(fmt.Sprint("a", random.IntN(30)), step, time.Duration(round)*time.Second)
					r.Client = fmt.Sprint("cli_", random.IntN(3))
					entries = append(entries, connection.Entry{Record: r, Begins: random.IntN(3) == 0})
				}
				if err := s.PutConnections(ctx, entries); err != nil {
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
