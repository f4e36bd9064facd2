// Package admin owns the operator's door: what an operator may do to tenants, people, clients,
// grants and keys.
//
// Check and audit are one act: the line is written first, and an act whose line cannot be written
// does not happen. So a line may stand for an act that then did not succeed, and no act stands
// without its line.
package admin

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/job"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/trustedissuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/audit/chain"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

// Log is the record of acts, which the operator may also read.
type Log interface {
	audit.Log
	// RecordAll keeps several lines, all or none.
	RecordAll(ctx context.Context, events []audit.Event) error
	// Events returns the newest lines first.
	Events(ctx context.Context, f audit.Filter) ([]audit.Record, error)
	// Audit is the chain that they are in.
	Audit() *chain.Chain
	// PlainRecords counts the lines that say a person's address, or from where they signed in, as
	// they were written before people had keys.
	PlainRecords(ctx context.Context, userID, email string) (int64, error)
}

// Door is the operator's door. It is safe for concurrent use.
type Door struct {
	Tenants   tenant.Store
	Users     user.Store
	Clients   client.Store
	Trust     trustedissuer.Store
	Grants    grant.Store
	Audit     Log
	Ledger    *grant.Ledger
	Keys      *keyring.Ring
	Inherited func(under string) []byte                                      // see keyring.Ring.EnsureSecret
	Rekey     func(next config.Secret, seal func(config.Secret) error) error // see authserver.Deps
	Resources *issuer.Resources                                              // their scopes are the ones that there are
	Catalogue issuer.ResourceStore
	Issuer    string // its identifier
	Now       func() time.Time
	// Atomically runs do with the stores of one transaction; see registrar.Registrar.
	Atomically func(ctx context.Context, do func(Stores) error) error
	// Connections are the attempts of clients to come in, and Attempts those of this process that
	// are not kept yet.
	Connections attempt.Store
	Attempts    *attempt.Log
	Jobs        *job.Runner
	// Erase takes what was deleted out of the database's files, as far as that is possible while
	// they are read. Nil: nothing does.
	Erase func(ctx context.Context) error
	// More are acts of others that come through this door too, under one roof: those of the MCP
	// server. One of ours goes before one of the same name.
	More map[string]Act

	later *clientadmin.Later // what waits for the transaction that this door is part of; nil: it is part of none
	known *known             // the scopes, where the resources stay as they are; nil: they are looked up each time
}

// known are the scopes of all resources; see Door.scopes.
type known struct{ all, baseline []string }

// Stores are what acts read and change, with the record of them.
type Stores interface {
	clientadmin.Stores
	issuer.ResourceStore
	Log
}

// Together does several acts as one: all of them, with their lines, or none. What no transaction
// can take back, the ending of grants, is done after it. do must use no other door, and give up
// when an act is refused. Acts upon keys are not for it.
func (d *Door) Together(ctx context.Context, do func(*Door) error) error {
	if d.later != nil {
		return do(d)
	}
	var later clientadmin.Later
	err := d.Atomically(ctx, func(s Stores) error {
		in := *d
		in.Tenants, in.Users, in.Clients, in.Trust, in.Grants, in.Audit, in.Catalogue, in.later = s, s, s, s, s, s,
			s, &later
		in.Atomically = func(_ context.Context, do func(Stores) error) error { return do(s) }
		return do(&in)
	})
	if err != nil {
		return err
	}
	return later.Run(ctx)
}

// actor is who stands in the lines that this door writes.
func actor(ctx context.Context) grant.Actor { return grant.Actor(audit.OperatorOf(ctx)) }

// Refusal is an act that cannot be done as it was asked for. The operator reads both sentences.
type Refusal = clientadmin.Refusal

func refuse(hint, format string, a ...any) *Refusal { return clientadmin.Refuse(hint, format, a...) }

// Registrar makes clients, for the operator and for those who look after a tenant's.
func (d *Door) Registrar() *clientadmin.Admin {
	return &clientadmin.Admin{
		Tenants: d.Tenants, Users: d.Users, Clients: d.Clients, Grants: d.Grants, Ledger: d.Ledger, Audit: d.Audit,
		Now: d.Now, Later: d.later,
		Scopes: func() []string { all, _ := d.scopes(); return all },
		Serves: func(uri string) bool {
			return slices.ContainsFunc(d.Resources.All(), func(r issuer.Resource) bool { return r.URI == uri })
		},
		Atomically: func(ctx context.Context, do func(clientadmin.Stores) error) error {
			return d.Atomically(ctx, func(s Stores) error { return do(s) })
		},
	}
}

// record writes the line of an act. Only when it returns nil may the act happen.
func (d *Door) record(ctx context.Context, e audit.Event) error {
	e.Time, e.Actor = d.now(), audit.OperatorOf(ctx)
	if err := d.Audit.Record(ctx, e); err != nil {
		return fmt.Errorf("writing the audit line of %s: %w", e.Action, err)
	}
	return nil
}

// recordAll writes the lines of several acts. Only when it returns nil may any of them happen.
func (d *Door) recordAll(ctx context.Context, events []audit.Event) error {
	for i := range events {
		events[i].Time, events[i].Actor = d.now(), audit.OperatorOf(ctx)
	}
	if err := d.Audit.RecordAll(ctx, events); err != nil {
		return fmt.Errorf("writing %d audit lines: %w", len(events), err)
	}
	return nil
}

func (d *Door) now() time.Time { return d.Now().UTC().Truncate(time.Second) }

// tenant returns a tenant that must be there.
func (d *Door) tenant(ctx context.Context, id string) (tenant.Tenant, error) {
	return d.Registrar().Tenant(ctx, clientadmin.Operator, id)
}

// scopes returns the names of all scopes of all resources, each once, and those of them that are a
// resource's baseline.
func (d *Door) scopes() (all, baseline []string) {
	if d.known != nil {
		return slices.Clip(d.known.all), slices.Clip(d.known.baseline)
	}
	seen := map[string]bool{}
	for _, r := range d.Resources.All() {
		for _, s := range r.Scopes {
			if seen[s.Name] {
				continue
			}
			seen[s.Name] = true
			all = append(all, s.Name)
			if s.Baseline {
				baseline = append(baseline, s.Name)
			}
		}
	}
	return all, baseline
}

// Events returns the newest audit lines first. What they say of a person is readable as long as the
// person is there; see package personal.
func (d *Door) Events(ctx context.Context, f audit.Filter) ([]audit.Record, error) {
	records, err := d.Audit.Events(ctx, f)
	if err != nil {
		return nil, err
	}
	return records, d.vault().Open(ctx, d.Users, records)
}

// VerifyAudit walks along the chain of audit lines; a walk is bounded, so that it is called until
// it is done.
func (d *Door) VerifyAudit(ctx context.Context, w chain.Walk) (chain.Walked, error) {
	return d.Audit.Audit().Verify(ctx, w)
}
