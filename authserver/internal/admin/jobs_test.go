package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/job"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// outcomes are the audit lines of jobs, oldest first.
func (o *office) outcomes(t *testing.T) (all []string) {
	t.Helper()
	events, err := o.Events(t.Context(), audit.Filter{Action: "job", Limit: 100})
	must(t, err)
	for _, e := range slices.Backward(events) {
		all = append(all, strings.TrimSpace(e.Actor+" "+e.Action+" "+e.Target+" "+string(e.Outcome)))
	}
	return all
}

func TestTheOperatorRunsAJob(t *testing.T) {
	o, ctx := open(t), t.Context()
	o.acme(t)
	must(t, o.store.CreateInitialToken(ctx, client.InitialToken{Hash: "over", TenantID: "acme",
		ExpiresAt: now.Add(-time.Second), CreatedAt: now}))
	act := func(name string, arguments any, answer any) error {
		t.Helper()
		encoded, err := json.Marshal(arguments)
		must(t, err)
		raw, err := o.Act(ctx, name, encoded)
		if err == nil && answer != nil {
			must(t, json.Unmarshal(raw, answer))
		}
		return err
	}
	var done job.State
	must(t, act("job.run", "initial-tokens", &done))
	if done.Removed != 1 || done.Outcome != job.OK || done.Holder != "here/1" {
		t.Errorf("got %+v, want one removed", done)
	}
	var all []admin.JobFound
	must(t, act("job.list", struct{}{}, &all))
	for _, j := range all {
		if ran := j.Name == "initial-tokens"; j.About == "" || j.Every < time.Minute || ran != (j.Run == 1) {
			t.Errorf("got %+v, want each with what it does, and one that ran", j)
		}
	}
	refused(t, act("job.run", "Codes; DROP TABLE codes", nil), `no job "Codes; DROP TABLE codes"`)

	_, _, err := o.store.TakeJob(ctx, job.State{Name: "codes", Holder: "elsewhere/2", BeganAt: now,
		Until: now.Add(time.Minute), Outcome: job.Running}, now)
	must(t, err)
	err = act("job.run", "codes", nil)
	refused(t, err, "elsewhere/2 runs the job codes since 2026-03-04T05:06:07Z")
	if r := (*admin.Refusal)(nil); !errors.As(err, &r) || !strings.Contains(r.Hint, "2026-03-04T05:07:07Z") {
		t.Errorf("the hint: got %+v, want it to say until when", r)
	}
	o.Jobs.Jobs = []job.Job{{Name: "codes", Batch: func(context.Context, time.Time, string) (job.Done,
		error) {
		return job.Done{}, errDiskFull
	}}}
	must(t, func() error { _, err := o.store.KeepJob(ctx, job.State{Name: "codes", Run: 1}); return err }())
	if err := act("job.run", "codes", nil); !errors.Is(err, errDiskFull) {
		t.Errorf("a job that does not succeed: got %v", err)
	}
	want := []string{
		"operator job.run initial-tokens ok", "operator job.run Codes; DROP TABLE codes refused",
		"operator job.run codes ok", "operator job.run codes refused", "operator job.run codes ok",
		"operator job.run codes failed",
	}
	if got := o.outcomes(t); !slices.Equal(got, want) {
		t.Errorf("the lines: got %q\nwant %q", got, want)
	}
}

// FT-13: no line, no act.
func TestNoJobWithoutItsLine(t *testing.T) {
	o := open(t)
	o.Audit = brokenLog{o.store}
	if _, err := o.RunJob(t.Context(), "codes"); !errors.Is(err, errDiskFull) {
		t.Errorf("got %v, want the log's error", err)
	}
	if states, err := o.store.JobStates(t.Context()); err != nil || len(states) != 0 {
		t.Errorf("got %v %v, want nothing done", states, err)
	}
}
