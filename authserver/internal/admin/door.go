// Package admin owns the operator's door: what an operator may do to tenants, people, clients, grants and keys.
//
// Check and audit are one act: the line is written first, and an act whose line cannot be written does not happen. So a line may stand
// for an act that then did not succeed, and no act stands without its line.
package admin

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/connection"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/registrar"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/trust"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// Log is the record of acts, which the operator may also read.
type Log interface {
	audit.Log
	// Events returns the newest lines first, at most limit.
	Events(ctx context.Context, limit int) ([]audit.Event, error)
}

// Door is the operator's door. It is safe for concurrent use.
type Door struct {
	Tenants   tenant.Store
	Users     user.Store
	Clients   client.Store
	Trust     trust.Store
	Grants    grant.Store
	Audit     Log
	Ledger    *grant.Ledger
	Keys      *keyring.Ring
	Resources []issuer.Resource // their scopes are the ones that there are
	Now       func() time.Time
	// Connections are the attempts of clients to come in, and Attempts those of this process that are not kept yet.
	Connections connection.Store
	Attempts    *connection.Log
	// More are acts of others that come through this door too, under one roof: those of the MCP server. One of ours goes before one of the same name.
	More map[string]Act
}

// actor is who stands in the lines that this door writes.
const actor = "operator"

// Refusal is an act that cannot be done as it was asked for. The operator reads both sentences.
type Refusal = registrar.Refusal

func refuse(hint, format string, a ...any) *Refusal { return registrar.Refuse(hint, format, a...) }

// Registrar makes clients, for the operator and for those who look after a tenant's.
func (d *Door) Registrar() *registrar.Registrar {
	all, _ := d.scopes()
	r := &registrar.Registrar{Tenants: d.Tenants, Users: d.Users, Clients: d.Clients, Ledger: d.Ledger, Audit: d.Audit, Scopes: all, Now: d.Now}
	for _, resource := range d.Resources {
		r.Resources = append(r.Resources, resource.URI)
	}
	return r
}

// record writes the line of an act. Only when it returns nil may the act happen.
func (d *Door) record(ctx context.Context, e audit.Event) error {
	e.Time, e.Actor = d.now(), actor
	if err := d.Audit.Record(ctx, e); err != nil {
		return fmt.Errorf("writing the audit line of %s: %w", e.Action, err)
	}
	return nil
}

func (d *Door) now() time.Time { return d.Now().UTC().Truncate(time.Second) }

// tenant returns a tenant that must be there.
func (d *Door) tenant(ctx context.Context, id string) (tenant.Tenant, error) {
	return d.Registrar().Tenant(ctx, registrar.Operator, id)
}

// scopes returns the names of all scopes of all resources, each once, and those of them that are a resource's baseline.
func (d *Door) scopes() (all, baseline []string) {
	for _, r := range d.Resources {
		for _, s := range r.Scopes {
			if !slices.Contains(all, s.Name) {
				all = append(all, s.Name)
				if s.Baseline {
					baseline = append(baseline, s.Name)
				}
			}
		}
	}
	return all, baseline
}

// Events returns the newest audit lines first, at most limit; 0 means 100.
func (d *Door) Events(ctx context.Context, limit int) ([]audit.Event, error) {
	if limit <= 0 {
		limit = 100
	}
	return d.Audit.Events(ctx, limit)
}
