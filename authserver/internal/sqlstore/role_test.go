package sqlstore_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/sqlstore"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// The statements with which programs of before put a role: of those that knew admin, and of the
// first.
const (
	putWithAdmin = `INSERT INTO roles (tenant_id, name, scopes, admin) VALUES ($1, $2, $3, FALSE)
		ON CONFLICT (tenant_id, name) DO UPDATE SET scopes = excluded.scopes, admin = excluded.admin`
	putFirst = `INSERT INTO roles (tenant_id, name, scopes) VALUES ($1, $2, $3)
		ON CONFLICT (tenant_id, name) DO UPDATE SET scopes = excluded.scopes`
)

// What a program of before takes away from a role while both run does not come back when a new one
// puts another role, and what it makes is not empty then.
func TestARoleThatAnOlderProgramPutStaysAsItPutIt(t *testing.T) {
	for dialect, database := range map[string]string{"sqlite": sqliteFile(t), "postgres": testenv.Postgres(t)} {
		t.Run(dialect, func(t *testing.T) {
			s, raw := begin(t, database)(), rawDB(t, dialect, database)
			must(t, s.CreateTenant(t.Context(), tenant.Tenant{ID: "acme", CreatedAt: time.Now()}))
			put := func(name string, own, includes []string) {
				t.Helper()
				must(t, s.PutRole(t.Context(), user.Role{TenantID: "acme", Name: name, Scopes: own,
					Includes: includes}))
			}
			older := func(statement, name, scopes string) {
				t.Helper()
				_, err := raw.Exec(statement, "acme", name, scopes)
				must(t, err)
			}
			put("reader", []string{"a", "b"}, nil)
			put("second", []string{"a", "b"}, nil)
			put("base", []string{"c"}, nil)
			put("above", []string{"a"}, []string{"base"})
			put("kept", []string{"a"}, []string{"base"})
			older(putWithAdmin, "reader", `["a"]`)
			older(putFirst, "second", `["b"]`)
			older(putWithAdmin, "above", `["a"]`)
			older(putWithAdmin, "base", `["c","d"]`)
			older(putWithAdmin, "made", `["a"]`)
			older(putFirst, "first", `["b"]`)
			put("other", []string{"z"}, nil)
			put("kept", []string{"a"}, []string{"base"}) // once more, just as it is: it goes on including
			want := []string{"above [a] [] [a]", "base [c d] [] [c d]", "first [b] [] [b]", "kept [a] [base] [a c d]",
				"made [a] [] [a]", "other [z] [] [z]", "reader [a] [] [a]", "second [b] [] [b]"}
			if got := described(t, s); strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("the roles are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// described are acme's roles: their own scopes, what they include, what they give.
func described(t *testing.T, s *sqlstore.DB) (all []string) {
	t.Helper()
	roles, err := s.Roles(t.Context(), "acme")
	must(t, err)
	for _, r := range roles {
		all = append(all, fmt.Sprint(r.Name, " ", r.Scopes, " ", r.Includes, " ", r.Gives))
	}
	return all
}

// What a program of before wrote between the two migrations is taken for what it is; the grant of a
// machine client says what the client may have.
func TestWhatAnOlderProgramHasPutIsMended(t *testing.T) {
	for dialect, database := range map[string]string{"sqlite": sqliteFile(t), "postgres": testenv.Postgres(t)} {
		t.Run(dialect, func(t *testing.T) {
			s, raw := begin(t, database)(), rawDB(t, dialect, database)
			must(t, s.CreateTenant(t.Context(), tenant.Tenant{ID: "acme", CreatedAt: time.Now()}))
			run := func(raw *sql.DB, name string) {
				t.Helper()
				_, err := raw.Exec(step(t, dialect, name))
				must(t, err)
			}
			must(t, s.PutRole(t.Context(), user.Role{TenantID: "acme", Name: "reader", Scopes: []string{"a", "b"}}))
			run(raw, "000010_own_scopes.down.sql")
			for name, scopes := range map[string]string{"reader": `["a"]`, "made": `["b"]`} {
				_, err := raw.Exec(putWithAdmin, "acme", name, scopes)
				must(t, err)
			}
			c := clientOf("m")
			c.TenantID, c.Scopes = "acme", []string{"a", "b"}
			must(t, s.CreateClient(t.Context(), c))
			_, err := s.PutMachineGrant(t.Context(), grant.Grant{ID: "g", TenantID: "acme", ClientID: "m",
				Resource: "r", Scopes: []string{"a"}, CreatedAt: time.Now()}, line)
			must(t, err)
			run(raw, "000010_own_scopes.up.sql")
			if g, err := s.Grant(t.Context(), "g"); err != nil || len(g.Scopes) != 2 {
				t.Errorf("the grant of a machine client is %+v %v, want its ceiling", g, err)
			}
			must(t, s.PutRole(t.Context(), user.Role{TenantID: "acme", Name: "other", Scopes: []string{"z"}}))
			if got := strings.Join(described(t, s), "; "); got != "made [b] [] [b]; other [z] [] [z]; reader "+
				"[a] [] [a]" {
				t.Errorf("the roles are %s", got)
			}
		})
	}
}
