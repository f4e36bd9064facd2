package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
)

func (c *command) jobCommands() *cobra.Command {
	return c.noun(groupOperate, "job", "List and run the background jobs that delete expired data",
		c.verb("list", "List the background jobs with their last runs", "--json", jobList),
		c.verb("run NAME", "Run a background job now", "refresh-tokens", jobRun),
	)
}

func jobList(*pflag.FlagSet) action {
	return func(ctx context.Context, c *command) error {
		var jobs []authserver.JobFound
		if err := c.act(ctx, "job.list", struct{}{}, &jobs); err != nil {
			return err
		}
		var people, programs, failed [][]any
		for _, j := range jobs {
			programs = append(programs, []any{j.Name, j.About, j.Every, j.BeganAt, j.Took, j.Removed, j.Outcome,
				j.Error, j.Holder, j.Until, j.NextAt, j.Run})
			removed := ""
			if j.Run > 0 {
				removed = fmt.Sprint(j.Removed)
			}
			people = append(people, []any{j.Name, age(j.Every), ago(c.program.Now(), j.BeganAt), j.Took, removed,
				j.Outcome, nextRun(c.program.Now(), j), j.About})
			if j.Outcome == authserver.JobFailed {
				failed = append(failed, []any{j.Name, j.Holder, j.Error})
			}
		}
		if c.json {
			return c.list("NAME\tDELETES\tEVERY\tBEGAN\tTOOK\tREMOVED\tOUTCOME\tERROR\tREPLICA\tHELD "+
				"UNTIL\tNEXT\tRUN", programs)
		}
		return c.answer(part{heading: "NAME\tEVERY\tLAST RUN\tTOOK\tREMOVED\tOUTCOME\tNEXT\tDELETES", rows: people},
			part{title: "failed:", heading: "NAME\tREPLICA\tERROR", rows: failed})
	}
}

// ago is how long ago t was; empty: never.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return age(now.Sub(t)) + " ago"
}

// nextRun is when a job runs next; a running server starts one that is due within ten seconds.
// Empty while it runs.
func nextRun(now time.Time, j authserver.JobFound) string {
	if j.Until.After(now) {
		return ""
	}
	if !j.NextAt.After(now) {
		return "due"
	}
	return "in " + age(j.NextAt.Sub(now))
}

func jobRun(*pflag.FlagSet) action {
	return func(ctx context.Context, c *command) error {
		var s authserver.JobState
		if err := c.act(ctx, "job.run", c.operand, &s); err != nil {
			return err
		}
		text := fmt.Sprintf("job %s: %d removed in %s", s.Name, s.Removed, s.Took)
		if s.Outcome == authserver.JobUnfinished {
			text += "; its time was up before it was done: run it again, or leave the rest to the server"
		}
		return c.done(text, field{"name", s.Name}, field{"removed", s.Removed}, field{"took", s.Took},
			field{"outcome", s.Outcome}, field{"next", s.NextAt})
	}
}
