package issuer

import (
	"context"
	"errors"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/grant"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// credentialsGrant is the grant type client_credentials (RFC 6749 section 4.4). A machine client
// has one grant for each resource.
type credentialsGrant struct {
	consumesNothing
	accessTokenOnly
}

func (credentialsGrant) load(_ context.Context, x *exchange) error {
	if x.client.TenantID == "" {
		return oauth.UnauthorizedClient("client_credentials is for clients that belong to a tenant; register with an " +
			"initial access token of one")
	}
	return x.setTarget()
}

func (credentialsGrant) authorize(ctx context.Context, x *exchange) error {
	allowed, err := x.allow(ctx, Holder{TenantID: x.client.TenantID})
	var denied *oauth.Error
	if errors.As(err, &denied) {
		return oauth.UnauthorizedClient(denied.Description) // there is no person to ask
	}
	if err != nil {
		return err
	}
	allowed = oauth.Intersect(allowed, x.resource.ScopeNames())
	requested, err := x.requested()
	if err != nil {
		return err
	}
	if len(requested) == 0 {
		requested = allowed // RFC 6749 section 3.3: the default is all that the operator gave this client
	}
	if len(requested) == 0 || !oauth.Subset(requested, allowed) {
		return oauth.InvalidScope("this client may have: " + oauth.FormatScope(allowed))
	}
	// The scopes of the grant do not count: what was allowed on the day when it was made would bind
	// the client for ever.
	x.scopes = requested
	x.grant, err = x.machineGrant(ctx)
	return err
}

// machineGrant returns the client's grant, or makes it with the client's scopes. One that somebody
// else revoked stays revoked: the client cannot undo that by asking again. One that the client
// revoked itself (RFC 7009) it may have anew.
func (x *exchange) machineGrant(ctx context.Context) (grant.Grant, error) {
	g, err := x.engine.Grants.MachineGrant(ctx, x.client.ID, x.resource.URI)
	switch {
	case err == nil && g.Suspended && !g.Revoked():
		return grant.Grant{}, oauth.UnauthorizedClient(errSuspended.Description)
	case err == nil && x.engine.revoked(g):
		return grant.Grant{},
			oauth.UnauthorizedClient("the permission of this client was revoked; the operator can make a new client")
	case err == nil || !errors.Is(err, grant.ErrNotFound):
		return g, err
	}
	g = grant.Grant{
		ID: newID("grt_"), TenantID: x.client.TenantID, ClientID: x.client.ID, Resource: x.resource.URI,
		Scopes: x.client.Scopes, CreatedAt: x.now,
	}
	g, err = x.engine.Grants.PutMachineGrant(ctx, g, audit.Event{
		Time: x.now, Actor: "client:" + x.client.ID, Action: "grant.create", Target: g.ID, Tenant: g.TenantID,
		Client: g.ClientID, Grant: g.ID, Detail: oauth.FormatScope(g.Scopes),
	})
	if errors.Is(err, grant.ErrSuspended) {
		return grant.Grant{}, oauth.UnauthorizedClient(errSuspended.Description)
	}
	return g, err
}
