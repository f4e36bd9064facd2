package guard_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// Tokens of a suspended client or tenant that were issued before are refused, also remembered ones
// and those that a server got for the client; a token that is issued later is accepted.
func TestSuspendedTokens(t *testing.T) {
	for what, subject := range map[string]revocation.Subject{
		"a tenant": revocation.Tenant("acme"), "a client": revocation.Client("cli_agent"),
		"the client of a caller that was passed on": revocation.Client("cli_caller"),
		"a server that passed the caller on before": revocation.Client("cli_middle"),
	} {
		t.Run(what, func(t *testing.T) {
			g := newGate(t)
			sign := func(issued time.Time, change func(*token.Claims)) string {
				c := g.issuer.Claims(resource, "read")
				c.TenantID, c.ClientID, c.GrantClientID = "acme", "cli_agent", "cli_caller"
				c.Actor = &token.Actor{Subject: "cli_agent", ClientID: "cli_agent",
					Actor: &token.Actor{Subject: "cli_middle", ClientID: "cli_middle"}}
				c.IssuedAt, c.Expires = issued.Unix(), issued.Add(10*time.Minute).Unix()
				if change != nil {
					change(&c)
				}
				return g.issuer.Sign(c)
			}
			at := g.now().Truncate(time.Second).Add(-time.Minute)
			before, after := sign(at.Add(-time.Second), nil), sign(at, nil)
			elsewhere := sign(at.Add(-time.Second), func(c *token.Claims) {
				c.TenantID, c.ClientID, c.GrantClientID = "globex", "cli_other", ""
				c.Actor = nil
			})
			for _, raw := range []string{before, after, elsewhere} {
				g.want(t, g.ask(raw), http.StatusNoContent)
			}
			s := revocation.Suspension{Subject: subject, At: at, Before: at}
			must(t, g.list.Add(t.Context(), s.ID(), g.now().Add(time.Hour)))
			g.want(t, g.ask(before), http.StatusUnauthorized)
			g.want(t, g.ask(after), http.StatusNoContent)
			g.want(t, g.ask(elsewhere), http.StatusNoContent)
		})
	}
}

// RV-12: when a client and its tenant are both suspended, the later time counts, in whichever order
// they are told.
func TestTheLaterOfTwoSuspensionsCounts(t *testing.T) {
	for what, order := range map[string][2]revocation.Subject{
		"the tenant's is later": {revocation.Client("cli_agent"), revocation.Tenant("acme")},
		"the client's is later": {revocation.Tenant("acme"), revocation.Client("cli_agent")},
	} {
		for _, told := range [][2]int{{0, 1}, {1, 0}} {
			t.Run(fmt.Sprint(what, told), func(t *testing.T) {
				g := newGate(t)
				base := g.now().Truncate(time.Second).Add(-time.Minute)
				at := [2]time.Time{base, base.Add(20 * time.Second)}
				sign := func(issued time.Time) string {
					c := g.issuer.Claims(resource, "read")
					c.TenantID, c.ClientID = "acme", "cli_agent"
					c.IssuedAt, c.Expires = issued.Unix(), issued.Add(10*time.Minute).Unix()
					return g.issuer.Sign(c)
				}
				tell := func(i int, before time.Time) {
					t.Helper()
					s := revocation.Suspension{Subject: order[i], At: before, Before: before}
					must(t, g.list.Add(t.Context(), s.ID(), g.now().Add(time.Hour)))
				}
				between, after := sign(base.Add(10*time.Second)), sign(at[1])
				for _, i := range told {
					tell(i, at[i])
				}
				g.want(t, g.ask(sign(base.Add(-time.Second))), http.StatusUnauthorized)
				g.want(t, g.ask(between), http.StatusUnauthorized)
				g.want(t, g.ask(after), http.StatusNoContent)
			})
		}
	}
}
