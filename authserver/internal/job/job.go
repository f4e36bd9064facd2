// Package job runs background jobs: each periodically, in batches, at one replica at a time, and
// records how the runs went.
//
// A job is leased by one guarded statement in the store. Its holder runs batch after batch and
// renews the lease before each, so that a holder that died loses the job when the lease expires,
// and one that was only paused notices before its next batch. Each batch is one short transaction,
// so that writers wait for one batch at most.
package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-mcp/gatehouse/shared/outage"
)

// Most bounds the rows that a batch reads or deletes.
const Most = 500

// Skew is how far apart the clocks of replicas may be.
const Skew = time.Minute

// The times of a Runner.
const (
	lookEvery  = 10 * time.Second
	leaseTime  = time.Minute      // longer than a batch may take
	batchTime  = 10 * time.Second // for one batch
	turnTime   = time.Minute      // for one job, before the next one runs
	lastWrite  = 2 * time.Second  // for recording a run that was stopped
	mostErrors = 300              // bytes of an error that are stored
)

// ErrHeld says that another runner has the job.
var ErrHeld = errors.New("another runner has the job")

// ErrUnknown says that there is no job of this name.
var ErrUnknown = errors.New("there is no such job")

// errLost says that another runner took over the job during a run.
var errLost = errors.New("another runner took the job over")

// Job is a background job.
type Job struct {
	Name  string
	About string // what it deletes, in words
	Every time.Duration
	// Batch does one bounded batch in one short transaction. after is where the previous batch of
	// this run ended; empty for the first.
	Batch func(ctx context.Context, now time.Time, after string) (Done, error)
}

// Done is the result of a batch.
type Done struct {
	Rows int64  // deleted
	Next string // where the next batch goes on; empty: nothing is left
}

// Keeping is how long expired things are kept.
type Keeping struct {
	Clients time.Duration // registered dynamically and unused
	Keys    time.Duration // after they were replaced
	Audit   time.Duration // negative: forever
}

// The outcomes of runs.
const (
	Running    = "running"
	OK         = "ok"
	Unfinished = "unfinished" // its time ran out, and something is left
	Stopped    = "stopped"    // its process was told to stop
	Failed     = "failed"
	BrokenOff  = "broken off" // its holder died; never stored, but derived from a run whose lease expired
)

// State is the state of a job: its last run, or the current one.
type State struct {
	Name    string
	Run     int64     // number of the run; 0: none yet
	Holder  string    // the replica
	Until   time.Time // end of the lease; zero: no holder
	BeganAt time.Time
	Took    time.Duration
	Removed int64 // rows deleted
	Outcome string
	Error   string
	After   string    // where the next run goes on; empty: at the beginning
	NextAt  time.Time // when it runs again, or soon after
}

// Store stores leases of jobs and their last runs.
type Store interface {
	// TakeJob begins a run of s.Name for s.Holder until s.Until, at s.BeganAt, unless another
	// holder has the job at that time or its next run is after due. One statement decides: of
	// concurrent calls one gets the number of the run and where the previous run ended, the others
	// ErrHeld. Times that only a wrong clock can have written are ignored: no lease is longer than
	// s.Until and Skew, and no next run later than s.NextAt and Skew.
	TakeJob(ctx context.Context, s State, due time.Time) (run int64, after string, err error)
	// KeepJob writes s.Until, s.Took, s.Removed, s.Outcome, s.Error, s.After and s.NextAt of run
	// s.Run, and reports whether that is the newest run; if not, nothing is written.
	KeepJob(ctx context.Context, s State) (bool, error)
	// JobStates returns the state of every job that ever ran.
	JobStates(ctx context.Context) ([]State, error)
}

// Runner runs jobs. It is safe for concurrent use.
type Runner struct {
	Store   Store
	Jobs    []Job
	Replica string // name of this process, unique among replicas
	Now     func() time.Time
	Log     *slog.Logger
	Failing *outage.Log // logs failures
}

// Run runs each job when it is due, until ctx ends.
func (r *Runner) Run(ctx context.Context) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			r.Turn(ctx)
		}
	}
}

// Turn runs each job that is due and not leased, one after another. A failure is logged and stops
// no other job.
func (r *Runner) Turn(ctx context.Context) {
	states, err := r.List(ctx)
	if err != nil {
		r.complain(ctx, "looking which jobs are due", err)
		return
	}
	for i, s := range states {
		now := r.Now()
		if waits, held := between(now, s.NextAt, r.Jobs[i].Every), between(now, s.Until, leaseTime); ctx.Err() != nil ||
			waits || held {
			continue
		}
		done, err := r.run(ctx, r.Jobs[i], now, turnTime)
		switch {
		case errors.Is(err, ErrHeld): // another replica was faster
		case err != nil:
			r.complain(ctx, "job "+s.Name, err)
		case done.Removed > 0:
			r.Log.Info("a job took something away", "job", s.Name, "removed", done.Removed, "took", done.Took.String(),
				"outcome", done.Outcome)
		}
	}
}

// between reports whether a time is in the future, and no later than a correct clock can have made
// it.
func between(now, at time.Time, most time.Duration) bool {
	return at.After(now) && !at.After(now.Add(most+Skew))
}

func (r *Runner) complain(ctx context.Context, step string, err error) {
	if ctx.Err() == nil {
		r.Failing.Failed(step, err)
	}
}

// forever returns a time after every next run.
func forever() time.Time { return time.Unix(1<<40, 0) }

// Once runs a job now, whether or not it is due, for at most budget, and returns its state. It
// returns ErrHeld, with the holder, when another runner has the job.
func (r *Runner) Once(ctx context.Context, name string, budget time.Duration) (State, error) {
	i := slices.IndexFunc(r.Jobs, func(j Job) bool { return j.Name == name })
	if i < 0 {
		return State{}, ErrUnknown
	}
	s, err := r.run(ctx, r.Jobs[i], forever(), budget)
	if !errors.Is(err, ErrHeld) {
		return s, err
	}
	states, unread := r.List(ctx)
	if unread != nil {
		return State{}, errors.Join(err, unread)
	}
	return states[i], err
}

// List returns the states of all jobs, in their order.
func (r *Runner) List(ctx context.Context) ([]State, error) {
	kept, err := r.Store.JobStates(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading how the jobs stand: %w", err)
	}
	var all []State
	for _, j := range r.Jobs {
		s := State{Name: j.Name}
		if i := slices.IndexFunc(kept, func(s State) bool { return s.Name == j.Name }); i >= 0 {
			s = kept[i]
		}
		if s.Outcome == Running && !between(r.Now(), s.Until, leaseTime) {
			s.Outcome = BrokenOff
		}
		all = append(all, s)
	}
	return all, nil
}

// run leases a job that is due and runs batches until nothing is left, the budget is spent, or the
// lease is lost.
func (r *Runner) run(ctx context.Context, j Job, due time.Time, budget time.Duration) (State, error) {
	began := r.Now()
	s := State{Name: j.Name, Holder: r.Replica, BeganAt: began, Until: began.Add(leaseTime), NextAt: began.Add(j.Every),
		Outcome: Running}
	var err error
	if s.Run, s.After, err = r.Store.TakeJob(ctx, s, due); err != nil {
		return s, err
	}
	s.NextAt = time.Time{}
	for next := s.After; ; {
		var done Done
		done, err = r.batch(ctx, j, next)
		s.Removed += done.Rows
		next = done.Next
		s.After = next
		now := r.Now()
		s.Took, s.Until = now.Sub(began).Round(time.Millisecond), now.Add(leaseTime)
		if err != nil || next == "" || ctx.Err() != nil || s.Took >= budget {
			s.Outcome = outcome(ctx, err, next)
			break
		}
		var ours bool
		if ours, err = r.Store.KeepJob(ctx, s); err == nil && !ours {
			err = errLost
		}
		if err != nil {
			s.Outcome = outcome(ctx, err, next)
			break
		}
	}
	err = r.end(ctx, j, &s, err)
	return s, err
}

func (r *Runner) batch(ctx context.Context, j Job, after string) (Done, error) {
	ctx, cancel := context.WithTimeout(ctx, batchTime)
	defer cancel()
	return j.Batch(ctx, r.Now(), after)
}

func outcome(ctx context.Context, err error, next string) string {
	switch {
	case err == nil && next == "":
		return OK
	case ctx.Err() != nil:
		return Stopped
	case err != nil:
		return Failed
	}
	return Unfinished
}

// end records how a run ended and releases the job, also when this process is stopped. A run that
// lost its lease writes nothing.
func (r *Runner) end(ctx context.Context, j Job, s *State, err error) error {
	s.Until, s.NextAt = time.Time{}, s.BeganAt.Add(j.Every)
	if s.Outcome == Unfinished || s.Outcome == Stopped { // the next runner goes on
		s.NextAt = r.Now()
	}
	if err != nil && s.Outcome == Failed {
		s.Error, s.After = short(err.Error()), ""
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
	defer cancel()
	ours, unkept := r.Store.KeepJob(ctx, *s)
	switch {
	case unkept != nil:
		return errors.Join(err, fmt.Errorf("keeping how the job ended: %w", unkept))
	case !ours:
		return cmp.Or(err, errLost)
	}
	return err
}

// short returns the beginning of an error.
func short(s string) string {
	if len(s) <= mostErrors {
		return s
	}
	at := mostErrors
	for at > 0 && !utf8.RuneStart(s[at]) {
		at--
	}
	return s[:at] + "…"
}
