package user

import (
	"fmt"
	"slices"
	"strings"
)

// Role is a set of scopes that members of a tenant have.
type Role struct {
	TenantID string
	Name     string
	Scopes   []string // scopes that it gives by itself
	Includes []string // names of roles of the same tenant whose scopes it gives too
	Admin    bool     // its members administer the tenant's clients and roles; not inherited by including roles
	Gives    []string // all of its scopes, those of included roles too; computed by the store
}

// The bounds of a tenant's roles.
const (
	MaxRoles     = 1000 // roles of a tenant
	MaxRoleDepth = 8    // length of a chain of included roles
)

// RoleError says why a role conflicts with the other roles of its tenant. Nothing was changed.
type RoleError struct {
	Reason string
	Roles  []string // the roles concerned, the most relevant first; may be empty
}

func (e *RoleError) Error() string { return e.Reason }

// Resolve returns the scopes of each of a tenant's roles, by name. A cycle, a missing role or a
// chain that is too long is a *RoleError that names the roles.
func Resolve(roles []Role) (map[string][]string, error) {
	if len(roles) > MaxRoles {
		return nil, &RoleError{Reason: fmt.Sprintf("a tenant can have %d roles", MaxRoles)}
	}
	r := resolver{roles: map[string]Role{}, done: map[string]resolved{}}
	for _, role := range roles {
		r.roles[role.Name] = role
	}
	gives := map[string][]string{}
	for _, role := range roles {
		found, err := r.resolve(role.Name, nil)
		if err != nil {
			return nil, err
		}
		gives[role.Name] = found.scopes
	}
	return gives, nil
}

type resolver struct {
	roles map[string]Role
	done  map[string]resolved
}

// resolved is what a role gives, and the length of the longest chain below it.
type resolved struct {
	scopes []string
	row    []string
}

// resolve resolves a role; path are the roles that include it.
func (r *resolver) resolve(name string, path []string) (resolved, error) {
	if i := slices.Index(path, name); i >= 0 {
		circle := append(slices.Clone(path[i:]), name)
		return resolved{}, &RoleError{"the roles would include each other in a circle: " + arrows(circle), circle}
	}
	if found, ok := r.done[name]; ok {
		return found, nil
	}
	role, ok := r.roles[name]
	if !ok {
		return resolved{},
			&RoleError{fmt.Sprintf("role %s would include %q, and there is no such role", path[len(path)-1], name),
				path[len(path)-1:]}
	}
	path = append(path, name)
	found := resolved{row: []string{name}}
	found.add(role.Scopes)
	for _, included := range role.Includes {
		below, err := r.resolve(included, path)
		if err != nil {
			return resolved{}, err
		}
		found.add(below.scopes)
		if len(below.row)+1 > len(found.row) {
			found.row = append([]string{name}, below.row...)
		}
	}
	if len(found.row) > MaxRoleDepth {
		return resolved{},
			&RoleError{fmt.Sprintf("more than %d roles in a row would include the next: %s", MaxRoleDepth,
				arrows(found.row)), found.row}
	}
	r.done[name] = found
	return found, nil
}

func (f *resolved) add(scopes []string) {
	for _, s := range scopes {
		if !slices.Contains(f.scopes, s) {
			f.scopes = append(f.scopes, s)
		}
	}
}

func arrows(names []string) string { return strings.Join(names, " → ") }
