package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/job"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// jobTime bounds a run that the operator asks for; with its last batch it is less than a request
// may take.
const jobTime = 8 * time.Second

// JobFound is a job and its state.
type JobFound struct {
	About string
	Every time.Duration
	job.State
}

// ListJobs lists the background jobs.
func (d *API) ListJobs(ctx context.Context) ([]JobFound, error) {
	states, err := d.Jobs.List(ctx)
	if err != nil {
		return nil, err
	}
	var all []JobFound
	for i, s := range states {
		all = append(all, JobFound{d.Jobs.Jobs[i].About, d.Jobs.Jobs[i].Every, s})
	}
	return all, nil
}

// RunJob runs a job now and returns its state.
func (d *API) RunJob(ctx context.Context, name string) (job.State, error) {
	var names []string
	for _, j := range d.Jobs.Jobs {
		names = append(names, j.Name)
	}
	if !slices.Contains(names, name) {
		return job.State{}, refuse("there are "+strings.Join(names, ", "), "there is no job %.80q", name)
	}
	if err := d.record(ctx, audit.Event{Action: "job.run", Target: name}); err != nil {
		return job.State{}, err
	}
	s, err := d.Jobs.Once(ctx, name, jobTime)
	switch {
	case errors.Is(err, job.ErrHeld):
		return s, &Refusal{
			Reason: fmt.Sprintf("%s runs the job %s since %s", s.Holder, name, s.BeganAt.Format(time.RFC3339)),
			Hint: fmt.Sprintf("gatehouse job list shows how far it is; if that replica has died, anybody may run "+
				"it after %s", s.Until.Format(time.RFC3339)), Err: err,
		}
	case err != nil:
		return s, fmt.Errorf("running the job %s: %w", name, err)
	}
	return s, nil
}
