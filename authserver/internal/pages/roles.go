package pages

import (
	"errors"
	"net/http"
	"slices"

	"github.com/gorilla/mux"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/session"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/web"
)

// The page on which a tenant's administrators edit its roles; see keeping.

func (d *Handler) showRoles(w http.ResponseWriter, r *http.Request, k administrator) {
	d.listRoles(w, r, k, http.StatusOK, "")
}

// listRoles shows the tenant's roles and the forms, with the last one's error.
func (d *Handler) listRoles(w http.ResponseWriter, r *http.Request, k administrator, status int, problem string) {
	roles, err := d.Registrar.Roles(r.Context(), k.caller, k.tenant.ID)
	if err != nil {
		d.failAdministrator(w, r, err)
		return
	}
	own, err := d.Registrar.Gives(r.Context(), k.caller, k.tenant)
	if err != nil {
		d.failAdministrator(w, r, err)
		return
	}
	p := web.Roles{CSRF: d.Sessions.CSRF(w, r), Person: k.user.Email,
		Tenant: web.Tenant{ID: k.tenant.ID, Name: k.tenant.Name}, Problem: problem, Notice: d.notice(w, r)}
	for _, role := range roles {
		p.Roles = append(p.Roles, d.roleShown(role, k.tenant.Scopes, own))
	}
	d.show(w, r, status, p)
}

// roleShown returns a role with the tenant's scopes: its own are ticked, and those that neither it
// nor the person has are disabled.
func (d *Handler) roleShown(role user.Role, allowed, own []string) web.Role {
	shown := web.Role{Name: role.Name, Admin: role.Admin, Includes: role.Includes}
	for _, name := range allowed {
		given := slices.Contains(role.Scopes, name)
		shown.Scopes = append(shown.Scopes, web.RoleScope{
			Scope: web.Scope{Name: name, Description: d.means(name), Fixed: !given && !slices.Contains(own, name)},
			Given: given,
		})
	}
	return shown
}

// changeRole sets a role's scopes to those that are ticked.
func (d *Handler) changeRole(w http.ResponseWriter, r *http.Request, k administrator) {
	name := mux.Vars(r)["role"]
	err := d.Registrar.SetRoleScopes(r.Context(), k.caller, k.tenant.ID, name, r.PostForm["scope"])
	if err != nil {
		d.recordFailure(r, k, err)
	}
	var refusal *clientadmin.Refusal
	switch {
	case errors.Is(err, user.ErrNotFound):
		d.fail(w, r, errNoRole)
	case errors.As(err, &refusal):
		httpd.Note(r.Context(), "refused", refusal.Reason)
		d.listRoles(w, r, k, http.StatusBadRequest, refusal.Reason)
	case err != nil:
		d.failAdministrator(w, r, err)
	default:
		httpd.Note(r.Context(), "role", name)
		d.Sessions.LeaveNotice(w, session.Saved)
		seeOther(w, rolesPath(k))
	}
}

func rolesPath(k administrator) string { return "/tenants/" + k.tenant.ID + "/roles" }
