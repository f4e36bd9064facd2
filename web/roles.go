package web

// Roles shows a tenant's roles to its administrators, who can change them.
type Roles struct {
	CSRF   string
	Person string
	Tenant Tenant
	Roles  []Role

	Problem string // why the last form failed
	Notice  string // what the last form did
}

// Role is a role of a tenant.
type Role struct {
	Name     string
	Admin    bool     // its members administer the tenant
	Includes []string // the roles whose scopes it gives too
	Scopes   []RoleScope
}

// RoleScope is a scope that a role gives or could. The person cannot change a fixed one.
type RoleScope struct {
	Scope
	Given bool
}

func (Roles) file() string   { return "pages/roles.html" }
func (Roles) policy() string { return forms }
