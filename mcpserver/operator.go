package mcpserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/book"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/rollout"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/tools"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/usage"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
)

// What the operator's door speaks, for programs outside this wing.
type (
	UsageRow = usage.Row
	Traffic  = usage.Traffic
	Mode     = rollout.Setting
)

// Everyone stands for every tenant that has no mode of its own.
const Everyone = rollout.Everyone

// Refusal is an act that cannot be done as it was asked for. The operator reads both sentences.
type Refusal struct {
	Reason string // what is wrong
	Hint   string // what to do about it; may be empty
}

func (r *Refusal) Error() string { return r.Reason }

// Operator is the operator's door to this wing. It is safe for concurrent use.
type Operator struct {
	book      *book.DB
	modes     *rollout.Modes
	usage     *usage.Counter // nil: nothing is served here
	guard     *guard.Guard
	tables    func(tenantID string) *guard.Table
	tools     []string
	anonymous bool
	now       func() time.Time
}

// actor is who stands in the lines that this door writes.
const actor = "operator"

// OpenOperator opens the operator's door without serving anything, for commands. close closes the stores.
func OpenOperator(ctx context.Context, c Config, d Deps) (door *Operator, close func() error, err error) {
	d.fill()
	if c, err = c.resolve(); err != nil {
		return nil, nil, err
	}
	if d.Revoked == nil && c.Redis == "" {
		d.Revoked = unasked{}
	}
	b, err := open(ctx, c, d)
	if err != nil {
		return nil, nil, err
	}
	o := &Operator{book: b.book, modes: rollout.New(b.book, d.Now, d.Log), anonymous: c.InsecureAllowAnonymous, now: d.Now}
	all := tools.All(b.crm)
	o.tools = names(all)
	if o.guard, err = check(c, d, b); err == nil {
		o.tables, err = guard.Always(rules(all))
	}
	if err == nil {
		err = o.modes.Refresh(ctx)
	}
	if err != nil {
		return nil, nil, errors.Join(err, b.close())
	}
	return o, b.close, nil
}

// unasked is the list of ended grants of a command that cannot reach it: no token is believed then.
type unasked struct{}

func (unasked) Ended(context.Context, string) (bool, error) {
	return false, errors.New("the list of ended grants is in the memory of the server that runs")
}

// Act is one thing the operator can do: JSON in, a value out that JSON can write.
type Act = func(ctx context.Context, arguments json.RawMessage) (any, error)

// Acts is all that the door does, by name.
func (o *Operator) Acts() map[string]Act {
	return map[string]Act{
		"usage.list":     with(func(ctx context.Context, a UsageAsked) (any, error) { return o.Usage(ctx, a) }),
		"rollout.set":    with(func(ctx context.Context, m ModeSpec) (any, error) { return nil, o.SetMode(ctx, m) }),
		"rollout.report": with(func(ctx context.Context, a ReportAsked) (any, error) { return o.Report(ctx, a) }),
		"tools.explain":  with(func(ctx context.Context, a ExplainAsked) (any, error) { return o.Explain(ctx, a) }),
		"tools.audit":    with(func(ctx context.Context, f audit.Filter) (any, error) { return o.Events(ctx, f) }),
		"tools.verify":   with(func(ctx context.Context, w chain.Walk) (any, error) { return o.VerifyAudit(ctx, w) }),
	}
}

// with reads an act's arguments: one JSON value of type A, and no member that A does not know.
func with[A any](do func(context.Context, A) (any, error)) Act {
	return func(ctx context.Context, arguments json.RawMessage) (any, error) {
		var a A
		d := json.NewDecoder(bytes.NewReader(arguments))
		d.DisallowUnknownFields()
		if err := d.Decode(&a); err != nil {
			return nil, &Refusal{Reason: "the act's arguments cannot be read"} // which may hold a token: they are not repeated
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, &Refusal{Reason: "something follows the act's arguments"}
		}
		return do(ctx, a)
	}
}

// flush writes what this process counted, so that what is read next holds the requests before.
func (o *Operator) flush(ctx context.Context) error {
	if o.usage == nil {
		return nil
	}
	return o.usage.Flush(ctx)
}

// UsageAsked says which usage is wanted.
type UsageAsked struct {
	Tenant string    // empty: all
	Since  time.Time // required
	Limit  int       // 0: 100
}

// Usage sums up what was used, the most used first. What other replicas counted in the last seconds may not be in it.
func (o *Operator) Usage(ctx context.Context, a UsageAsked) ([]UsageRow, error) {
	if a.Limit <= 0 {
		a.Limit = 100
	}
	if err := o.flush(ctx); err != nil {
		return nil, err
	}
	return usage.List(ctx, o.book, usage.Filter{Tenant: a.Tenant, Since: a.Since, Limit: a.Limit})
}

// ModeSpec says how strictly the rules shall count.
type ModeSpec struct {
	Tenant string // Everyone: every tenant without a mode of its own
	Nobody bool   // in place of a tenant: requests without a good token
	Tool   string // empty: all tools
	Mode   string
}

// SetMode sets a mode. It counts here at once, at every replica within a second.
func (o *Operator) SetMode(ctx context.Context, m ModeSpec) error {
	switch {
	case m.Nobody == (m.Tenant != ""):
		return &Refusal{"it is not said whose mode", "give --tenant ('*' for all that have none of their own), or --nobody for requests without a good token"}
	case m.Tool != "" && !slices.Contains(o.tools, m.Tool):
		return &Refusal{fmt.Sprintf("there is no tool %.80q", m.Tool), "the tools are: " + strings.Join(o.tools, " ")}
	case m.Nobody && m.Mode != string(guard.Enforce) && !o.anonymous:
		return &Refusal{"requests without a good token are always refused here", "--insecure-allow-anonymous lets them pass as nobody, when the server is started with it"}
	}
	err := o.modes.Set(ctx, rollout.Setting{Tenant: m.Tenant, Tool: m.Tool, Mode: guard.Mode(m.Mode)}, actor)
	if errors.Is(err, rollout.ErrMode) {
		return &Refusal{fmt.Sprintf("there is no mode %.80q", m.Mode), err.Error()}
	}
	return err
}

// Events returns the newest audit lines of this wing first.
func (o *Operator) Events(ctx context.Context, f audit.Filter) ([]audit.Record, error) {
	return o.book.Events(ctx, f)
}

// VerifyAudit walks along the chain of this wing's audit lines; a walk is bounded, so that it is called until it is done.
func (o *Operator) VerifyAudit(ctx context.Context, w chain.Walk) (chain.Walked, error) {
	return o.book.Audit().Verify(ctx, w)
}
