package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// RoleSpec describes a role; see clientadmin.RoleSpec.
type RoleSpec = clientadmin.RoleSpec

// PutRole creates or replaces a role of a tenant; see clientadmin.Admin.PutRole.
func (d *API) PutRole(ctx context.Context, s RoleSpec) error {
	return d.Together(ctx, func(in *API) error { return in.Registrar().PutRole(ctx, clientadmin.Operator, s) })
}

// ListRoles lists a tenant's roles, ordered by name.
func (d *API) ListRoles(ctx context.Context, tenantID string) ([]user.Role, error) {
	return d.Registrar().Roles(ctx, clientadmin.Operator, tenantID)
}

// RoleName names a role of a tenant.
type RoleName struct{ Tenant, Role string }

// DeleteRole deletes a role that no member has and no role includes.
func (d *API) DeleteRole(ctx context.Context, s RoleName) error {
	return d.Together(ctx, func(in *API) error {
		if err := in.role(ctx, s.Tenant, s.Role); err != nil {
			return err
		}
		if err := in.record(ctx, audit.Event{Action: "role.delete", Target: s.Role, Tenant: s.Tenant}); err != nil {
			return err
		}
		err := in.Users.DeleteRole(ctx, s.Tenant, s.Role)
		var bad *user.RoleError
		if errors.As(err, &bad) {
			return &Refusal{Reason: bad.Reason,
				Hint: "give its people another role first (gatehouse member put), and leave it out where it is " +
					"included (gatehouse role put)", Err: err}
		}
		return err
	})
}

// role checks that a tenant exists and has a role.
func (d *API) role(ctx context.Context, tenantID, name string) error {
	t, err := d.tenant(ctx, tenantID)
	if err != nil {
		return err
	}
	_, err = d.Users.Role(ctx, t.ID, name)
	if errors.Is(err, user.ErrNotFound) {
		return &Refusal{Reason: fmt.Sprintf("tenant %s has no role %.80q", t.ID, name),
			Hint: "gatehouse role put makes one", Err: err}
	}
	return err
}
