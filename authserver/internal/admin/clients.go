package admin

import (
	"context"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/clientadmin"
)

// What the operator says of clients; see there.
type (
	ClientSpec       = clientadmin.Spec
	SecretTurn       = clientadmin.SecretReplacement
	InitialTokenSpec = clientadmin.InitialTokenSpec
)

// CreateClient makes a client; see registrar.Create.
func (d *Door) CreateClient(ctx context.Context, s ClientSpec) (c client.Client, secret string, err error) {
	return d.Registrar().Create(ctx, clientadmin.Operator, s)
}

// ListClients returns the clients of a tenant, or all when tenantID is empty, newest first.
func (d *Door) ListClients(ctx context.Context, f client.Filter) ([]client.Client, error) {
	if f.After != "" {
		if _, err := d.Clients.RegisteredClient(ctx, f.After); err != nil {
			return nil, unknown(err, client.ErrNotFound, "client", f.After)
		}
	}
	return d.Registrar().List(ctx, clientadmin.Operator, f)
}

// ReplaceSecret gives a client another secret; see registrar.ReplaceSecret.
func (d *Door) ReplaceSecret(ctx context.Context, s SecretTurn) (secret string, err error) {
	return d.Registrar().ReplaceSecret(ctx, clientadmin.Operator, s)
}

// DeleteClient makes a client unknown and ends all that hangs from it.
func (d *Door) DeleteClient(ctx context.Context, id string) error {
	return d.Registrar().Delete(ctx, clientadmin.Operator, id)
}

// CreateInitialToken makes an initial access token; see registrar.CreateInitialToken.
func (d *Door) CreateInitialToken(ctx context.Context, s InitialTokenSpec) (token string, err error) {
	return d.Registrar().CreateInitialToken(ctx, clientadmin.Operator, s)
}
