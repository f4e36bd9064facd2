package user_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

func role(name, scopes, includes string) user.Role {
	return user.Role{Name: name, Scopes: strings.Fields(scopes), Includes: strings.Fields(includes)}
}

func TestRolesGiveWhatTheyInclude(t *testing.T) {
	got, err := user.Resolve([]user.Role{
		role("lead", "w", "clerk reader"), role("clerk", "t", "reader"), role("reader", "r k", ""),
		role("alone", "x", ""),
	})
	want := map[string][]string{"lead": {"w", "t", "r", "k"}, "clerk": {"t", "r", "k"}, "reader": {"r", "k"},
		"alone": {"x"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

func TestRolesThatDoNotFit(t *testing.T) {
	chain := func(n int) (roles []user.Role) {
		for i := range n {
			r := user.Role{Name: fmt.Sprintf("r%d", i)}
			if i > 0 {
				r.Includes = []string{fmt.Sprintf("r%d", i-1)}
			}
			roles = append(roles, r)
		}
		return roles
	}
	for _, row := range []struct {
		name  string
		roles []user.Role
		says  string
	}{
		{"a circle", []user.Role{role("a", "x", "b"), role("b", "", "a")}, "a → b → a"},
		{"itself", []user.Role{role("a", "x", "a")}, "a → a"},
		{"a circle further down", []user.Role{role("top", "", "a"), role("a", "", "b"), role("b", "", "c"),
			role("c", "", "a")}, "circle: a → b → c → a"},
		{"one that is not there", []user.Role{role("a", "x", "ghost")}, `role a would include "ghost"`},
		{"too many in a row", chain(user.MaxRoleDepth + 1), "r8 → r7 →"},
		{"as many in a row as may", chain(user.MaxRoleDepth), ""},
		{"too many", chain(user.MaxRoles + 1), "1000 roles"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := user.Resolve(row.roles)
			var bad *user.RoleError
			if row.says == "" {
				if err != nil {
					t.Errorf("got %v, want it to fit", err)
				}
			} else if !errors.As(err, &bad) || !strings.Contains(bad.Reason, row.says) {
				t.Errorf("got %v, want a RoleError that says %q", err, row.says)
			}
		})
	}
	// Every role included twice on each floor: the work must not double with each.
	var wide []user.Role
	for i := range user.MaxRoleDepth {
		r := role(fmt.Sprintf("w%d", i), fmt.Sprintf("s%d", i), "")
		for j := i + 1; j < user.MaxRoleDepth; j++ {
			r.Includes = append(r.Includes, fmt.Sprintf("w%d", j))
		}
		wide = append(wide, r)
	}
	if gives, err := user.Resolve(wide); err != nil || len(gives["w0"]) != user.MaxRoleDepth {
		t.Errorf("got %v %v, want all scopes", gives["w0"], err)
	}
}
