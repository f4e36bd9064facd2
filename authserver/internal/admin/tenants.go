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

// The initial roles of every tenant.
const (
	// all that the tenant's policy allows, and administration of the tenant's clients and roles
	RoleAdmin  = "agent-admin"
	RoleReader = "reader" // the resources' baseline scopes, as far as the tenant's policy allows them
)

// TenantSpec describes a tenant to create.
type TenantSpec struct {
	ID     string   // see tenant.ValidID; never changed
	Name   string   // display name; empty means the ID
	Scopes []string // the tenant's policy; empty means all existing scopes
}

// CreateTenant creates a tenant with the roles agent-admin and reader.
func (d *API) CreateTenant(ctx context.Context, s TenantSpec) (t tenant.Tenant, err error) {
	err = d.Together(ctx, func(in *API) error {
		t, err = in.createTenant(ctx, s)
		return err
	})
	return t, err
}

func (d *API) createTenant(ctx context.Context, s TenantSpec) (tenant.Tenant, error) {
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

// draftTenant returns the tenant that a TenantSpec describes, checked, and its initial roles.
// Nothing is stored.
func (d *API) draftTenant(s TenantSpec) (t tenant.Tenant, roles []RoleSpec, err error) {
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

// tenantCreated returns the audit event of a created tenant.
func tenantCreated(t tenant.Tenant) audit.Event {
	return audit.Event{Action: "tenant.create", Target: t.ID, Tenant: t.ID, Detail: oauth.FormatScope(t.Scopes)}
}

// once returns the words without duplicates.
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

// ListTenants lists all tenants, ordered by id.
func (d *API) ListTenants(ctx context.Context) ([]tenant.Tenant, error) {
	return d.Tenants.Tenants(ctx)
}

// TenantShown is a tenant with its roles and members.
type TenantShown struct {
	tenant.Tenant
	Roles   []user.Role
	Members []user.Member // at most maxPeople
}

// ShowTenant returns a tenant, its roles and members.
func (d *API) ShowTenant(ctx context.Context, id string) (s TenantShown, err error) {
	if s.Tenant, err = d.tenant(ctx, id); err != nil {
		return s, err
	}
	if s.Roles, err = d.Users.Roles(ctx, id); err != nil {
		return s, fmt.Errorf("reading the roles of %s: %w", id, err)
	}
	s.Members, err = d.Users.Members(ctx, id, maxPeople)
	return s, err
}

// TenantName is a tenant's display name.
type TenantName struct{ ID, Name string }

// RenameTenant changes a tenant's display name. Its id stays.
func (d *API) RenameTenant(ctx context.Context, s TenantName) error {
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

// tenantRenamed returns the audit event of a renamed tenant.
func tenantRenamed(t tenant.Tenant) audit.Event {
	return audit.Event{Action: "tenant.rename", Target: t.ID, Tenant: t.ID, Detail: t.Name}
}
