package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/registrar"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// The roles that every tenant begins with.
const (
	RoleAdmin  = "agent-admin" // everything that the tenant's policy allows, and its people look after the tenant's clients
	RoleReader = "reader"      // the resources' baseline scopes, as far as the tenant's policy allows them
)

// TenantSpec says which tenant to make.
type TenantSpec struct {
	ID     string   // see tenant.ValidID; never changed
	Name   string   // for people; empty means the ID
	Scopes []string // the tenant's policy; empty means every scope there is
}

// CreateTenant makes a tenant with the roles agent-admin and reader.
func (d *Door) CreateTenant(ctx context.Context, s TenantSpec) (tenant.Tenant, error) {
	if !tenant.ValidID(s.ID) {
		return tenant.Tenant{}, refuse("use 1 to 63 of a-z, 0-9 and inner hyphens, as in acme", "%q cannot be a tenant's id", s.ID)
	}
	t := tenant.Tenant{ID: s.ID, CreatedAt: d.now()}
	var err error
	if t.Name, err = registrar.Name(s.Name, s.ID); err != nil {
		return tenant.Tenant{}, err
	}
	all, baseline := d.scopes()
	if len(s.Scopes) == 0 {
		s.Scopes = all
	}
	if t.Scopes, err = registrar.Within(s.Scopes, all, "a tenant"); err != nil {
		return tenant.Tenant{}, err
	}
	if _, err := d.Tenants.Tenant(ctx, s.ID); err == nil {
		return tenant.Tenant{}, taken(s.ID)
	}
	if err := d.record(ctx, audit.Event{Action: "tenant.create", Target: t.ID, Tenant: t.ID, Detail: oauth.FormatScope(t.Scopes)}); err != nil {
		return tenant.Tenant{}, err
	}
	err = d.Tenants.CreateTenant(ctx, t)
	if errors.Is(err, tenant.ErrExists) {
		return tenant.Tenant{}, taken(s.ID)
	}
	if err != nil {
		return tenant.Tenant{}, fmt.Errorf("keeping tenant %s: %w", s.ID, err)
	}
	if err := d.PutRole(ctx, RoleSpec{Tenant: t.ID, Role: RoleAdmin, Scopes: t.Scopes, Admin: true}); err != nil {
		return tenant.Tenant{}, err
	}
	if reader := oauth.Intersect(baseline, t.Scopes); len(reader) > 0 {
		return t, d.PutRole(ctx, RoleSpec{Tenant: t.ID, Role: RoleReader, Scopes: reader})
	}
	return t, nil
}

func taken(id string) *Refusal {
	return &Refusal{Reason: fmt.Sprintf("there is a tenant %q already", id), Hint: "choose another id; ids are never changed", Err: tenant.ErrExists}
}

// ListTenants returns all tenants in the order of their ids.
func (d *Door) ListTenants(ctx context.Context) ([]tenant.Tenant, error) {
	return d.Tenants.Tenants(ctx)
}

// RoleSpec says what a role gives.
type RoleSpec struct {
	Tenant string
	Role   string // a name like a tenant's id
	Scopes []string
	Admin  bool // its people look after the tenant's clients
}

// PutRole makes or replaces a role of a tenant. What people of that role lose by it is gone from the next token of their agents.
func (d *Door) PutRole(ctx context.Context, s RoleSpec) error {
	t, err := d.tenant(ctx, s.Tenant)
	if err != nil {
		return err
	}
	if !tenant.ValidID(s.Role) {
		return refuse("use 1 to 63 of a-z, 0-9 and inner hyphens, as in reader", "%q cannot be a role's name", s.Role)
	}
	if len(s.Scopes) == 0 {
		return refuse("name them with --scopes; the tenant may have: "+oauth.FormatScope(t.Scopes), "the role would give no scope")
	}
	scopes, err := registrar.Within(s.Scopes, t.Scopes, "tenant "+t.ID)
	if err != nil {
		return err
	}
	detail := oauth.FormatScope(scopes)
	if s.Admin {
		detail = "admin: " + detail
	}
	if err := d.record(ctx, audit.Event{Action: "role.put", Target: s.Role, Tenant: t.ID, Detail: detail}); err != nil {
		return err
	}
	if err := d.Users.PutRole(ctx, user.Role{TenantID: t.ID, Name: s.Role, Scopes: scopes, Admin: s.Admin}); err != nil {
		return fmt.Errorf("keeping role %s of %s: %w", s.Role, t.ID, err)
	}
	return nil
}
