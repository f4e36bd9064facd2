package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/manifest"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

func (p *planner) planTenant(ctx context.Context, b manifest.Tenant) error {
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
		p.lines = append(p.lines, clientadmin.RolePut(r))
	}
	if it.made || it.renamed || it.ruled || len(it.roles) > 0 {
		p.tenants = append(p.tenants, it)
	}
	return p.planClients(ctx, it.Tenant, there, b.Clients)
}

func (p *planner) planName(it *tenantPlan, b manifest.Tenant) error {
	if b.Name == nil {
		return nil
	}
	name, err := clientadmin.Name(*b.Name, it.ID)
	if err != nil {
		return at(err, b.Line)
	}
	fields := differences([]trait{{"name", it.Name}}, []trait{{"name", name}})
	if len(fields) == 0 {
		return nil
	}
	it.Name, it.renamed = name, true
	p.changes = append(p.changes, Change{Verb: VerbChange, Kind: KindTenant, Tenant: it.ID, Name: it.ID,
		Fields: fields})
	p.lines = append(p.lines, tenantRenamed(it.Tenant))
	return nil
}

// planNewTenant plans a tenant with its initial roles.
func (p *planner) planNewTenant(it *tenantPlan, b manifest.Tenant) error {
	s := TenantSpec{ID: b.ID}
	var scopes manifest.Words
	if b.Name != nil {
		s.Name = *b.Name
	}
	if b.Policy.Scopes != nil {
		scopes = *b.Policy.Scopes
		s.Scopes = scopes.Texts()
	}
	if len(s.Scopes) == 0 {
		if p.given += len(p.known.all); p.given > maxGiven {
			return at(refuse("name the scopes of each in its policy",
				"the new tenants for which the file names no scopes would have more than %d together",
				maxGiven), b.Line)
		}
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

func (p *planner) planPolicy(ctx context.Context, it *tenantPlan, b manifest.Policy) error {
	if b.Line == 0 {
		return nil
	}
	s := PolicySpec{Tenant: it.ID, MaxAccessTokenLifetime: b.MaxAccessTokenLifetime,
		MaxRefreshTokenLifetime: b.MaxRefreshTokenLifetime}
	var lists []manifest.Words
	for _, list := range []struct {
		from *manifest.Words
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
	p.changes = append(p.changes, Change{Verb: VerbChange, Kind: KindPolicy, Tenant: it.ID, Name: it.ID,
		Fields: fields})
	p.lines = append(p.lines, policySet(it.ID, next))
	return nil
}

// planRoles plans the tenant's roles, and checks that its administrators can still authorize an
// agent; scopes are those of its previous policy.
func (p *planner) planRoles(ctx context.Context, it *tenantPlan, b manifest.Tenant, scopes []string) error {
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
		return at(clientadmin.LockedOut(&user.Lockout{TenantID: it.ID}), it.line)
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

// planRole plans one role among those that will exist.
func (p *planner) planRole(it *tenantPlan, b manifest.Role, final map[string]user.Role) error {
	role, err := p.registrar.DraftRole(RoleSpec{Tenant: it.ID, Role: b.Name, Scopes: b.Scopes.Texts(),
		Includes: b.Includes.Texts(), Admin: b.Admin}, it.Tenant)
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

// resolved returns a tenant's roles with what each gives, those of the manifest first, so that a
// cycle is reported from one of them.
func resolved(b manifest.Tenant, final map[string]user.Role) (roles []user.Role, err error) {
	for _, r := range b.Roles {
		roles = append(roles, final[r.Name])
	}
	for _, name := range slices.Sorted(maps.Keys(final)) {
		if !slices.ContainsFunc(b.Roles, func(r manifest.Role) bool { return r.Name == name }) {
			roles = append(roles, final[name])
		}
	}
	gives, err := user.Resolve(roles)
	for i := range roles {
		roles[i].Gives = gives[roles[i].Name]
	}
	return roles, err
}

// misfit names the line of the first role of the manifest that conflicts with others.
func (p *planner) misfit(err error, b manifest.Tenant) error {
	refused := clientadmin.RoleRefused(err, b.ID)
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
