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

// plan is what it takes to make everything as a file says, checked by the rules of the single acts.
// Nothing of it is done yet.
type plan struct {
	changes       []Change
	resources     []issuer.Resource // to put
	tenants       []tenantPlan
	made, altered []client.Client
	places        []int         // where in changes those made are
	lines         []audit.Event // of all but the resources, whose stores write them
}

// tenantPlan is a tenant as it will be.
type tenantPlan struct {
	tenant.Tenant
	made, renamed, ruled bool        // ruled: it has another policy
	roles                []user.Role // to put
	line                 int         // of what would leave it without admins
}

// planner makes a plan. Its door knows the resources that there will be.
type planner struct {
	*Door
	registrar *clientadmin.Admin
	there     map[string]tenant.Tenant // that there are
	given     int                      // scopes that new tenants begin with because the file names none for them
	plan
}

// What a short file could make much of: each new tenant for which it names no scopes may have all
// that there are.
const (
	maxKnown = 5_000     // scopes of all resources together, where a file brings resources
	maxGiven = 1_000_000 // scopes of such tenants together
)

// plan compares what there is with what there should be. What the rules refuse is a *Refusal that
// names the line.
func (d *Door) plan(ctx context.Context, b manifest.Manifest) (*plan, error) {
	if err := b.Check(); err != nil { // whoever brings it to the door need not have read it from a file
		return nil, refuse("", "%v", err)
	}
	next := *d
	p := &planner{Door: &next, there: map[string]tenant.Tenant{}}
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
	tenants, err := p.Tenants.Tenants(ctx) // and not one by one: those that this process remembers may be a second old
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

// at says in which line a refusal stands: that of the word that it quotes, or else of the entry.
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

// configured says whether a resource is the configuration's, just as it is here.
func (p *planner) configured(r issuer.Resource) bool {
	if !p.Resources.Fixed(r.URI) {
		return false
	}
	all, life := p.Resources.All(), p.Resources.Life()
	i := slices.IndexFunc(all, func(k issuer.Resource) bool { return k.URI == r.URI })
	if i < 0 {
		return false
	}
	own, ownErr := all[i].Check(life)
	said, err := r.Check(life)
	return ownErr == nil && err == nil && len(differences(resourceTraits(own), resourceTraits(said))) == 0
}
