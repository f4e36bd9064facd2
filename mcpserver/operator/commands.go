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

// Types of the packages below, for other programs.
type (
	UsageRow = usage.Row
	Traffic  = usage.Traffic
	Mode     = rollout.Setting
	Refusal  = usage.Refusal
	// CallSetting says which calls of a tenant are recorded.
	CallSetting = calls.Setting
)

// Everyone stands for all tenants without a mode of their own.
const Everyone = rollout.Everyone

// Error says that a command cannot be executed. Both sentences are for the operator.
type Error struct {
	Reason string // what is wrong
	Hint   string // what to do about it; may be empty
}

func (e *Error) Error() string { return e.Reason }

// Command is one operation: JSON arguments in, a value for JSON out.
type Command = func(ctx context.Context, arguments json.RawMessage) (any, error)

// Commands returns all commands by name.
func (g *Registry) Commands() map[string]Command {
	return map[string]Command{
		"calls.list": decode(func(ctx context.Context, f audit.Filter) (any, error) {
			return g.store.Calls().List(ctx, f)
		}),
		"calls.verify": decode(func(ctx context.Context, w chain.Walk) (any, error) {
			return g.store.Calls().Verify(ctx, w)
		}),
		"calls.set": decode(func(ctx context.Context, s CallSetting) (any, error) {
			return nil,
				g.KeepCalls(ctx, s)
		}),
		"calls.show":     decode(func(ctx context.Context, _ struct{}) (any, error) { return g.calls.Settings(ctx) }),
		"usage.list":     decode(func(ctx context.Context, a UsageQuery) (any, error) { return g.Usage(ctx, a) }),
		"rollout.set":    decode(func(ctx context.Context, m ModeSpec) (any, error) { return nil, g.SetMode(ctx, m) }),
		"rollout.report": decode(func(ctx context.Context, a ReportQuery) (any, error) { return g.Report(ctx, a) }),
		"tools.explain":  decode(func(ctx context.Context, a ExplainQuery) (any, error) { return g.Explain(ctx, a) }),
		"tools.audit":    decode(func(ctx context.Context, f audit.Filter) (any, error) { return g.Events(ctx, f) }),
		"tools.verify":   decode(func(ctx context.Context, w chain.Walk) (any, error) { return g.VerifyAudit(ctx, w) }),
		"tools.refusals": decode(func(ctx context.Context, a RefusalsQuery) (any, error) { return g.Refusals(ctx, a) }),
	}
}

// decode returns a command that decodes its arguments, one JSON value of type A without unknown
// members.
func decode[A any](do func(context.Context, A) (any, error)) Command {
	return func(ctx context.Context, arguments json.RawMessage) (any, error) {
		var a A
		dec := json.NewDecoder(bytes.NewReader(arguments))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&a); err != nil {
			// the arguments may hold a token, so they are not repeated
			return nil, &Error{Reason: "the arguments of the command are not valid"}
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return nil, &Error{Reason: "the arguments of the command are followed by something else"}
		}
		return do(ctx, a)
	}
}

// UsageQuery selects usage.
type UsageQuery struct {
	Tenant string    // empty: all
	Client string    // empty: all
	Since  time.Time // required
	Limit  int       // 0: 100
}

// Usage returns the usage of tools, the most used first. The last seconds of other replicas may be
// missing.
func (g *Registry) Usage(ctx context.Context, a UsageQuery) ([]UsageRow, error) {
	if a.Limit <= 0 {
		a.Limit = 100
	}
	if err := g.usage.Flush(ctx); err != nil {
		return nil, err
	}
	return usage.List(ctx, g.store, usage.Filter{Tenant: a.Tenant, Client: a.Client, Since: a.Since, Limit: a.Limit})
}

// RefusalsQuery selects refusals of requests. Calls are the clients whose last allowed request is
// returned.
type RefusalsQuery struct {
	ID, Client, Tenant string // empty: all
	Since              time.Time
	Limit              int // 0: 100
	Calls              []string
}

// Refusals are requests that were refused, and the last calls of clients.
type Refusals struct {
	Refusals []Refusal // the newest first
	Calls    []LastCall
}

// LastCall is when a client last had a request allowed, for a tenant.
type LastCall struct {
	Client, Tenant string
	Last           time.Time
}

// Refusals returns which requests were refused before a decision of the rules, and why. The last
// seconds of other replicas may be missing.
func (g *Registry) Refusals(ctx context.Context, a RefusalsQuery) (Refusals, error) {
	if a.Limit <= 0 {
		a.Limit = 100
	}
	if err := g.usage.Flush(ctx); err != nil {
		return Refusals{}, err
	}
	found, err := usage.Refusals(ctx, g.store, usage.RefusalFilter{ID: a.ID, Client: a.Client, Tenant: a.Tenant,
		Since: a.Since, Limit: min(a.Limit, mostRows)})
	if err != nil {
		return Refusals{}, err
	}
	last, err := usage.LastCalls(ctx, g.store, a.Calls)
	if err != nil {
		return Refusals{}, err
	}
	met := Refusals{Refusals: found}
	for h, at := range last {
		met.Calls = append(met.Calls, LastCall{h.Client, h.Tenant, at})
	}
	return met, nil
}

// ModeSpec is a mode to set.
type ModeSpec struct {
	Tenant    string // Everyone: all tenants without a mode of their own
	Anonymous bool   // instead of a tenant: requests without a valid token
	Tool      string // empty: all tools; the name of a server: all its tools
	Mode      string
}

// SetMode sets a mode. It is in effect here at once, and within a second at all replicas.
func (g *Registry) SetMode(ctx context.Context, m ModeSpec) error {
	switch {
	case m.Anonymous == (m.Tenant != ""):
		return &Error{"no tenant is given",
			"give --tenant ('*' for all that have none of their own), or --anonymous for requests without a " +
				"valid token"}
	case m.Anonymous && m.Mode != string(guard.Enforce) && !g.Anonymous:
		return &Error{"requests without a valid token are always refused here",
			"--insecure-allow-anonymous (insecure_allow_anonymous in a gateway's file) allows them as anonymous, " +
				"if the server is started with it"}
	}
	if m.Tool != "" {
		if refused := g.unknown(m.Tenant, m.Tool); refused != nil {
			return refused
		}
	}
	err := g.modes.Set(ctx, rollout.Setting{Tenant: m.Tenant, Tool: m.Tool, Mode: guard.Mode(m.Mode)},
		audit.OperatorOf(ctx))
	if errors.Is(err, rollout.ErrMode) {
		return &Error{fmt.Sprintf("there is no mode %.80q", m.Mode), err.Error()}
	}
	return err
}

// Values of CallSetting.Keep.
const (
	KeepAll               = calls.KeepAll
	KeepRefusalsAndWrites = calls.KeepRefusalsAndWrites
)

// KeepCalls sets which calls of a tenant are recorded.
func (g *Registry) KeepCalls(ctx context.Context, s CallSetting) error {
	if s.Tenant == "" {
		return &Error{"no tenant is given", "give --tenant ('*' for all that have no setting of their own)"}
	}
	err := g.calls.Set(ctx, s, audit.OperatorOf(ctx))
	if errors.Is(err, calls.ErrKeep) {
		return &Error{fmt.Sprintf("%.80q cannot be kept", s.Keep), err.Error()}
	}
	return err
}

// Events returns the newest audit records of this server.
func (g *Registry) Events(ctx context.Context, f audit.Filter) ([]audit.Record, error) {
	return g.store.Events(ctx, f)
}

// VerifyAudit verifies a part of the audit chain; call it until it is done.
func (g *Registry) VerifyAudit(ctx context.Context, w chain.Walk) (chain.Walked, error) {
	return g.store.Audit().Verify(ctx, w)
}
