package pages

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/session"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
	"github.com/gatehouse-mcp/gatehouse/web"
)

// maxAgents and maxAlarms bound what one page shows.
const (
	maxAgents = 100
	maxAlarms = 20
)

// alarmLife is how long a person is told that a used token or code of an agent came back.
const alarmLife = 30 * 24 * time.Hour

// showAgents shows the person's connected agents.
func (d *Handler) showAgents(w http.ResponseWriter, r *http.Request) {
	u, ok := d.person(w, r)
	if !ok {
		return
	}
	memberships, err := d.Users.Memberships(r.Context(), u.ID)
	if err != nil {
		d.fail(w, r, fmt.Errorf("reading memberships: %w", err))
		return
	}
	agents, err := d.agents(r.Context(), grant.Filter{UserID: u.ID, Active: true, Consented: true, Limit: maxAgents},
		memberships)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	since := d.Sessions.Now().Add(-alarmLife)
	alarms, err := d.agents(r.Context(), grant.Filter{UserID: u.ID, RevokeReason: grant.ReasonReuse,
		RevokedSince: since,
		Limit:        maxAlarms}, memberships)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	p := web.Agents{CSRF: d.Sessions.CSRF(w, r), Person: u.Email, Agents: agents, Alarms: alarms,
		Notice: d.notice(w, r)}
	for _, m := range memberships {
		if m.Admin {
			p.LooksAfter = append(p.LooksAfter, web.Tenant{ID: m.TenantID, Name: m.TenantName, Role: m.Role})
		}
	}
	d.show(w, r, http.StatusOK, p)
}

// agents lists a person's grants as they are shown.
func (d *Handler) agents(ctx context.Context, f grant.Filter, memberships []user.Membership) ([]web.Agent, error) {
	grants, err := d.Grants.Grants(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("reading a person's grants: %w", err)
	}
	tenants := map[string]string{}
	for _, m := range memberships {
		tenants[m.TenantID] = m.TenantName
	}
	var agents []web.Agent
	for _, g := range grants {
		c, err := d.Clients.RegisteredClient(ctx, g.ClientID)
		if err != nil && !errors.Is(err, client.ErrNotFound) {
			return nil, fmt.Errorf("reading a client: %w", err)
		}
		a := web.Agent{GrantID: g.ID, Client: clientName(c), Tenant: tenants[g.TenantID], Resource: g.Resource,
			Since: g.CreatedAt, Ended: g.RevokedAt, Suspended: g.Suspended}
		if a.Client == "" {
			a.Client = g.ClientID
		}
		if a.Tenant == "" {
			a.Tenant = g.TenantID
		}
		a.Scopes = d.describe(g)
		agents = append(agents, a)
	}
	return agents, nil
}

// describe returns in plain words what a grant allows; a scope that the resource no longer has
// keeps its name.
func (d *Handler) describe(g grant.Grant) []web.Scope {
	resource, _ := d.Engine.Resource(g.Resource)
	var out []web.Scope
	for _, name := range g.Scopes {
		s, ok := resource.Scope(name)
		if !ok {
			s.Description = name
		}
		out = append(out, web.Scope{Name: name, Description: s.Description})
	}
	return out
}

// revokeAgent revokes one of the person's grants; another person's is not found.
func (d *Handler) revokeAgent(w http.ResponseWriter, r *http.Request) {
	u, ok := d.person(w, r)
	if !ok {
		return
	}
	g, err := d.Grants.Grant(r.Context(), mux.Vars(r)["grant"])
	if errors.Is(err, grant.ErrNotFound) || err == nil && g.UserID != u.ID {
		d.ErrorPage(w, r, errNoAgent)
		return
	}
	if err == nil {
		err = d.Ledger.Revoke(r.Context(), grant.Actor("user:"+u.ID), g.ID, grant.ReasonPerson)
	}
	if err != nil {
		d.fail(w, r, err)
		return
	}
	d.Sessions.LeaveNotice(w, session.Revoked)
	seeOther(w, "/agents")
}

// notices are the confirmations of pages.
var notices = map[session.Notice]string{
	session.Saved:   "Saved.",
	session.Revoked: "Access revoked.",
	session.Deleted: "Deleted, and all its access revoked.",
}

// notice returns the sentence that confirms the previous form, or "".
func (d *Handler) notice(w http.ResponseWriter, r *http.Request) string {
	return notices[d.Sessions.Notice(w, r)]
}
