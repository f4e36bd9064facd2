package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
)

// attemptsAsked selects attempts.
type attemptsAsked struct {
	id, client, tenant string
	failed             bool
	since              time.Time
	limit              int
}

func (c *command) attemptCommands() *cobra.Command {
	return c.noun(groupAgents, "attempt", "Find out why a client cannot connect",
		c.verb("list", "List the attempts of clients to connect, and the step at which each stopped",
			"--failed --since 1h", attemptList),
		c.verb("show ID", "Show one attempt of a client to connect", "con_4f1c2a", attemptShow),
	)
}

func attemptList(fs *pflag.FlagSet) action {
	a := attemptsAsked{}
	fs.BoolVar(&a.failed, "failed", false, "only those that failed or were abandoned")
	fs.StringVar(&a.client, "client", "", "id of a client (default all)")
	fs.StringVar(&a.tenant, "tenant", "", "id of a tenant; an attempt has one once its person chose it (default all)")
	since := fs.Duration("since", 24*time.Hour, "how far back")
	fs.IntVar(&a.limit, "limit", 50, "maximum number, up to 1000")
	return func(ctx context.Context, c *command) error {
		a.since = c.program.Now().Add(-*since)
		found, dropped, err := c.attempts(ctx, a)
		if err != nil {
			return err
		}
		if c.json {
			p := part{name: "attempts",
				heading: "ID\tCLIENT\tNAME\tPROGRAM\tFROM\tTENANT\tUSER\tRESOURCE\tBEGAN" +
					"\tLAST\tSTEP\tOUTCOME\tREFUSED\tWHY"}
			if p.rows, err = c.rows(ctx, func(n *names) [][]any { return attemptRows(n, found) }); err != nil {
				return err
			}
			return c.answer(p, part{name: "left_out", fields: []field{{"requests", dropped}}})
		}
		if err := c.attemptTable(ctx, found); err != nil {
			return err
		}
		if dropped > 0 {
			return c.write(fmt.Appendf(nil,
				"\n%d requests are left out since the server started: there were too many at once, or from one "+
					"address", dropped))
		}
		return nil
	}
}

func attemptShow(*pflag.FlagSet) action {
	return func(ctx context.Context, c *command) error {
		found, _, err := c.attempts(ctx, attemptsAsked{id: c.operand, limit: 1})
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return &authserver.Refusal{Reason: fmt.Sprintf("there is no attempt %.80q", c.operand),
				Hint: Name + " attempt list shows them; they are kept for thirty days"}
		}
		r := found[0]
		whose, err := c.rows(ctx, func(n *names) [][]any { return [][]any{{n.tenant(r.Tenant), n.user(r.User)}} })
		if err != nil {
			return err
		}
		tenant, person := whose[0][0].(named), whose[0][1].(named)
		return c.fields([]field{
			{"id", r.ID}, {"client", r.Client}, {"name", r.ClientName}, {"program", r.Program}, {"from", r.Source},
			{"tenant", r.Tenant}, {"tenant_name", tenant.name}, {"user", r.User},
			{"user_email", person.name}, {"resource", r.Resource},
			{"resource_named", !r.NoResource}, {"began", r.StartedAt}, {"last", r.UpdatedAt}, {"step", r.Step.String()},
			{"outcome", r.Outcome}, {"refused", r.Refusals}, {"support", r.Support},
			{"why", r.Reason},
		})
	}
}

// attemptRows are the rows of the JSON list.
func attemptRows(n *names, found []authserver.Attempt) (rows [][]any) {
	for _, r := range found {
		rows = append(rows, []any{
			r.ID, r.Client, r.ClientName, r.Program, r.Source, n.tenant(r.Tenant), n.user(r.User), r.Resource,
			r.StartedAt, r.UpdatedAt, r.Step.String(), r.Outcome, r.Refusals,
			r.Reason,
		})
	}
	return rows
}

// attempts returns the attempts that the issuer recorded, with what the MCP servers recorded of
// their calls.
func (c *command) attempts(ctx context.Context, a attemptsAsked) ([]authserver.Attempt, int64, error) {
	f := authserver.AttemptFilter{ID: a.id, Failed: a.failed, Tenant: a.tenant, Since: a.since, Limit: a.limit}
	if a.client != "" {
		f.Clients = []string{a.client}
	}
	issued, err := c.issued(ctx, f)
	if err != nil {
		return nil, 0, err
	}
	asked := operator.RefusalsQuery{Client: a.client, Tenant: a.tenant, Since: a.since, Limit: a.limit,
		Calls: clientsOf(issued.Attempts)}
	if strings.HasPrefix(a.id, "ref_") {
		asked.ID = a.id
	} else if a.id != "" && len(issued.Attempts) == 1 {
		asked.Client, asked.Limit = cmp.Or(issued.Attempts[0].Client, "-"), 100
	}
	var met operator.Refusals
	if a.id == "" || asked.ID != "" || asked.Client != "" {
		if err := c.act(ctx, "tools.refusals", asked, &met); err != nil && c.gateway != "" {
			return nil, 0, err
		} else if err != nil { // the MCP server may run elsewhere
			c.program.message("warning", "the records of the MCP server are missing: "+err.Error())
		}
	}
	all := issued.Attempts
	if whose := refusedClients(met.Refusals); a.failed && len(whose) > 0 {
		// those that got their token and were refused then
		got, err := c.issued(ctx, authserver.AttemptFilter{Done: true, Clients: whose, Limit: 1000})
		if err != nil {
			return nil, 0, err
		}
		all = append(all, got.Attempts...)
	}
	all = meet(all, met)
	all = slices.DeleteFunc(all, func(r authserver.Attempt) bool {
		return a.failed && r.Outcome == authserver.AttemptDone || a.id != "" && r.ID != a.id
	})
	slices.SortStableFunc(all, func(a, b authserver.Attempt) int { return b.UpdatedAt.Compare(a.UpdatedAt) })
	return all[:min(len(all), max(a.limit, 0))], issued.Dropped, nil
}

// issued returns the attempts that the issuer recorded: none with --gateway when it runs elsewhere.
func (c *command) issued(ctx context.Context, f authserver.AttemptFilter) (found authserver.AttemptsFound,
	err error) {
	err = c.act(ctx, "attempt.list", f, &found)
	if c.gateway != "" && errors.Is(err, errNoDatabase) {
		err = nil
	}
	return found, err
}

func clientsOf(of []authserver.Attempt) (ids []string) {
	for _, r := range of {
		if r.Outcome == authserver.AttemptDone && !slices.Contains(ids, r.Client) {
			ids = append(ids, r.Client)
		}
	}
	return ids
}

func refusedClients(of []operator.Refusal) (ids []string) {
	for _, r := range of {
		if r.Client != "" && !slices.Contains(ids, r.Client) {
			ids = append(ids, r.Client)
		}
	}
	return ids
}

// meet adds the last step to the attempts: a client with a token called an MCP server, or was
// refused there. A refusal that belongs to no attempt becomes one of its own.
func meet(attempts []authserver.Attempt, met operator.Refusals) []authserver.Attempt {
	refused := map[int]bool{}
	for _, m := range met.Refusals {
		if m.Overcome {
			continue
		}
		i := slices.IndexFunc(attempts, func(r authserver.Attempt) bool {
			return r.Outcome == authserver.AttemptDone && m.Client != "" && r.Client == m.Client &&
				r.Tenant == m.Tenant && !r.StartedAt.After(m.Last)
		})
		if i < 0 {
			attempts = append(attempts, authserver.Attempt{
				ID: m.ID, Client: m.Client, Program: m.Agent, Tenant: m.Tenant, Resource: m.Resource,
				StartedAt: m.First, UpdatedAt: m.Last, Step: authserver.StepCall,
				Outcome: authserver.AttemptFailed, Reason: m.Why, Refusals: m.Times,
			})
			continue
		}
		r := &attempts[i]
		refused[i] = true
		r.Step, r.Outcome, r.Reason, r.UpdatedAt = authserver.StepCall, authserver.AttemptFailed, m.Why, m.Last
		r.Refusals += m.Times
		if m.Reason == guard.DenyAudience && r.NoResource {
			r.Reason = authserver.ForgotResource(m.About, m.Resource)
		}
	}
	for i, r := range attempts {
		called := func(m operator.LastCall) bool {
			return m.Client == r.Client && m.Tenant == r.Tenant && !m.Last.Before(r.UpdatedAt)
		}
		if r.Outcome == authserver.AttemptDone && !refused[i] && slices.ContainsFunc(met.Calls, called) {
			attempts[i].Step = authserver.StepCall
		}
	}
	return attempts
}

// attemptTable writes each attempt on a line, and below it the reason why it stopped.
func (c *command) attemptTable(ctx context.Context, found []authserver.Attempt) error {
	people, err := c.rows(ctx, func(n *names) (rows [][]any) {
		for _, r := range found {
			rows = append(rows, []any{n.user(r.User)})
		}
		return rows
	})
	if err != nil {
		return err
	}
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tTIME\tCLIENT\tPROGRAM\tTENANT\tUSER\tSTEP\tOUTCOME")
	for i, r := range found {
		person := people[i][0].(named)
		fmt.Fprintln(w, strings.Join([]string{
			r.ID, r.UpdatedAt.UTC().Format("2006-01-02 15:04Z"), cell(short(cmp.Or(r.ClientName, r.Client), 24)),
			cell(short(r.Program, 16)), cell(r.Tenant),
			cell(short(cmp.Or(person.name, person.id), nameWidth)), r.Step.String(), r.Outcome,
		}, "\t"))
	}
	err = w.Flush()
	var out strings.Builder
	for i, line := range strings.SplitAfter(strings.TrimSuffix(text.String(), "\n"), "\n") {
		out.WriteString(strings.TrimSuffix(line, "\n") + "\n")
		if i > 0 && found[i-1].Reason != "" {
			for _, why := range wrap(cell(found[i-1].Reason), c.lineWidth()-4) {
				out.WriteString("    " + why + "\n")
			}
		}
	}
	if err == nil {
		_, err = io.WriteString(c.program.Stdout, out.String())
	}
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// usualWidth is the width of a line in characters when none is known.
const usualWidth = 110

// lineWidth returns the width of a line in characters.
func (c *command) lineWidth() int {
	if n, err := strconv.Atoi(c.program.Getenv("COLUMNS")); err == nil && n >= 40 && n <= 1000 {
		return n
	}
	return cmp.Or(c.program.width(), usualWidth)
}

// short cuts a text that is too long for a column.
func short(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}
