// Package admin implements the operator API: every operation on tenants, people, clients, grants,
// keys, resources and jobs.
//
// Check and audit are one step: the audit record is written first, and without it nothing happens.
// So a record may be of an operation that then failed, but no operation is without its record.
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

// Log stores the audit records of operations, and reads them.
type Log interface {
	audit.Log
	// RecordAll writes several records, all or none.
	RecordAll(ctx context.Context, events []audit.Event) error
	// Events returns the newest records first.
	Events(ctx context.Context, f audit.Filter) ([]audit.Record, error)
	// Audit returns the chain of the records.
	Audit() *chain.Chain
	// PlainRecords counts the records that contain a person's address or sign-in source
	// unencrypted, as older versions wrote them.
	PlainRecords(ctx context.Context, userID, email string) (int64, error)
}

// API is the operator API. It is safe for concurrent use.
type API struct {
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
	Resources *issuer.Resources                                              // define which scopes exist
	Catalogue issuer.ResourceStore
	Issuer    string // the issuer identifier
	Now       func() time.Time
	// Atomically runs do with the stores of one transaction; see clientadmin.Admin.
	Atomically func(ctx context.Context, do func(Stores) error) error
	// AttemptStore stores clients' attempts to connect, and Attempts holds those of this process
	// that are not stored yet.
	AttemptStore attempt.Store
	Attempts     *attempt.Log
	Jobs         *job.Runner
	// Erase removes deleted data from the database's files, as far as that is possible while they
	// are in use. May be nil.
	Erase func(ctx context.Context) error
	// More are operations of the MCP server in the same process. An operation of this package takes
	// precedence over one of the same name.
	More map[string]Operation

	later *clientadmin.Later // runs after the surrounding transaction; nil: there is none
	known *known             // the scopes, where the resources cannot change; nil: they are looked up each time
}

// known are the scopes of all resources; see API.scopes.
type known struct{ all, baseline []string }

// Stores are what operations read and change.
type Stores interface {
	clientadmin.Stores
	issuer.ResourceStore
	Log
}

// Together runs several operations as one: all with their audit records, or none. What a
// transaction cannot undo, such as revoking grants, is done after it. do must use the given API
// only, and return when an operation is rejected. Operations on keys are not supported.
func (d *API) Together(ctx context.Context, do func(*API) error) error {
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

// actor returns the actor of the audit records that this API writes.
func actor(ctx context.Context) grant.Actor { return grant.Actor(audit.OperatorOf(ctx)) }

// Refusal says why an operation was rejected, with a hint.
type Refusal = clientadmin.Refusal

func refuse(hint, format string, a ...any) *Refusal { return clientadmin.Refuse(hint, format, a...) }

// Registrar returns what manages clients, for the operator and for tenants' administrators.
func (d *API) Registrar() *clientadmin.Admin {
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

// record writes an operation's audit record. Only when it returns nil may the operation go on.
func (d *API) record(ctx context.Context, e audit.Event) error {
	e.Time, e.Actor = d.now(), audit.OperatorOf(ctx)
	if err := d.Audit.Record(ctx, e); err != nil {
		return fmt.Errorf("writing the audit line of %s: %w", e.Action, err)
	}
	return nil
}

// recordAll writes several audit records. Only when it returns nil may the operations go on.
func (d *API) recordAll(ctx context.Context, events []audit.Event) error {
	for i := range events {
		events[i].Time, events[i].Actor = d.now(), audit.OperatorOf(ctx)
	}
	if err := d.Audit.RecordAll(ctx, events); err != nil {
		return fmt.Errorf("writing %d audit lines: %w", len(events), err)
	}
	return nil
}

func (d *API) now() time.Time { return d.Now().UTC().Truncate(time.Second) }

// tenant returns an existing tenant.
func (d *API) tenant(ctx context.Context, id string) (tenant.Tenant, error) {
	return d.Registrar().Tenant(ctx, clientadmin.Operator, id)
}

// scopes returns the names of all scopes of all resources, and of their baseline scopes, without
// duplicates.
func (d *API) scopes() (all, baseline []string) {
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

// Events returns the newest audit records first. Personal data is readable until the person is
// deleted; see package personal.
func (d *API) Events(ctx context.Context, f audit.Filter) ([]audit.Record, error) {
	records, err := d.Audit.Events(ctx, f)
	if err != nil {
		return nil, err
	}
	return records, d.vault().Open(ctx, d.Users, records)
}

// VerifyAudit verifies a bounded part of the audit chain; it is called until done.
func (d *API) VerifyAudit(ctx context.Context, w chain.Walk) (chain.Walked, error) {
	return d.Audit.Audit().Verify(ctx, w)
}
