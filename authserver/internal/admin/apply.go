package admin

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/manifest"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
)

// The bounds of an operation that applies a manifest.
const (
	maxApply  = 4 * manifest.MaxFile // bytes of the arguments: a line number and a name beside each word
	applyTime = 5 * time.Minute
)

// errOnlyTried rolls back a dry run.
var errOnlyTried = errors.New("it was only tried")

// Plan returns what Apply would change, and changes nothing: everything is done as in Apply, and
// rolled back.
func (d *API) Plan(ctx context.Context, b manifest.Manifest) ([]Change, error) {
	if _, err := d.plan(ctx, b); err != nil { // rejects most errors without locking anything
		return nil, err
	}
	tried, err := d.carryOut(ctx, b, true)
	if err != nil {
		return nil, err
	}
	for _, place := range tried.places { // these clients do not exist
		tried.changes[place].ClientID, tried.changes[place].Secret = "", ""
	}
	return tried.changes, nil
}

// Apply makes everything as a manifest says: all of it with the audit record of each change, or
// nothing. What the manifest does not name stays. Applying it again changes nothing, which is
// decided in a transaction too.
func (d *API) Apply(ctx context.Context, b manifest.Manifest) ([]Change, error) {
	p, err := d.plan(ctx, b) // rejects most errors without locking anything
	if err != nil {
		return nil, err
	}
	if err := d.keysFor(ctx, b, p); err != nil {
		return nil, err
	}
	done, err := d.carryOut(ctx, b, false)
	if err != nil {
		return nil, err
	}
	if len(done.resources) > 0 {
		// What is committed is returned, secrets above all, even when rereading fails; the server
		// rereads within half a second.
		_, _ = d.Resources.Refresh(ctx)
	}
	return done.changes, nil
}

// keysFor creates the first keys of algorithms that were not in use. Keys are not part of the
// transaction, so a manifest that would be rejected creates none.
func (d *API) keysFor(ctx context.Context, b manifest.Manifest, p *plan) error {
	var fresh []string
	for _, r := range p.resources {
		if !slices.Contains(d.Resources.Algorithms(), r.Algorithm) && !slices.Contains(fresh, r.Algorithm) {
			fresh = append(fresh, r.Algorithm)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if _, err := d.carryOut(ctx, b, true); err != nil {
		return err
	}
	for _, algorithm := range fresh {
		if err := d.keyFor(ctx, algorithm); err != nil {
			return err
		}
	}
	return nil
}

// carryOut plans again inside one transaction and carries the plan out. A trial is rolled back.
func (d *API) carryOut(ctx context.Context, b manifest.Manifest, trial bool) (p *plan, err error) {
	err = d.Together(ctx, func(in *API) error {
		if p, err = in.plan(ctx, b); err != nil {
			return err
		}
		if err := in.do(ctx, p); err != nil {
			return err
		}
		if trial {
			return errOnlyTried
		}
		return nil
	})
	if trial && errors.Is(err, errOnlyTried) {
		err = nil
	}
	return p, err
}

// do carries out a plan, its audit records first.
func (d *API) do(ctx context.Context, p *plan) error {
	if len(p.changes) == 0 {
		return nil
	}
	secrets := make([]string, len(p.made))
	for i := range p.made {
		secrets[i] = clientadmin.SetSecret(&p.made[i])
	}
	if err := d.recordAll(ctx, p.lines); err != nil {
		return err
	}
	for _, r := range p.resources {
		if err := d.Catalogue.PutResource(ctx, r, d.resourcePut(ctx, r)); err != nil {
			return err
		}
	}
	for _, t := range p.tenants {
		if err := d.doTenant(ctx, t); err != nil {
			return err
		}
	}
	if err := d.Clients.CreateClients(ctx, p.made); err != nil {
		return err
	}
	for _, c := range p.altered {
		if err := d.Clients.UpdateClient(ctx, c); err != nil {
			return err
		}
	}
	for i, place := range p.places {
		p.changes[place].ClientID, p.changes[place].Secret = p.made[i].ID, secrets[i]
	}
	return nil
}

func (d *API) doTenant(ctx context.Context, t tenantPlan) (err error) {
	switch {
	case t.made:
		if err = d.Tenants.CreateTenant(ctx, t.Tenant); errors.Is(err, tenant.ErrExists) {
			err = taken(t.ID) // the id is of a deleted tenant
		}
	case t.renamed:
		err = d.Tenants.RenameTenant(ctx, t.ID, t.Name)
	}
	if err == nil && t.ruled && !t.made {
		err = d.Tenants.PutPolicy(ctx, t.ID, t.Policy)
	}
	if err == nil && len(t.roles) > 0 {
		err = at(clientadmin.RoleRefused(d.Users.PutRoles(ctx, t.ID, t.roles), t.ID), t.line)
	}
	return err
}
