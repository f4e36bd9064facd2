package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// The roles that every tenant begins with.
const (
	// everything that the tenant's policy allows, and its people look after the tenant's clients
	RoleAdmin  = "agent-admin"
	RoleReader = "reader" // the resources' baseline scopes, as far as the tenant's policy allows them
)

// TenantSpec says which tenant to make.
type TenantSpec struct {
	ID     string   // see tenant.ValidID; never changed
	Name   string   // for people; empty means the ID
	Scopes []string // the tenant's policy; empty means every scope there is
}

// CreateTenant makes a tenant with the roles agent-admin and reader.
func (d *Door) CreateTenant(ctx context.Context, s TenantSpec) (t tenant.Tenant, err error) {
	err = d.Together(ctx, func(in *Door) error {
		t, err = in.createTenant(ctx, s)
		return err
	})
	return t, err
}

func (d *Door) createTenant(ctx context.Context, s TenantSpec) (tenant.Tenant, error) {
	t, roles, err := d.draftTenant(s)
	if err != nil {
		return tenant.Tenant{}, err
	}
	if _, err := d.Tenants.Tenant(ctx, s.ID); err == nil {
		return tenant.Tenant{}, taken(s.ID)
	}
	if err := d.record(ctx, tenantCreated(t)); err != nil {
		return tenant.Tenant{}, err
	}
	err = d.Tenants.CreateTenant(ctx, t)
	if errors.Is(err, tenant.ErrExists) {
		return tenant.Tenant{}, taken(s.ID)
	}
	if err != nil {
		return tenant.Tenant{}, fmt.Errorf("keeping tenant %s: %w", s.ID, err)
	}
	for _, r := range roles {
		if err := d.PutRole(ctx, r); err != nil {
			return tenant.Tenant{}, err
		}
	}
	return t, nil
}

// draftTenant is the tenant that a spec makes by the rules, and the roles that it begins with.
// Nothing is kept.
func (d *Door) draftTenant(s TenantSpec) (t tenant.Tenant, roles []RoleSpec, err error) {
	if !tenant.ValidID(s.ID) {
		return t, nil, refuse("use 1 to 63 of a-z, 0-9 and inner hyphens, as in acme",
			"%q cannot be a tenant's id", s.ID)
	}
	t = tenant.Tenant{ID: s.ID, CreatedAt: d.now()}
	if t.Name, err = clientadmin.Name(s.Name, s.ID); err != nil {
		return t, nil, err
	}
	all, baseline := d.scopes()
	if len(s.Scopes) == 0 {
		s.Scopes = all
	}
	if err := clientadmin.Known(s.Scopes, all); err != nil {
		return t, nil, err
	}
	t.Scopes = once(s.Scopes)
	roles = []RoleSpec{{Tenant: t.ID, Role: RoleAdmin, Scopes: t.Scopes, Admin: true}}
	if reader := oauth.Intersect(baseline, t.Scopes); len(reader) > 0 {
		roles = append(roles, RoleSpec{Tenant: t.ID, Role: RoleReader, Scopes: reader})
	}
	return t, roles, nil
}

// tenantCreated is the line of a tenant that is made.
func tenantCreated(t tenant.Tenant) audit.Event {
	return audit.Event{Action: "tenant.create", Target: t.ID, Tenant: t.ID, Detail: oauth.FormatScope(t.Scopes)}
}

// once are the words of a list, each once.
func once(words []string) []string {
	var out []string
	for _, w := range words {
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

func taken(id string) *Refusal {
	return &Refusal{Reason: fmt.Sprintf("there is a tenant %q already", id),
		Hint: "choose another id; ids are never changed, and that of a tenant that was deleted is never given again",
		Err:  tenant.ErrExists}
}

// ListTenants returns all tenants in the order of their ids.
func (d *Door) ListTenants(ctx context.Context) ([]tenant.Tenant, error) {
	return d.Tenants.Tenants(ctx)
}

// TenantShown is a tenant with what belongs to it.
type TenantShown struct {
	tenant.Tenant
	Roles   []user.Role
	Members []user.Member // at most maxPeople
}

// ShowTenant returns a tenant, its roles and its people.
func (d *Door) ShowTenant(ctx context.Context, id string) (s TenantShown, err error) {
	if s.Tenant, err = d.tenant(ctx, id); err != nil {
		return s, err
	}
	if s.Roles, err = d.Users.Roles(ctx, id); err != nil {
		return s, fmt.Errorf("reading the roles of %s: %w", id, err)
	}
	s.Members, err = d.Users.Members(ctx, id, maxPeople)
	return s, err
}

// TenantName says what people read of a tenant.
type TenantName struct{ ID, Name string }

// RenameTenant gives a tenant another name for people. Its id stays.
func (d *Door) RenameTenant(ctx context.Context, s TenantName) error {
	t, err := d.tenant(ctx, s.ID)
	if err != nil {
		return err
	}
	name, err := clientadmin.Name(s.Name, t.ID)
	if err != nil {
		return err
	}
	t.Name = name
	if err := d.record(ctx, tenantRenamed(t)); err != nil {
		return err
	}
	return d.Tenants.RenameTenant(ctx, t.ID, name)
}

// tenantRenamed is the line of a tenant that gets the name that it has here.
func tenantRenamed(t tenant.Tenant) audit.Event {
	return audit.Event{Action: "tenant.rename", Target: t.ID, Tenant: t.ID, Detail: t.Name}
}
