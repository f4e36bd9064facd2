// Package job owns the work that one replica does for all from time to time, in batches, and the
// record of how it went.
//
// A job is taken by one guarded statement in the store, for a while; whoever took it does batch
// after batch, and takes it anew before each. So a holder that died loses it when that while is
// over, and one that only was away finds out before its next batch. Each batch is a short
// transaction of its own: nobody who wants to write waits for more than one.
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

// Most is how many rows a batch looks at or takes away, at most.
const Most = 500

// Skew is how far apart the clocks of replicas may be.
const Skew = time.Minute

// The rhythm of a Runner.
const (
	lookEvery  = 10 * time.Second
	leaseLife  = time.Minute      // longer than a batch may take
	batchTime  = 10 * time.Second // for one batch
	turnTime   = time.Minute      // for one job, until another has its turn
	lastWrite  = 2 * time.Second  // for the record of a run that was told to stop
	mostErrors = 300              // bytes of an error that are kept
)

// ErrHeld says that another runner has the job.
var ErrHeld = errors.New("another runner has the job")

// ErrUnknown says that there is no job of a name.
var ErrUnknown = errors.New("there is no such job")

// errLost says that the job was taken over by another in the middle of a run.
var errLost = errors.New("another runner took the job over")

// Job is work that is done from time to time.
type Job struct {
	Name  string
	About string // what it takes away, in words
	Every time.Duration
	// Batch does one bounded batch, in one short transaction. after is where the batch before it in
	// this run ended, and empty for the first.
	Batch func(ctx context.Context, now time.Time, after string) (Done, error)
}

// Done is what a batch did.
type Done struct {
	Rows int64  // that it took away
	Next string // after what the next batch goes on; empty: nothing is left
}

// Keeping is how long things are kept that are over.
type Keeping struct {
	Clients time.Duration // that made themselves known, and that nobody uses
	Keys    time.Duration // after another took their place
	Audit   time.Duration // negative: for ever
}

// How runs end.
const (
	Running    = "running"
	OK         = "ok"
	Unfinished = "unfinished" // its time was over, and something is left
	Stopped    = "stopped"    // its process was told to stop
	Failed     = "failed"
	BrokenOff  = "broken off" // its holder died. It is not kept so: time makes it of what is running
)

// State is how a job stands: its last run, or the one that is under way.
type State struct {
	Name    string
	Run     int64     // the number of the run; 0: there was none
	Holder  string    // the replica
	Until   time.Time // the job is its holder's until then; zero: nobody's
	BeganAt time.Time
	Took    time.Duration
	Removed int64 // rows
	Outcome string
	Error   string
	After   string    // the next run goes on there; empty: from the beginning
	NextAt  time.Time // it begins then by itself, or soon after
}

// Store keeps who has which job, and how its last run went.
type Store interface {
	// TakeJob begins a run of s.Name for s.Holder until s.Until, at s.BeganAt, unless somebody has
	// the job at that time, or its next run comes after due. One statement decides: of many at once
	// one gets the number of the run, and where the one before it left off, and the others ErrHeld.
	// What is kept by a clock that was wrong is not believed: nobody has a job for longer than
	// s.Until and Skew, and no next run comes later than s.NextAt and Skew.
	TakeJob(ctx context.Context, s State, due time.Time) (run int64, after string, err error)
	// KeepJob writes s.Until, s.Took, s.Removed, s.Outcome, s.Error, s.After and s.NextAt of the
	// run s.Run, and says whether that is the newest run; when it is not, nothing is written.
	KeepJob(ctx context.Context, s State) (bool, error)
	// JobStates returns all that is kept.
	JobStates(ctx context.Context) ([]State, error)
}

// Runner runs jobs. It is safe for concurrent use.
type Runner struct {
	Store   Store
	Jobs    []Job
	Replica string // the name of this process, among all that share the store
	Now     func() time.Time
	Log     *slog.Logger
	Failing *outage.Log // what goes wrong
}

// Run runs each job when its time has come, until ctx ends.
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

// Turn runs each job whose time has come and that nobody has, one after the other. What goes wrong
// with one is logged, and stops no other.
func (r *Runner) Turn(ctx context.Context) {
	states, err := r.List(ctx)
	if err != nil {
		r.complain(ctx, "looking which jobs are due", err)
		return
	}
	for i, s := range states {
		now := r.Now()
		if waits, held := between(now, s.NextAt, r.Jobs[i].Every), between(now, s.Until, leaseLife); ctx.Err() != nil ||
			waits || held {
			continue
		}
		done, err := r.run(ctx, r.Jobs[i], now, turnTime)
		switch {
		case errors.Is(err, ErrHeld): // another replica was quicker
		case err != nil:
			r.complain(ctx, "job "+s.Name, err)
		case done.Removed > 0:
			r.Log.Info("a job took something away", "job", s.Name, "removed", done.Removed, "took", done.Took.String(),
				"outcome", done.Outcome)
		}
	}
}

// between says whether a time is still to come, and not so late that only a clock that was wrong
// can have made it.
func between(now, at time.Time, most time.Duration) bool {
	return at.After(now) && !at.After(now.Add(most+Skew))
}

func (r *Runner) complain(ctx context.Context, step string, err error) {
	if ctx.Err() == nil {
		r.Failing.Failed(step, err)
	}
}

// forever is a time before which every next run comes.
func forever() time.Time { return time.Unix(1<<40, 0) }

// Once runs a job now, whenever its next run would come, for as long as budget says, and returns
// how that ended. ErrHeld, with who has it, when another runner does.
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

// List returns how the jobs stand, in their order.
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
		if s.Outcome == Running && !between(r.Now(), s.Until, leaseLife) {
			s.Outcome = BrokenOff
		}
		all = append(all, s)
	}
	return all, nil
}

// run takes a job that is due, and does batch after batch until nothing is left, the budget is
// spent, or the job is somebody else's.
func (r *Runner) run(ctx context.Context, j Job, due time.Time, budget time.Duration) (State, error) {
	began := r.Now()
	s := State{Name: j.Name, Holder: r.Replica, BeganAt: began, Until: began.Add(leaseLife), NextAt: began.Add(j.Every),
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
		s.Took, s.Until = now.Sub(began).Round(time.Millisecond), now.Add(leaseLife)
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

// end keeps how a run ended, and gives the job back, also when this process is told to stop. A run
// whose job is another's has nothing to write.
func (r *Runner) end(ctx context.Context, j Job, s *State, err error) error {
	s.Until, s.NextAt = time.Time{}, s.BeganAt.Add(j.Every)
	if s.Outcome == Unfinished || s.Outcome == Stopped { // whoever looks next goes on
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

// short is the beginning of an error.
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
