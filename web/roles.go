package web

// Roles shows somebody who looks after a tenant what its roles give, and lets them change it.
type Roles struct {
	CSRF   string
	Person string
	Tenant Tenant
	Roles  []Role

	Problem string // why the last form did not do
	Notice  string // what the last form did
}

// Role is one of a tenant's.
type Role struct {
	Name     string
	Admin    bool     // its people look after the tenant
	Includes []string // the roles whose scopes it gives too
	Scopes   []RoleScope
}

// RoleScope is what a role gives or could. What is fixed the person cannot give.
type RoleScope struct {
	Scope
	Given bool
}

func (Roles) file() string   { return "pages/roles.html" }
func (Roles) policy() string { return forms }
