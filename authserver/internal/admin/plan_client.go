package admin

import (
	"context"
	"fmt"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/manifest"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
)

// planClients plans the clients of a tenant, or of none; there says whether it exists. Only clients
// that the operator created are compared: others who can create clients in the tenant could
// otherwise prepare one under an expected name, and get what the manifest gives it.
func (p *planner) planClients(ctx context.Context, t tenant.Tenant, there bool, all []manifest.Client) error {
	kept := map[string][]client.Client{}
	if there && len(all) > 0 {
		clients, err := p.Clients.OperatorClients(ctx, t.ID)
		if err != nil {
			return fmt.Errorf("reading the clients of %q: %w", t.ID, err)
		}
		for _, c := range clients {
			kept[c.Name] = append(kept[c.Name], c)
		}
	}
	for _, b := range all {
		next, err := p.registrar.Draft(clientadmin.Operator, ClientSpec{
			Name: b.Name, Tenant: t.ID, Scopes: b.Scopes.Texts(), RedirectURIs: b.RedirectURIs, Public: b.Public,
			Resource: b.Server, TokenExchange: b.TokenExchange,
			Assertions: b.Assertions, PostLogoutRedirectURIs: b.PostLogoutRedirectURIs, PushRequired: b.PushRequired,
		}, t)
		if err != nil {
			return at(err, b.Line, b.Scopes)
		}
		if err := p.planClient(next, kept[next.Name]); err != nil {
			return at(err, b.Line)
		}
	}
	return nil
}

// planClient creates a client, or changes the one of its name.
func (p *planner) planClient(next client.Client, kept []client.Client) error {
	change := Change{Verb: VerbCreate, Kind: KindClient, Tenant: next.TenantID, Name: next.Name}
	if len(kept) == 0 {
		change.Fields = differences(nil, clientTraits(next))
		p.places = append(p.places, len(p.changes))
		p.changes, p.made = append(p.changes, change), append(p.made, next)
		p.lines = append(p.lines, clientadmin.Created(next))
		return nil
	}
	before := kept[0]
	switch {
	case len(kept) > 1:
		return refuse("delete one of them first (gatehouse client delete ID), or choose another name",
			"there are %d clients of the name %q, %s and %s", len(kept), next.Name, before.ID, kept[1].ID)
	case kindOf(before) != kindOf(next):
		return refuse("delete it first (gatehouse client delete "+before.ID+"), or choose another name",
			"the client %q is %s, and cannot become %s", next.Name, kindOf(before), kindOf(next))
	}
	change.Verb, change.ClientID = VerbChange, before.ID
	if change.Fields = differences(clientTraits(before), clientTraits(next)); len(change.Fields) == 0 {
		return nil
	}
	after := before
	after.Scopes, after.RedirectURIs, after.PostLogoutRedirectURIs, after.PushRequired = next.Scopes, next.RedirectURIs,
		next.PostLogoutRedirectURIs, next.PushRequired
	after.GrantTypes, after.ApplicationType = next.GrantTypes, next.ApplicationType
	p.changes, p.altered = append(p.changes, change), append(p.altered, after)
	p.lines = append(p.lines, audit.Event{Action: "client.update", Target: after.ID, Tenant: after.TenantID,
		Client: after.ID, Detail: described(change.Fields)})
	return nil
}

// kindOf returns the unchangeable kind of a client, on which its authentication and who authorizes
// it depend.
func kindOf(c client.Client) string {
	switch {
	case c.Resource != "":
		return "the protected server " + c.Resource
	case len(c.RedirectURIs) == 0:
		return "a machine client"
	case c.AuthMethod == client.AuthNone:
		return "a public application"
	}
	return "an application with a secret"
}
