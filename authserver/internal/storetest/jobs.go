package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/job"
	"github.com/gatehouse-mcp/gatehouse/shared/outage"
)

// runner is a replica whose clock the test sets.
type runner struct {
	job.Runner
	now time.Time
}

func newRunner(s Store, replica string, jobs ...job.Job) *runner {
	r := &runner{now: now}
	r.Runner = job.Runner{Store: s, Jobs: jobs, Replica: replica, Now: func() time.Time { return r.now },
		Log: slog.New(slog.DiscardHandler), Failing: outage.New(slog.New(slog.DiscardHandler))}
	return r
}

// steps is a job of so many batches, which does something in each.
func steps(name string, n int, do func(step int) error) job.Job {
	return job.Job{Name: name, About: "does " + name, Every: time.Hour,
		Batch: func(_ context.Context, _ time.Time, after string) (job.Done, error) {
			step := len(after) + 1
			if err := do(step); err != nil {
				return job.Done{}, err
			}
			done := job.Done{Rows: 10}
			if step < n {
				done.Next = after + "x"
			}
			return done, nil
		}}
}

func nothing(int) error { return nil }

func (r *runner) want(t *testing.T, what string, want ...job.State) {
	t.Helper()
	got, err := r.List(ctx)
	same(t, what, want, got, err)
}

// jobs: what a run leaves behind, when the next one comes, and that an error in one job stops no
// other.
func jobs(t *testing.T, open func() Store) {
	broken := errors.New("the disk is full")
	var r *runner
	r = newRunner(open(), "one",
		steps("a", 3, func(int) error { r.now = r.now.Add(2 * time.Second); return nil }),
		steps("b", 2, func(step int) error {
			if step == 2 {
				return broken
			}
			return nil
		}),
		steps("c", 1, nothing))
	r.want(t, "before the first run", job.State{Name: "a"}, job.State{Name: "b"}, job.State{Name: "c"})
	r.Turn(ctx)
	six := now.Add(6 * time.Second)
	a := job.State{Name: "a", Run: 1, Holder: "one", BeganAt: now, Took: 6 * time.Second, Removed: 30, Outcome: job.OK,
		NextAt: now.Add(time.Hour)}
	b := job.State{Name: "b", Run: 1, Holder: "one", BeganAt: six, Removed: 10, Outcome: job.Failed,
		Error: "the disk is full", NextAt: six.Add(time.Hour)}
	c := job.State{Name: "c", Run: 1, Holder: "one", BeganAt: six, Removed: 10, Outcome: job.OK,
		NextAt: six.Add(time.Hour)}
	r.want(t, "after it", a, b, c)

	other := newRunner(open(), "other", r.Jobs...)
	other.now = now.Add(time.Hour)
	other.Turn(ctx) // only a's time has come
	other.want(t, "an hour after the first began", job.State{
		Name: "a", Run: 2, Holder: "other", BeganAt: other.now, Removed: 30, Outcome: job.OK,
		NextAt: other.now.Add(time.Hour),
	}, b, c)

	got, err := other.Once(ctx, "c", time.Minute)
	c.Run, c.Holder, c.BeganAt, c.NextAt = 2, "other", other.now, other.now.Add(time.Hour)
	same(t, "before its time", c, got, err)
	_, err = other.Once(ctx, "d", time.Minute)
	wantErr(t, "a job that is none", job.ErrUnknown, err)

	// What is left when a run's time is over or its process is stopped is continued by the next
	// runner.
	r.now = now.Add(3 * time.Hour)
	short, err := r.Once(ctx, "a", 3*time.Second)
	if short.Removed != 20 || short.Outcome != job.Unfinished || !short.NextAt.Equal(r.now) || err != nil {
		t.Errorf("with little time: got %+v %v, want two of three batches, and that it goes on now", short, err)
	}
	stopping, stop := context.WithCancel(ctx)
	r.Jobs = []job.Job{steps("a", 4, func(int) error { stop(); return nil })}
	stopped, err := r.Once(stopping, "a", time.Minute)
	if stopped.Removed != 10 || stopped.Outcome != job.Stopped || err != nil {
		t.Errorf("told to stop: got %+v %v, want one batch", stopped, err)
	}
	r.want(t, "afterwards", stopped)
	hanging, stop := context.WithCancel(ctx)
	r.Jobs = []job.Job{{Name: "a", Batch: func(ctx context.Context, _ time.Time, _ string) (job.Done, error) {
		stop()
		<-ctx.Done()
		return job.Done{}, ctx.Err()
	}}}
	stopped, err = r.Once(hanging, "a", time.Minute)
	if stopped.Outcome != job.Stopped || !stopped.Until.IsZero() || !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop in the middle of a batch: got %+v %v, want it to let go", stopped, err)
	}
	r.want(t, "afterwards", stopped)
}

// whoseJob: a job is its holder's until it releases it or dies, and then the next one's.
func whoseJob(t *testing.T, open func() Store) {
	s, replica := open(), open()
	var done []string
	var one, other *runner
	one = newRunner(s, "one", steps("a", 3, func(step int) error {
		done = append(done, fmt.Sprint("one ", step))
		if step == 2 { // it hangs, and is taken for dead
			_, err := other.Once(ctx, "a", time.Minute)
			wantErr(t, "while it is held", job.ErrHeld, err)
			other.now = now.Add(time.Minute - time.Second)
			_, err = other.Once(ctx, "a", time.Minute)
			wantErr(t, "a second before it is over", job.ErrHeld, err)
			held, err := other.Once(ctx, "a", time.Minute)
			if held.Holder != "one" || !held.Until.Equal(now.Add(time.Minute)) || !errors.Is(err, job.ErrHeld) {
				t.Errorf("who has it: got %+v %v, want one", held, err)
			}
			other.now = now.Add(time.Minute)
			if all, err := other.List(ctx); err != nil || all[0].Outcome != job.BrokenOff {
				t.Errorf("when it is over: got %+v %v, want it broken off", all, err)
			}
			other.Turn(ctx)
		}
		return nil
	}))
	other = newRunner(replica, "other",
		steps("a", 3, func(step int) error { done = append(done, fmt.Sprint("other ", step)); return nil }))
	if _, err := one.Once(ctx, "a", time.Minute); err == nil {
		t.Error("the one that was taken for dead: got nil, want an error")
	}
	same(t, "the batches", []string{"one 1", "one 2", "other 2", "other 3"}, done, nil)
	at := now.Add(time.Minute)
	one.now = at
	one.want(t, "what is kept is the other's", job.State{Name: "a", Run: 2, Holder: "other", BeganAt: at, Removed: 20,
		Outcome: job.OK, NextAt: at.Add(time.Hour)})
}

// jobsAtOnce: many runners at two replicas. Each job is one's at a time, and is done once.
func jobsAtOnce(t *testing.T, open func() Store) {
	stores := []Store{open(), open()}
	var doing, done [3]atomic.Int64
	var all []job.Job
	for i := range doing {
		all = append(all, steps(fmt.Sprint("job", i), 4, func(int) error {
			if n := doing[i].Add(1); n != 1 {
				t.Errorf("%d do job %d at once", n, i)
			}
			done[i].Add(1)
			doing[i].Add(-1)
			return nil
		}))
	}
	var n atomic.Int64
	parallel(func() {
		i := n.Add(1)
		newRunner(stores[i%2], fmt.Sprint("replica", i), all...).Turn(ctx)
	})
	for i := range done {
		if got := done[i].Load(); got != 4 {
			t.Errorf("job %d: %d batches, want its four once each", i, got)
		}
	}
}

// jobsClock: what a replica stored whose clock was years ahead blocks no one.
func jobsClock(t *testing.T, open func() Store) {
	ahead := newRunner(open(), "ahead", steps("a", 1, nothing))
	ahead.now = now.Add(4 * 365 * 24 * time.Hour)
	ahead.Turn(ctx)
	r := newRunner(open(), "right", steps("a", 1, nothing))
	r.Turn(ctx)
	if got, err := r.List(ctx); err != nil || got[0].Run != 2 || got[0].Holder != "right" {
		t.Errorf("after a run of one who is years ahead: got %+v %v", got, err)
	}
	_, _, err := open().TakeJob(ctx, job.State{Name: "a", Holder: "ahead", BeganAt: ahead.now,
		Until: ahead.now.Add(time.Minute), Outcome: job.Running}, ahead.now)
	must(t, err)
	if got, err := r.Once(ctx, "a", time.Minute); err != nil || got.Run != 4 {
		t.Errorf("after it died in the middle: got %+v %v", got, err)
	}
}

// jobsGoOn: a run whose time is over leaves its place, and the next goes on there; one that fails
// does not.
func jobsGoOn(t *testing.T, open func() Store) {
	var done []int
	var r *runner
	fails := false
	r = newRunner(open(), "one", steps("a", 4, func(step int) error {
		if fails {
			return errors.New("the disk is full")
		}
		done = append(done, step)
		r.now = r.now.Add(40 * time.Second)
		return nil
	}))
	r.Turn(ctx)
	r.Turn(ctx)
	if fmt.Sprint(done) != "[1 2 3 4]" {
		t.Errorf("two turns did %v, want each step once", done)
	}
	r.now = r.now.Add(time.Hour)
	done = nil
	r.Turn(ctx)
	fails = true
	r.Turn(ctx)
	fails = false
	r.now = r.now.Add(time.Hour)
	r.Turn(ctx)
	if fmt.Sprint(done) != "[1 2 1 2]" {
		t.Errorf("after a failure: did %v, want it from the beginning", done)
	}
}
