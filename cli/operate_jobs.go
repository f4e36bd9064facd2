package cli

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

func jobList(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		var jobs []authserver.JobFound
		if err := c.act(ctx, "job.list", struct{}{}, &jobs); err != nil {
			return err
		}
		var people, programs, wrong [][]any
		for _, j := range jobs {
			programs = append(programs, []any{j.Name, j.About, j.Every, j.BeganAt, j.Took, j.Removed, j.Outcome,
				j.Error, j.Holder, j.Until, j.NextAt, j.Run})
			people = append(people, []any{j.Name, age(j.Every), ago(c.program.Now(), j.BeganAt), j.Took, removed(j),
				j.Outcome, next(c.program.Now(), j), j.About})
			if j.Outcome == authserver.JobFailed {
				wrong = append(wrong, []any{j.Name, j.Holder, j.Error})
			}
		}
		if c.json {
			return c.list("NAME\tCLEARS AWAY\tEVERY\tBEGAN\tTOOK\tREMOVED\tOUTCOME\tERROR\tREPLICA\tHELD "+
				"UNTIL\tNEXT\tRUN", programs)
		}
		return c.answer(part{heading: "NAME\tEVERY\tLAST RUN\tTOOK\tREMOVED\tOUTCOME\tNEXT\tCLEARS AWAY", rows: people},
			part{title: "what went wrong", heading: "NAME\tREPLICA\tERROR", rows: wrong})
	}
}

// ago is how long ago something was, in one number; empty: never.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return age(now.Sub(t)) + " ago"
}

// removed is how many rows the last run took away; empty when there was none.
func removed(j authserver.JobFound) string {
	if j.Run == 0 {
		return ""
	}
	return fmt.Sprint(j.Removed)
}

// next is when a job's next run comes; what is due a server begins within ten seconds. Empty while
// somebody runs it.
func next(now time.Time, j authserver.JobFound) string {
	if j.Until.After(now) {
		return ""
	}
	if !j.NextAt.After(now) {
		return "due"
	}
	return "in " + age(j.NextAt.Sub(now))
}

func jobRun(*flag.FlagSet) action {
	return func(ctx context.Context, c *call) error {
		var s authserver.JobState
		if err := c.act(ctx, "job.run", c.operand, &s); err != nil {
			return err
		}
		said := fmt.Sprintf("job %s: %d removed in %s", s.Name, s.Removed, s.Took)
		if s.Outcome == authserver.JobUnfinished {
			said += "; its time was over and something is left: run it again, or let the server go on"
		}
		return c.done(said, fact{"name", s.Name}, fact{"removed", s.Removed}, fact{"took", s.Took},
			fact{"outcome", s.Outcome}, fact{"next", s.NextAt})
	}
}
