package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/manifest"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// plan is what Apply will do, checked by the rules of the single operations.
type plan struct {
	changes       []Change
	resources     []issuer.Resource // to store
	tenants       []tenantPlan
	made, altered []client.Client
	places        []int         // indexes in changes of the created clients
	lines         []audit.Event // audit records of all but the resources, whose stores write them
}

// tenantPlan is a tenant as it will be.
type tenantPlan struct {
	tenant.Tenant
	made, renamed, ruled bool        // ruled: its policy changes
	roles                []user.Role // to store
	line                 int         // line of the entry that would leave it without administrators
}

// planner makes a plan. Its API knows the resources as they will be.
type planner struct {
	*API
	registrar *clientadmin.Admin
	there     map[string]tenant.Tenant // existing tenants
	given     int                      // scopes that new tenants get because the manifest names none for them
	plan
}

// The bounds of what a short manifest can multiply: each new tenant for which it names no scopes
// gets all.
const (
	maxKnown = 5_000     // scopes of all resources together, where a file brings resources
	maxGiven = 1_000_000 // scopes of such tenants together
)

// plan compares what exists with what should exist. A violated rule is a *Refusal that names the
// line.
func (d *API) plan(ctx context.Context, b manifest.Manifest) (*plan, error) {
	if err := b.Check(); err != nil { // it may come over the socket unchecked
		return nil, refuse("", "%v", err)
	}
	next := *d
	p := &planner{API: &next, there: map[string]tenant.Tenant{}}
	if err := p.planResources(ctx, b.Resources); err != nil {
		return nil, err
	}
	all, baseline := p.scopes()
	if n := len(all); n > maxKnown && len(b.Resources) > 0 {
		return nil, refuse("", "the resources would have %d scopes together; %d are as many as a file may make", n,
			maxKnown)
	}
	p.known = &known{all, baseline}
	p.registrar = p.Registrar()
	tenants, err := p.Tenants.Tenants(ctx) // not one by one: cached tenants may be a second old
	if err != nil {
		return nil, fmt.Errorf("reading tenants: %w", err)
	}
	for _, t := range tenants {
		p.there[t.ID] = t
	}
	for _, t := range b.Tenants {
		if err := p.planTenant(ctx, t); err != nil {
			return nil, err
		}
	}
	return &p.plan, p.planClients(ctx, tenant.Tenant{}, true, b.Clients)
}

// at adds to a refusal its line: that of the word that it quotes, or else of the entry.
func at(err error, line int, lists ...manifest.Words) error {
	var r *Refusal
	if !errors.As(err, &r) {
		return err
	}
	for _, list := range lists {
		for _, word := range list {
			if strings.Contains(r.Reason, strconv.Quote(word.Text)) {
				return inLine(word.Line, r)
			}
		}
	}
	return inLine(line, r)
}

func inLine(line int, r *Refusal) *Refusal {
	return &Refusal{Reason: fmt.Sprintf("line %d: %s", line, r.Reason), Hint: r.Hint, Err: r.Err}
}

func (p *planner) planResources(ctx context.Context, all []manifest.Resource) error {
	kept, err := p.Catalogue.Resources(ctx)
	if err != nil {
		return fmt.Errorf("reading resources: %w", err)
	}
	for _, b := range all {
		r := issuer.Resource{URI: b.URI, Name: b.Name, Algorithm: b.Algorithm,
			AccessTokenLifetime: b.AccessTokenLifetime,
			Aliases:             b.Aliases}
		for _, s := range b.Scopes {
			r.Scopes = append(r.Scopes, issuer.Scope{Name: s.Name, Description: s.Description, Baseline: s.Baseline,
				Access: s.Access})
		}
		if p.configured(r) {
			continue
		}
		r, err := p.checkResource(r)
		if err != nil {
			return at(err, b.Line)
		}
		change := Change{Verb: VerbCreate, Kind: KindResource, Name: r.URI}
		i := slices.IndexFunc(kept, func(k issuer.Resource) bool { return k.URI == r.URI })
		var before []trait
		if i >= 0 {
			change.Verb, before = VerbChange, resourceTraits(kept[i])
			kept[i] = r
		} else {
			kept = append(kept, r)
		}
		if change.Fields = differences(before, resourceTraits(r)); len(change.Fields) > 0 {
			p.changes, p.resources = append(p.changes, change), append(p.resources, r)
		}
	}
	p.Resources = p.Resources.With(kept)
	return nil
}

// configured reports whether a resource is identical to one of the configuration's.
func (p *planner) configured(r issuer.Resource) bool {
	if !p.Resources.Fixed(r.URI) {
		return false
	}
	all, life := p.Resources.All(), p.Resources.DefaultLifetime()
	i := slices.IndexFunc(all, func(k issuer.Resource) bool { return k.URI == r.URI })
	if i < 0 {
		return false
	}
	own, ownErr := all[i].Check(life)
	said, err := r.Check(life)
	return ownErr == nil && err == nil && len(differences(resourceTraits(own), resourceTraits(said))) == 0
}
