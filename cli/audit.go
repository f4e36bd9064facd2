package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
)

// auditChain is a chain of audit records, with the operations that list and verify it.
type auditChain struct{ name, list, verify string }

// auditChains are the chains of the authorization server and of the MCP server.
var auditChains = [...]auditChain{
	{"issuer", "audit.list", "audit.verify"},
	{"tools", "tools.audit", "tools.verify"},
	{"calls", "calls.list", "calls.verify"},
}

// chains returns the chains that are meant: with --gateway those of the gateway.
func (c *command) chains() []auditChain {
	if c.gateway != "" {
		return auditChains[1:]
	}
	return auditChains[:]
}

func (c *command) auditCommands() *cobra.Command {
	return c.noun(groupOperate, "audit", "Read and verify the audit records",
		c.verb("list", "List who did what, what was refused, and what is unusual", "--tenant acme --since 24h",
			auditList),
		c.verb("verify", "Verify that no audit record was changed, removed, added or moved since it was sealed",
			"--head 1041:9f2c4b…", auditVerify),
	)
}

func auditList(fs *pflag.FlagSet) action {
	f := audit.Filter{}
	var since, until string
	fs.StringVar(&f.Tenant, "tenant", "", "id of a tenant (default all)")
	fs.StringVar(&f.Client, "client", "", "id of a client (default all)")
	fs.StringVar(&f.User, "user", "",
		"e-mail address or id of a person: what they did, and what was done to them (default all)")
	fs.StringVar(&f.Tool, "tool", "", "name of a tool; with --gateway UPSTREAM/TOOL (default all)")
	fs.StringVar(&f.Grant, "grant", "", "id of a grant (default all)")
	fs.StringVar(&f.Actor, "actor", "",
		"actor, as the list writes it: user:ID, client:ID, operator (any) or operator:NAME, system, address:… "+
			"(default all)")
	fs.StringVar(&f.Action, "action", "",
		"action such as token.issue, or the noun of several, such as token (default all)")
	fs.StringVar(&f.Outcome, "outcome", "",
		"outcome: ok, refused, failed, or observed (it would have been refused) (default all)")
	fs.StringVar(&since, "since", "",
		"how far back, such as 24h, or the first time: 2026-01-31, or 2026-01-31T12:00:00Z (default all)")
	fs.StringVar(&until, "until", "", "the time before which, in the same forms")
	limitFlag(fs, &f.Limit)
	return func(ctx context.Context, c *command) (err error) {
		now := c.program.Now()
		if f.Since, err = instant(since, now); err == nil {
			f.Until, err = instant(until, now)
		}
		if err == nil && f.Outcome != "" &&
			!slices.Contains([]string{audit.OK, audit.Refused, audit.Failed, audit.Observed}, f.Outcome) {
			err = fmt.Errorf("there is no outcome %.80q; there are ok, refused, failed and observed", f.Outcome)
		}
		if err != nil {
			return usageError(Name+" audit list -h lists what it takes", fmt.Errorf("audit list: %w", err))
		}
		if f.User, err = c.personID(ctx, f.User); err != nil {
			return err
		}
		lines, err := c.auditLines(ctx, f)
		if err != nil {
			return err
		}
		return c.listNamed(ctx, "RECORD\tTIME\tACTOR\tACTION\tOUTCOME\tTARGET\tTENANT\tCLIENT\tGRANT\tDETAIL",
			func(n *names) (rows [][]any) {
				for _, l := range lines {
					rows = append(rows, []any{
						l.place, l.Time, n.actor(l.Actor), l.Action, l.Outcome, n.target(l.Target, l.Tenant),
						n.tenant(l.Tenant), n.client(l.Client), l.Grant, l.Detail,
					})
				}
				return rows
			})
	}
}

// instant reads a time: a duration before now, a date, or an RFC 3339 time. Empty is the zero time.
func instant(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if far, err := time.ParseDuration(s); err == nil && far >= 0 {
		return now.Add(-far), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{},
		fmt.Errorf("%.80q is neither a duration such as 24h nor a time such as 2026-01-31 or 2026-01-31T12:00:00Z", s)
}

// personID returns the id of a person who is named by id or by e-mail address.
func (c *command) personID(ctx context.Context, who string) (string, error) {
	if !strings.Contains(who, "@") {
		return who, nil
	}
	var person authserver.User
	err := c.act(ctx, "user.show", who, &person)
	if c.gateway != "" && errors.Is(err, errNoDatabase) {
		return "", usageError("give the person's id, as a record has it after user:",
			errors.New("e-mail addresses are not known here: the issuer runs elsewhere"))
	}
	return person.ID, err
}

// auditLine is a record with its place in its chain.
type auditLine struct {
	audit.Record
	place string // "issuer 17", or - while it has none
}

// auditLines returns the newest records of all chains, newest first.
func (c *command) auditLines(ctx context.Context, f audit.Filter) ([]auditLine, error) {
	var all []auditLine
	for _, w := range c.chains() {
		if f.Tool != "" && w.name == "issuer" {
			// it has no tools: the filter would match a tenant or a client with the tool's name
			continue
		}
		var records []audit.Record
		if err := c.act(ctx, w.list, f, &records); err != nil {
			return nil, err
		}
		for _, r := range records {
			place := "-"
			if r.Seq > 0 {
				place = fmt.Sprintf("%s %d", w.name, r.Seq)
			}
			all = append(all, auditLine{r, place})
		}
	}
	slices.SortStableFunc(all, func(a, b auditLine) int { return b.Time.Compare(a.Time) })
	return all[:min(len(all), max(f.Limit, 0))], nil
}

// walkAtOnce bounds how many records one operation verifies.
const walkAtOnce = 200_000

// errBroken means that a chain does not verify. What is wrong has been printed.
var errBroken = errors.New("the audit records are not as they were sealed")

func auditVerify(fs *pflag.FlagSet) action {
	heads := map[string]*string{
		"issuer": fs.String("head", "",
			"NUMBER:HASH of the issuer's chain as it was printed before: no record up to it may be missing or changed"),
		"tools": fs.String("tools-head", "", "the same of the MCP server's chain: its NUMBER:HASH"),
		"calls": fs.String("calls-head", "", "the same of the chain of tool calls: its NUMBER:HASH"),
	}
	return func(ctx context.Context, c *command) error {
		broken := false
		var text []string
		var rows [][]any
		for _, w := range c.chains() {
			noted, given := chain.Point{}, *heads[w.name]
			if given != "" {
				var err error
				if noted, err = chain.ParsePoint(given); err != nil {
					return usageError("copy it from what "+Name+" audit verify printed",
						fmt.Errorf("audit verify: %w", err))
				}
			}
			total, found, err := c.walkChain(ctx, w.verify, noted)
			if err != nil {
				return err
			}
			text = append(text, verdictOf(w.name, total, found))
			row := []any{w.name, found.Finding == nil, total, found.Head.String(), found.Waiting,
				found.Anchored, "", ""}
			if f := found.Finding; f != nil {
				row[6], row[7] = fmt.Sprint(f.Kind), f.What
				broken = true
			}
			rows = append(rows, row)
		}
		var err error
		if !c.json {
			err = c.write([]byte(strings.Join(text, "\n")))
		} else {
			err = c.list("CHAIN\tINTACT\tRECORDS\tHEAD\tWAITING\tANCHORED\tKIND\tFOUND", rows)
		}
		if err == nil && broken {
			err = &authserver.Refusal{Reason: errBroken.Error(),
				Hint: "keep the database as it is, and compare it with a backup and with the heads that you noted"}
		}
		return err
	}
}

// walkChain verifies one chain, and counts the intact records.
func (c *command) walkChain(ctx context.Context, act string, noted chain.Point) (total int64, found chain.Walked,
	err error) {
	w := chain.Walk{Noted: noted, Limit: walkAtOnce}
	for !found.Done {
		found = chain.Walked{}
		if err := c.act(ctx, act, w, &found); err != nil {
			return 0, found, err
		}
		w.After = found.Reached
		total += found.Records
	}
	return total, found, nil
}

// verdictOf writes the result for people.
func verdictOf(name string, total int64, found chain.Walked) string {
	if f := found.Finding; f != nil {
		at := ""
		if !f.At.IsZero() {
			at = ", at " + cell(f.At)
		}
		return fmt.Sprintf("%s: BROKEN (%s%s): %s\n  up to there %d records are as they were sealed, the last is %s",
			name, f.Kind, at, f.What, total, found.Reached)
	}
	text := fmt.Sprintf("%s: %d records are as they were sealed", name, total)
	if found.Base.Seq > 0 {
		text += fmt.Sprintf(", from %d on; those before are no longer kept", found.Base.Seq+1)
	}
	if !found.Anchored {
		text += "; by the chain alone, without a key"
	}
	if found.Waiting > 0 {
		text += fmt.Sprintf("\n  %d records are not in the chain yet, and are not verified; a running server "+
			"adds them within a second", found.Waiting)
	}
	if found.Head.Seq > 0 {
		text += fmt.Sprintf("\n  head %s", found.Head)
	}
	return text
}
