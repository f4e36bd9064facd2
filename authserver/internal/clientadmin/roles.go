package clientadmin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// RoleSpec describes a role.
type RoleSpec struct {
	Tenant   string
	Role     string // a name with the syntax of a tenant's id
	Scopes   []string
	Includes []string // roles of the same tenant, whose scopes it gives too
	Admin    bool     // its members administer the tenant's clients and roles
	Force    Force
}

// PutRole creates or replaces a role of a tenant. Operator only. Scopes that it loses are missing
// from the next token of its members' agents.
func (r *Admin) PutRole(ctx context.Context, who Caller, s RoleSpec) error {
	if !who.operator {
		return ErrNotAllowed
	}
	t, err := r.Tenant(ctx, who, s.Tenant)
	if err != nil {
		return err
	}
	role, err := r.DraftRole(s, t)
	if err != nil {
		return err
	}
	e := RolePut(role)
	e.Detail = s.Force.Detail(e.Detail)
	if err := r.record(ctx, who, e); err != nil {
		return err
	}
	return Overrules(RoleRefused(s.Force.Users(r.Users).PutRole(ctx, role), role.TenantID))
}

// DraftRole returns the role that a RoleSpec describes, checked against the tenant t but not
// against its other roles. Nothing is stored.
func (r *Admin) DraftRole(s RoleSpec, t tenant.Tenant) (role user.Role, err error) {
	if !tenant.ValidID(s.Role) {
		return role, Refuse("use 1 to 63 of a-z, 0-9 and inner hyphens, as in reader",
			"%q cannot be a role's name", s.Role)
	}
	if len(s.Scopes) == 0 && len(s.Includes) == 0 {
		return role, Refuse("name them with --scopes; the tenant may have: "+oauth.FormatScope(t.Scopes),
			"the role would give no scope")
	}
	role = user.Role{TenantID: t.ID, Name: s.Role, Admin: s.Admin}
	if role.Scopes, err = r.withinTenant(s.Scopes, t); err != nil {
		return role, err
	}
	for _, name := range s.Includes {
		if !slices.Contains(role.Includes, name) {
			role.Includes = append(role.Includes, name)
		}
	}
	return role, nil
}

// RolePut returns the audit event of a created or replaced role.
func RolePut(role user.Role) audit.Event {
	return audit.Event{Action: "role.put", Target: role.Name, Tenant: role.TenantID, Detail: described(role)}
}

// described returns a role as audit records show it.
func described(role user.Role) string {
	detail := oauth.FormatScope(role.Scopes)
	if len(role.Includes) > 0 {
		detail = strings.TrimSpace(detail + " includes " + strings.Join(role.Includes, ", "))
	}
	if role.Admin {
		detail = "admin: " + detail
	}
	return detail
}

// withinTenant checks that scopes exist and that the tenant's policy allows them.
func (r *Admin) withinTenant(scopes []string, t tenant.Tenant) ([]string, error) {
	if err := Known(scopes, r.Scopes()); err != nil {
		return nil, err
	}
	return WithinTenant(scopes, t, "tenant "+t.ID)
}

// Known checks that each scope is one of a resource's.
func Known(scopes, all []string) error {
	for _, s := range scopes {
		if !slices.Contains(all, s) {
			return Refuse("the resources' scopes are in what --resources names; a running issuer learns of another "+
				"by gatehouse resource put", "no resource has the scope %.80q; there are: %s", s,
				oauth.FormatScope(all))
		}
	}
	return nil
}

// RoleRefused turns a store's error about a role into a Refusal.
func RoleRefused(err error, tenantID string) error {
	var bad *user.RoleError
	if errors.As(err, &bad) {
		return &Refusal{Reason: bad.Reason, Hint: "gatehouse role list --tenant " + tenantID + " shows the roles",
			Err: err}
	}
	return LockedOut(err)
}

// LockedOut turns a change that would lock everyone out into a Refusal that says what to do first.
// Other errors are returned unchanged.
func LockedOut(err error) error {
	var l *user.Lockout
	if !errors.As(err, &l) {
		return err
	}
	hint := "give somebody a role with --admin first: gatehouse member put --tenant " + l.TenantID +
		" --role agent-admin --email …"
	if l.TenantID == "" {
		hint = "make another operator first: gatehouse user create --operator --email …"
	}
	return &Refusal{Reason: l.Error(), Hint: hint, Err: err}
}

// Roles returns the tenant's roles in the order of their names.
func (r *Admin) Roles(ctx context.Context, who Caller, tenantID string) ([]user.Role, error) {
	t, err := r.Tenant(ctx, who, tenantID)
	if err != nil {
		return nil, err
	}
	return r.Users.Roles(ctx, t.ID)
}

// SetRoleScopes changes which scopes a role gives itself. A tenant's administrator can remove any
// and add those that they have; included roles and administration are changed by the operator only.
// Removed scopes are missing from the next token of the agents.
func (r *Admin) SetRoleScopes(ctx context.Context, who Caller, tenantID, name string, scopes []string) error {
	return r.together(ctx, func(in *Admin) error { return in.setRoleScopes(ctx, who, tenantID, name, scopes) })
}

func (r *Admin) setRoleScopes(ctx context.Context, who Caller, tenantID, name string, scopes []string) error {
	t, err := r.Tenant(ctx, who, tenantID)
	if err != nil {
		return err
	}
	role, err := r.Users.Role(ctx, t.ID, name)
	if errors.Is(err, user.ErrNotFound) {
		return &Refusal{Reason: fmt.Sprintf("tenant %s has no role %.80q", t.ID, name),
			Hint: "gatehouse role put makes one", Err: err}
	}
	if err != nil {
		return fmt.Errorf("reading a role: %w", err)
	}
	own, err := r.Gives(ctx, who, t)
	if err != nil {
		return err
	}
	before := role.Scopes
	if role.Scopes, err = r.withinTenant(scopes, t); err != nil {
		return err
	}
	if err := lacking(role.Scopes, append(own, before...)); err != nil {
		return err
	}
	if len(role.Scopes) == 0 && len(role.Includes) == 0 {
		return Refuse("", "The role would give no scope.")
	}
	if err := r.record(ctx, who, RolePut(role)); err != nil {
		return err
	}
	return RoleRefused(r.Users.PutRole(ctx, role), role.TenantID)
}

// lacking rejects scopes that the caller would give but does not have.
func lacking(scopes, own []string) error {
	for _, s := range scopes {
		if !slices.Contains(own, s) {
			return Refuse("", "No one can give what they do not have themselves: %s", s)
		}
	}
	return nil
}

// noMore rejects a machine client that may do more than the caller may in its tenant. An
// application is bounded by the roles of the people who authorize it.
func (r *Admin) noMore(ctx context.Context, who Caller, c client.Client) error {
	if who.operator || !slices.Contains(c.GrantTypes, client.GrantCredentials) {
		return nil
	}
	t, err := r.Tenant(ctx, who, c.TenantID)
	if err != nil {
		return err
	}
	own, err := r.Gives(ctx, who, t)
	if err != nil {
		return err
	}
	return lacking(c.Scopes, own)
}

// within runs a person's operation in one transaction, during which their permissions cannot
// change. The operator needs none.
func (r *Admin) within(ctx context.Context, who Caller, do func(*Admin) error) error {
	if who.operator {
		return do(r)
	}
	return r.together(ctx, do)
}

// Gives returns the scopes that the caller has in the tenant.
func (r *Admin) Gives(ctx context.Context, who Caller, t tenant.Tenant) ([]string, error) {
	if who.operator {
		return t.Scopes, nil
	}
	memberships, err := r.Users.Memberships(ctx, who.userID)
	if err != nil {
		return nil, fmt.Errorf("reading memberships: %w", err)
	}
	for _, m := range memberships {
		if m.TenantID == t.ID {
			return oauth.Intersect(t.Scopes, m.Scopes), nil
		}
	}
	return nil, ErrNotAllowed
}
