package authserver_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// refusedLines are the lines of refusals of acts of somebody's, newest first.
func (h *testServer) refusedLines(actor string) []audit.Record {
	h.t.Helper()
	events, err := h.Store.Events(h.t.Context(), audit.Filter{Actor: actor, Outcome: audit.Refused, Limit: 1000})
	must(h.t, err)
	return events
}

// AD-12: anyone who tries to give themselves more, or to act for a tenant that is not theirs, is in
// the audit log, and nothing that they tried is.
func TestARefusedKeeperLeavesALine(t *testing.T) {
	onBoth(t, func(t *testing.T, h *testServer) {
		keptBy(h)
		must(t, h.Store.PutRole(t.Context(), user.Role{TenantID: "acme", Name: "keeper", Scopes: allScopes[:2],
			Admin: true}))
		m := h.machine("acme", "customers:read")
		ann, bob := h.in("ann@acme.example"), h.in("bob@globex.example")
		own, others := ann.open("/tenants/acme/roles"), bob.open("/tenants/globex/roles")
		long := strings.Repeat("x", 50_000)
		for _, row := range []struct {
			p                                    *person
			at                                   page
			path, actor, action, target, on, say string
			form                                 url.Values
		}{
			{ann, own, "/tenants/acme/roles/keeper", "user:usr_ann", "role.put", "keeper", "acme",
				"No one can give what they do not have themselves: tickets:write",
				url.Values{"scope": allScopes}},
			{ann, own, "/tenants/acme/roles/boss", "user:usr_ann", "role.put", "boss", "acme", "has no role",
				url.Values{"scope": {"customers:read"}}},
			{ann, own, "/tenants/acme/clients", "user:usr_ann", "client.create", "", "acme", "admin:all",
				url.Values{"kind": {"machine"}, "scope": {"admin:all"}}},
			{ann, own, "/tenants/acme/clients", "user:usr_ann", "client.create", "", "acme", "",
				url.Values{"kind": {"application"}, "scope": {"customers:read"}, "redirect_uris": {"https://" + long}}},
			{ann, own, "/tenants/acme/initial-tokens", "user:usr_ann", "initial_token.create", "", "acme",
				"1 to 1000 uses", url.Values{"uses": {"1001"}, "hours": {"1"}, "scope": {"customers:read"}}},
			{bob, others, "/tenants/acme/roles/keeper", "user:usr_bob", "role.put", "keeper", "acme",
				"does not look after", url.Values{"scope": {"customers:read"}}},
			{bob, others, "/tenants/acme/clients/" + m.ID + "/delete", "user:usr_bob", "client.delete", m.ID, "acme",
				"does not look after", nil},
			{bob, others, "/tenants/globex/clients/" + m.ID + "/secret", "user:usr_bob", "client.replace_secret", m.ID,
				"globex", "there is no client", nil},
			{bob, others, "/tenants/globex'--/clients/" + long[:200] + "/delete", "user:usr_bob", "client.delete",
				long[:80], "", "does not look after", nil},
		} {
			before := len(h.refusedLines(row.actor))
			if at := row.p.press(row.at, row.path, row.form); at.status != 400 && at.status != 404 {
				t.Errorf("%s: got %d at %s, want a refusal", row.path, at.status, at.url)
			}
			lines := h.refusedLines(row.actor)
			if len(lines) != before+1 {
				t.Errorf("%s: %d lines, want one more than %d", row.path, len(lines), before)
				continue
			}
			if e := lines[0]; e.Action != row.action || e.Target != row.target || e.Tenant != row.on ||
				!strings.Contains(e.Detail, row.say) || len(e.Detail) > 600 {
				t.Errorf("%s: the line is %.700s", row.path, fmt.Sprintf("%+v", e))
			}
		}
		if done, err := h.Store.Events(t.Context(), audit.Filter{Actor: "user:usr_ann", Action: "role",
			Outcome: audit.OK}); err != nil || len(done) > 0 {
			t.Errorf("lines of what was not done: %+v %v", done, err)
		}
		if r, err := h.Store.Role(t.Context(), "acme", "keeper"); err != nil || len(r.Gives) != 2 {
			t.Errorf("she gave herself %v %v", r.Gives, err)
		}
		before := len(h.refusedLines("user:usr_ann"))
		ann.open("/tenants/globex/roles") // a look is no act
		if got := len(h.refusedLines("user:usr_ann")); got != before {
			t.Errorf("a look left %d lines", got-before)
		}
	})
}

// Nobody fills the audit log by being refused.
func TestARefusedKeeperDoesNotFillTheLog(t *testing.T) {
	h := openKept(t)
	ann := h.in("ann@acme.example")
	at := ann.open("/tenants/acme/roles")
	for range 30 {
		ann.press(at, "/tenants/acme/roles/keeper", url.Values{"scope": {"knowledge:read"}})
	}
	if got := len(h.refusedLines("user:usr_ann")); got != 10 {
		t.Errorf("%d lines of 30 refusals in a minute, want 10", got)
	}
	h.Clock.step(time.Minute)
	ann.press(at, "/tenants/acme/roles/keeper", url.Values{"scope": {"knowledge:read"}})
	lines := h.refusedLines("user:usr_ann")
	if len(lines) != 12 || !strings.Contains(lines[1].Detail, "20 more in the minute") {
		t.Errorf("a minute later: %d lines, the last but one %+v", len(lines), lines[1])
	}
}
