package admin

import (
	"context"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
)

// The arguments of operations on clients; see package clientadmin.
type (
	ClientSpec       = clientadmin.Spec
	SecretTurn       = clientadmin.SecretReplacement
	InitialTokenSpec = clientadmin.InitialTokenSpec
)

// CreateClient creates a client; see clientadmin.Admin.Create.
func (d *API) CreateClient(ctx context.Context, s ClientSpec) (c client.Client, secret string, err error) {
	return d.Registrar().Create(ctx, clientadmin.Operator, s)
}

// ListClients lists the clients of a tenant, or all when tenantID is empty, newest first.
func (d *API) ListClients(ctx context.Context, f client.Filter) ([]client.Client, error) {
	if f.After != "" {
		if _, err := d.Clients.RegisteredClient(ctx, f.After); err != nil {
			return nil, unknown(err, client.ErrNotFound, "client", f.After)
		}
	}
	return d.Registrar().List(ctx, clientadmin.Operator, f)
}

// ReplaceSecret replaces a client's secret; see clientadmin.Admin.ReplaceSecret.
func (d *API) ReplaceSecret(ctx context.Context, s SecretTurn) (secret string, err error) {
	return d.Registrar().ReplaceSecret(ctx, clientadmin.Operator, s)
}

// DeleteClient deletes a client and revokes all its grants.
func (d *API) DeleteClient(ctx context.Context, id string) error {
	return d.Registrar().Delete(ctx, clientadmin.Operator, id)
}

// CreateInitialToken creates an initial access token; see clientadmin.Admin.CreateInitialToken.
func (d *API) CreateInitialToken(ctx context.Context, s InitialTokenSpec) (token string, err error) {
	return d.Registrar().CreateInitialToken(ctx, clientadmin.Operator, s)
}
