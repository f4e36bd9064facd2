package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/guard"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/calls"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/rollout"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/usage"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
)

// What the operator's door speaks, for programs outside this wing.
type (
	UsageRow = usage.Row
	Traffic  = usage.Traffic
	Mode     = rollout.Setting
	Refused  = usage.Refusal
	// CallSetting is of which calls of a tenant records are kept.
	CallSetting = calls.Setting
)

// Everyone stands for every tenant that has no mode of its own.
const Everyone = rollout.Everyone

// Refusal is an act that cannot be done as it was asked for. The operator reads both sentences.
type Refusal struct {
	Reason string // what is wrong
	Hint   string // what to do about it; may be empty
}

func (r *Refusal) Error() string { return r.Reason }

// Act is one thing the operator can do: JSON in, a value out that JSON can write.
type Act = func(ctx context.Context, arguments json.RawMessage) (any, error)

// Acts is all that the door does, by name.
func (d *Desk) Acts() map[string]Act {
	return map[string]Act{
		"calls.list": with(func(ctx context.Context, f audit.Filter) (any,
			error) {
			return d.book.Calls().List(ctx, f)
		}),
		"calls.verify": with(func(ctx context.Context, w chain.Walk) (any,
			error) {
			return d.book.Calls().Verify(ctx, w)
		}),
		"calls.set": with(func(ctx context.Context, s CallSetting) (any, error) {
			return nil,
				d.KeepCalls(ctx, s)
		}),
		"calls.show":     with(func(ctx context.Context, _ struct{}) (any, error) { return d.calls.Settings(ctx) }),
		"usage.list":     with(func(ctx context.Context, a UsageAsked) (any, error) { return d.Usage(ctx, a) }),
		"rollout.set":    with(func(ctx context.Context, m ModeSpec) (any, error) { return nil, d.SetMode(ctx, m) }),
		"rollout.report": with(func(ctx context.Context, a ReportAsked) (any, error) { return d.Report(ctx, a) }),
		"tools.explain":  with(func(ctx context.Context, a ExplainAsked) (any, error) { return d.Explain(ctx, a) }),
		"tools.audit":    with(func(ctx context.Context, f audit.Filter) (any, error) { return d.Events(ctx, f) }),
		"tools.verify":   with(func(ctx context.Context, w chain.Walk) (any, error) { return d.VerifyAudit(ctx, w) }),
		"tools.refusals": with(func(ctx context.Context, a RefusalsAsked) (any, error) { return d.Refusals(ctx, a) }),
	}
}

// with reads an act's arguments: one JSON value of type A, and no member that A does not know.
func with[A any](do func(context.Context, A) (any, error)) Act {
	return func(ctx context.Context, arguments json.RawMessage) (any, error) {
		var a A
		dec := json.NewDecoder(bytes.NewReader(arguments))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&a); err != nil {
			// which may hold a token: they are not repeated
			return nil, &Refusal{Reason: "the act's arguments cannot be read"}
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return nil, &Refusal{Reason: "something follows the act's arguments"}
		}
		return do(ctx, a)
	}
}

// UsageAsked says which usage is wanted.
type UsageAsked struct {
	Tenant string    // empty: all
	Client string    // empty: all
	Since  time.Time // required
	Limit  int       // 0: 100
}

// Usage sums up what was used, the most used first. What other replicas counted in the last seconds
// may not be in it.
func (d *Desk) Usage(ctx context.Context, a UsageAsked) ([]UsageRow, error) {
	if a.Limit <= 0 {
		a.Limit = 100
	}
	if err := d.usage.Flush(ctx); err != nil {
		return nil, err
	}
	return usage.List(ctx, d.book, usage.Filter{Tenant: a.Tenant, Client: a.Client, Since: a.Since, Limit: a.Limit})
}

// RefusalsAsked says which refusals at the door are wanted, and of which clients it is to be said
// when they last had a request pass.
type RefusalsAsked struct {
	ID, Client, Tenant string // empty: all
	Since              time.Time
	Limit              int // 0: 100
	Calls              []string
}

// Met is how clients were met at the door of protected servers.
type Met struct {
	Refusals []Refused // the newest first
	Calls    []Called
}

// Called says when a client last had a request pass, for a tenant.
type Called struct {
	Client, Tenant string
	Last           time.Time
}

// Refusals says who was refused at the door, and why. What other replicas saw in the last seconds
// may not be in it.
func (d *Desk) Refusals(ctx context.Context, a RefusalsAsked) (Met, error) {
	if a.Limit <= 0 {
		a.Limit = 100
	}
	if err := d.usage.Flush(ctx); err != nil {
		return Met{}, err
	}
	found, err := usage.Refusals(ctx, d.book, usage.RefusalFilter{ID: a.ID, Client: a.Client, Tenant: a.Tenant,
		Since: a.Since, Limit: min(a.Limit, mostRows)})
	if err != nil {
		return Met{}, err
	}
	last, err := usage.LastCalls(ctx, d.book, a.Calls)
	if err != nil {
		return Met{}, err
	}
	met := Met{Refusals: found}
	for h, at := range last {
		met.Calls = append(met.Calls, Called{h.Client, h.Tenant, at})
	}
	return met, nil
}

// ModeSpec says how strictly the rules shall count.
type ModeSpec struct {
	Tenant string // Everyone: every tenant without a mode of its own
	Nobody bool   // in place of a tenant: requests without a good token
	Tool   string // empty: all tools; a server's name: all of its tools
	Mode   string
}

// SetMode sets a mode. It counts here at once, at every replica within a second.
func (d *Desk) SetMode(ctx context.Context, m ModeSpec) error {
	switch {
	case m.Nobody == (m.Tenant != ""):
		return &Refusal{"it is not said whose mode",
			"give --tenant ('*' for all that have none of their own), or --nobody for requests without a good token"}
	case m.Nobody && m.Mode != string(guard.Enforce) && !d.Anonymous:
		return &Refusal{"requests without a good token are always refused here",
			"--insecure-allow-anonymous (insecure_allow_anonymous in a gateway's file) lets them pass as nobody, " +
				"when the server is started with it"}
	}
	if m.Tool != "" {
		if refused := d.unknown(m.Tenant, m.Tool); refused != nil {
			return refused
		}
	}
	err := d.modes.Set(ctx, rollout.Setting{Tenant: m.Tenant, Tool: m.Tool, Mode: guard.Mode(m.Mode)},
		audit.OperatorOf(ctx))
	if errors.Is(err, rollout.ErrMode) {
		return &Refusal{fmt.Sprintf("there is no mode %.80q", m.Mode), err.Error()}
	}
	return err
}

// What may be kept of a tenant's calls.
const (
	KeepAll               = calls.KeepAll
	KeepRefusalsAndWrites = calls.KeepRefusalsAndWrites
)

// KeepCalls sets of which calls of a tenant records are kept.
func (d *Desk) KeepCalls(ctx context.Context, s CallSetting) error {
	if s.Tenant == "" {
		return &Refusal{"it is not said whose calls", "give --tenant ('*' for all that have no setting of their own)"}
	}
	err := d.calls.Set(ctx, s, audit.OperatorOf(ctx))
	if errors.Is(err, calls.ErrKeep) {
		return &Refusal{fmt.Sprintf("%.80q cannot be kept", s.Keep), err.Error()}
	}
	return err
}

// Events returns the newest audit lines of this wing first.
func (d *Desk) Events(ctx context.Context, f audit.Filter) ([]audit.Record, error) {
	return d.book.Events(ctx, f)
}

// VerifyAudit walks along the chain of this wing's audit lines; a walk is bounded, so that it is
// called until it is done.
func (d *Desk) VerifyAudit(ctx context.Context, w chain.Walk) (chain.Walked, error) {
	return d.book.Audit().Verify(ctx, w)
}
