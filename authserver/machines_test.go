package authserver_test

import (
	"net/url"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/admin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// onBoth runs a test in a house on each of the stores.
func onBoth(t *testing.T, test func(*testing.T, *testServer)) {
	t.Run("sqlite", func(t *testing.T) { test(t, startServer(t)) })
	t.Run("postgres", func(t *testing.T) {
		database := testenv.Postgres(t)
		test(t, startServer(t, func(c *authserverConfig) { c.Database = database }))
	})
}

// A machine client may what the policy says today, and not what it said on the day of its first
// token; also one whose grant an older program kept with less.
func TestAMachineClientIsNotHeldToThePolicyOfItsFirstToken(t *testing.T) {
	onBoth(t, func(t *testing.T, h *testServer) {
		m, older := h.machine("acme", "customers:read", "customers:write"),
			h.machine("acme", "customers:read", "customers:write")
		_, err := h.Store.PutMachineGrant(t.Context(), grant.Grant{
			ID: "grt_older", TenantID: "acme", ClientID: older.ID, Resource: resourceURI,
			Scopes: []string{"customers:read"}, CreatedAt: h.Clock.Now(),
		}, audit.Event{Time: h.Clock.Now(), Action: "grant.create"})
		must(t, err)
		gets := func(what string, m app, asked, want string) {
			t.Helper()
			form := url.Values{"grant_type": {"client_credentials"}}
			if asked != "" {
				form.Set("scope", asked)
			}
			if status, answer := m.token(form); want == "" {
				wantError(t, what, status, answer, 400, "invalid_scope")
			} else if status != 200 || answer["scope"] != want {
				t.Errorf("%s: got %d %v, want a token for %q", what, status, answer, want)
			}
		}
		policy := func(scopes ...string) { h.allows("acme", func(s *admin.PolicySpec) { s.Scopes = &scopes }) }
		policy("customers:read", "tickets:write")
		gets("under the first policy", m, "", "customers:read")
		gets("what it leaves out", m, "customers:write", "")
		policy("customers:read", "customers:write", "tickets:write")
		for what, m := range map[string]app{"a wider policy": m, "a grant of before": older} {
			gets(what+", asked for", m, "customers:write", "customers:write")
			gets(what+", nothing asked for", m, "", "customers:read customers:write")
			gets(what+", beyond the client's ceiling", m, "tickets:write", "")
		}
		policy("customers:write")
		gets("another policy", m, "", "customers:write")
		c, err := h.Store.Client(t.Context(), m.ID)
		must(t, err)
		policy(allScopes...)
		c.Scopes = []string{"customers:read", "tickets:write"}
		must(t, h.Store.UpdateClient(t.Context(), c))
		h.start() // what it remembers of the client is looked at each second
		gets("another ceiling", m, "", "customers:read tickets:write")
		gets("what the ceiling had", m, "customers:write", "")
	})
}
