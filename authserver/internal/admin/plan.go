package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/blueprint"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/registrar"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// plan is what it takes to make everything as a file says, checked by the rules of the single acts. Nothing of it is done yet.
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
	registrar *registrar.Registrar
	there     map[string]tenant.Tenant // that there are
	plan
}

// plan compares what there is with what there should be. What the rules refuse is a *Refusal that names the line.
func (d *Door) plan(ctx context.Context, b blueprint.Blueprint) (*plan, error) {
	next := *d
	p := &planner{Door: &next, there: map[string]tenant.Tenant{}}
	if err := p.planResources(ctx, b.Resources); err != nil {
		return nil, err
	}
	p.registrar = p.Registrar()
	all, _ := p.scopes()
	p.registrar.Scopes = func() []string { return all }
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
func at(err error, line int, lists ...blueprint.Words) error {
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

func (p *planner) planResources(ctx context.Context, all []blueprint.Resource) error {
	kept, err := p.Catalogue.Resources(ctx)
	if err != nil {
		return fmt.Errorf("reading resources: %w", err)
	}
	for _, b := range all {
		r := issuer.Resource{URI: b.URI, Name: b.Name, Algorithm: b.Algorithm, TokenLife: b.TokenLife, Aliases: b.Aliases}
		for _, s := range b.Scopes {
			r.Scopes = append(r.Scopes, issuer.Scope(s))
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

func (p *planner) planTenant(ctx context.Context, b blueprint.Tenant) error {
	before, there := p.there[b.ID]
	it := tenantPlan{Tenant: before, made: !there, line: b.Line}
	begin := p.planName
	if !there {
		begin = p.planNewTenant
	}
	if err := begin(&it, b); err != nil {
		return err
	}
	if err := p.planPolicy(ctx, &it, b.Policy); err != nil {
		return err
	}
	if len(b.Roles) > 0 || there && it.ruled {
		if err := p.planRoles(ctx, &it, b, before.Scopes); err != nil {
			return err
		}
	}
	for _, r := range it.roles {
		p.lines = append(p.lines, registrar.RolePut(r))
	}
	if it.made || it.renamed || it.ruled || len(it.roles) > 0 {
		p.tenants = append(p.tenants, it)
	}
	return p.planClients(ctx, it.Tenant, there, b.Clients)
}

func (p *planner) planName(it *tenantPlan, b blueprint.Tenant) error {
	if b.Name == nil {
		return nil
	}
	name, err := registrar.Name(*b.Name, it.ID)
	if err != nil {
		return at(err, b.Line)
	}
	fields := differences([]trait{{"name", it.Name}}, []trait{{"name", name}})
	if len(fields) == 0 {
		return nil
	}
	it.Name, it.renamed = name, true
	p.changes = append(p.changes, Change{Verb: VerbChange, Kind: KindTenant, Tenant: it.ID, Name: it.ID, Fields: fields})
	p.lines = append(p.lines, tenantRenamed(it.Tenant))
	return nil
}

// planNewTenant makes a tenant, with the roles that each begins with.
func (p *planner) planNewTenant(it *tenantPlan, b blueprint.Tenant) error {
	s := TenantSpec{ID: b.ID}
	var scopes blueprint.Words
	if b.Name != nil {
		s.Name = *b.Name
	}
	if b.Policy.Scopes != nil {
		scopes = *b.Policy.Scopes
		s.Scopes = scopes.Texts()
	}
	t, specs, err := p.draftTenant(s)
	if err != nil {
		return at(err, b.Line, scopes)
	}
	it.Tenant = t
	for _, s := range specs {
		role, err := p.registrar.DraftRole(s, t)
		if err != nil {
			return at(err, b.Line)
		}
		it.roles = append(it.roles, role)
	}
	fields := differences(nil, []trait{{"name", t.Name}, {"scopes", t.Scopes}})
	p.changes = append(p.changes, Change{Verb: VerbCreate, Kind: KindTenant, Tenant: t.ID, Name: t.ID, Fields: fields})
	p.lines = append(p.lines, tenantCreated(t))
	return nil
}

func (p *planner) planPolicy(ctx context.Context, it *tenantPlan, b blueprint.Policy) error {
	if b.Line == 0 {
		return nil
	}
	s := PolicySpec{Tenant: it.ID, TokenLife: b.TokenLife, RefreshLife: b.RefreshLife}
	var lists []blueprint.Words
	for _, list := range []struct {
		from *blueprint.Words
		to   **[]string
	}{{b.Scopes, &s.Scopes}, {b.Clients, &s.Clients}, {b.Registrations, &s.Registrations}} {
		if list.from != nil {
			texts := list.from.Texts()
			*list.to, lists = &texts, append(lists, *list.from)
		}
	}
	next, err := p.policy(ctx, it.Tenant, s)
	if err != nil {
		return at(err, b.Line, lists...)
	}
	fields := differences(policyTraits(it.Policy), policyTraits(next))
	if len(fields) == 0 {
		return nil
	}
	it.Policy, it.ruled = next, true
	p.changes = append(p.changes, Change{Verb: VerbChange, Kind: KindPolicy, Tenant: it.ID, Name: it.ID, Fields: fields})
	p.lines = append(p.lines, policySet(it.ID, next))
	return nil
}

// planRoles puts the tenant's roles, and looks whether those who look after it could still let something in; scopes are those of its policy before.
func (p *planner) planRoles(ctx context.Context, it *tenantPlan, b blueprint.Tenant, scopes []string) error {
	roles := slices.Clone(it.roles)
	if !it.made {
		var err error
		if roles, err = p.Users.Roles(ctx, it.ID); err != nil {
			return fmt.Errorf("reading the roles of %s: %w", it.ID, err)
		}
	}
	final := map[string]user.Role{}
	for _, r := range roles {
		final[r.Name] = r
	}
	for _, r := range b.Roles {
		if err := p.planRole(it, r, final); err != nil {
			return err
		}
	}
	all, err := resolved(b, final)
	if err != nil {
		return p.misfit(err, b)
	}
	if it.made || len(it.roles) == 0 && !it.ruled {
		return nil
	}
	held, err := p.Users.HeldRoles(ctx, it.ID)
	if err != nil {
		return fmt.Errorf("reading which roles of %s somebody has: %w", it.ID, err)
	}
	if lookedAfter(held, roles) && !lookedAfter(held, all) {
		return at(registrar.LockedOut(&user.Lockout{TenantID: it.ID}), it.line)
	}
	if adminsCan(held, roles, scopes) && !adminsCan(held, all, it.Scopes) {
		line := it.line
		if it.ruled {
			line = b.Policy.Line
		}
		return at(wouldShutOut(it.ID, it.Policy), line)
	}
	return nil
}

// planRole puts one role among those that there will be.
func (p *planner) planRole(it *tenantPlan, b blueprint.Role, final map[string]user.Role) error {
	role, err := p.registrar.DraftRole(RoleSpec{Tenant: it.ID, Role: b.Name, Scopes: b.Scopes.Texts(), Includes: b.Includes.Texts(), Admin: b.Admin}, it.Tenant)
	if err != nil {
		return at(err, b.Line, b.Scopes)
	}
	before, there := final[role.Name]
	final[role.Name] = role
	change := Change{Verb: VerbCreate, Kind: KindRole, Tenant: it.ID, Name: role.Name}
	var traits []trait
	if there && !it.made {
		change.Verb, traits = VerbChange, roleTraits(before)
	}
	if change.Fields = differences(traits, roleTraits(role)); len(change.Fields) == 0 {
		return nil
	}
	if there && before.Admin && !role.Admin && !it.made {
		it.line = b.Line
	}
	p.changes = append(p.changes, change)
	it.roles = append(slices.DeleteFunc(it.roles, func(r user.Role) bool { return r.Name == role.Name }), role)
	return nil
}

// resolved are a tenant's roles with what each gives, those of the file first, so that a circle is told from one of them on.
func resolved(b blueprint.Tenant, final map[string]user.Role) (roles []user.Role, err error) {
	for _, r := range b.Roles {
		roles = append(roles, final[r.Name])
	}
	for _, name := range slices.Sorted(maps.Keys(final)) {
		if !slices.ContainsFunc(b.Roles, func(r blueprint.Role) bool { return r.Name == name }) {
			roles = append(roles, final[name])
		}
	}
	gives, err := user.Resolve(roles)
	for i := range roles {
		roles[i].Gives = gives[roles[i].Name]
	}
	return roles, err
}

// misfit says in which line stands the first role of the file that does not fit the others.
func (p *planner) misfit(err error, b blueprint.Tenant) error {
	refused := registrar.RoleRefused(err, b.ID)
	var bad *user.RoleError
	if errors.As(err, &bad) {
		for _, name := range bad.Roles {
			for _, r := range b.Roles {
				if r.Name == name {
					return at(refused, r.Line, r.Includes)
				}
			}
		}
	}
	return at(refused, b.Line)
}

// planClients makes clients of a tenant, or of none; there says whether it can have any yet. Only those that the operator made are looked at: whoever else can
// make clients of the tenant could otherwise have one waiting under the name of one that is still to come, and be given what the file gives it.
func (p *planner) planClients(ctx context.Context, t tenant.Tenant, there bool, all []blueprint.Client) error {
	kept := map[string][]client.Client{}
	if there && len(all) > 0 {
		clients, err := p.Clients.OperatorClients(ctx, t.ID)
		if err != nil {
			return fmt.Errorf("reading the clients of %q: %w", t.ID, err)
		}
		for _, c := range clients {
			kept[c.Name] = append(kept[c.Name], c)
		}
	}
	for _, b := range all {
		next, err := p.registrar.Draft(registrar.Operator, ClientSpec{
			Name: b.Name, Tenant: t.ID, Scopes: b.Scopes.Texts(), RedirectURIs: b.RedirectURIs, Public: b.Public, Resource: b.Server, TokenExchange: b.TokenExchange,
			Assertions: b.Assertions, PostLogoutRedirectURIs: b.PostLogoutRedirectURIs, PushRequired: b.PushRequired,
		}, t)
		if err != nil {
			return at(err, b.Line, b.Scopes)
		}
		if err := p.planClient(next, kept[next.Name]); err != nil {
			return at(err, b.Line)
		}
	}
	return nil
}

// planClient makes a client, or alters the one that has its name.
func (p *planner) planClient(next client.Client, kept []client.Client) error {
	change := Change{Verb: VerbCreate, Kind: KindClient, Tenant: next.TenantID, Name: next.Name}
	if len(kept) == 0 {
		change.Fields = differences(nil, clientTraits(next))
		p.places = append(p.places, len(p.changes))
		p.changes, p.made = append(p.changes, change), append(p.made, next)
		p.lines = append(p.lines, registrar.Created(next))
		return nil
	}
	before := kept[0]
	switch {
	case len(kept) > 1:
		return refuse("delete one of them first (gatehouse client delete ID), or choose another name", "there are %d clients of the name %q, %s and %s", len(kept), next.Name, before.ID, kept[1].ID)
	case kindOf(before) != kindOf(next):
		return refuse("delete it first (gatehouse client delete "+before.ID+"), or choose another name", "the client %q is %s, and cannot become %s", next.Name, kindOf(before), kindOf(next))
	}
	change.Verb, change.ClientID = VerbChange, before.ID
	if change.Fields = differences(clientTraits(before), clientTraits(next)); len(change.Fields) == 0 {
		return nil
	}
	after := before
	after.Scopes, after.RedirectURIs, after.PostLogoutRedirectURIs, after.PushRequired = next.Scopes, next.RedirectURIs, next.PostLogoutRedirectURIs, next.PushRequired
	after.GrantTypes, after.ApplicationType = next.GrantTypes, next.ApplicationType
	p.changes, p.altered = append(p.changes, change), append(p.altered, after)
	p.lines = append(p.lines, audit.Event{Action: "client.update", Target: after.ID, Tenant: after.TenantID, Client: after.ID, Detail: described(change.Fields)})
	return nil
}

// kindOf is what a client is for good: how it proves who it is and who lets it in hang from it.
func kindOf(c client.Client) string {
	switch {
	case c.Resource != "":
		return "the protected server " + c.Resource
	case len(c.RedirectURIs) == 0:
		return "a machine client"
	case c.AuthMethod == client.AuthNone:
		return "a public application"
	}
	return "an application with a secret"
}
