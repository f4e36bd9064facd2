package admin

import (
	"context"
	"errors"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/personal"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/tenant"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/user"
)

// MaxNames bounds how many ids one operation names.
const MaxNames = 500

// IDs are those whose names are wanted, at most MaxNames together.
type IDs struct{ Users, Clients, Tenants []string }

// Names are the names of what exists, by id.
type Names struct {
	Users   map[string]string // people's addresses; the pseudonym of a deleted person
	Clients map[string]string
	Tenants map[string]string
}

// ListNames names people, clients and tenants. What does not exist has no name.
func (d *API) ListNames(ctx context.Context, ids IDs) (Names, error) {
	n := Names{Users: map[string]string{}, Clients: map[string]string{}, Tenants: map[string]string{}}
	if len(ids.Users)+len(ids.Clients)+len(ids.Tenants) > MaxNames {
		return n, refuse("", "more than %d names are asked for at once", MaxNames)
	}
	for _, id := range ids.Users {
		u, err := d.Users.User(ctx, id)
		switch {
		case err == nil:
			n.Users[id] = u.Email
		case !errors.Is(err, user.ErrNotFound):
			return n, err
		case strings.HasPrefix(id, user.Prefix):
			n.Users[id] = personal.Pseudonym(id)
		}
	}
	for _, id := range ids.Clients {
		c, err := d.Clients.RegisteredClient(ctx, id)
		if err == nil {
			n.Clients[id] = c.Name
		} else if !errors.Is(err, client.ErrNotFound) {
			return n, err
		}
	}
	for _, id := range ids.Tenants {
		t, err := d.Tenants.Tenant(ctx, id)
		if err == nil {
			n.Tenants[id] = t.Name
		} else if !errors.Is(err, tenant.ErrNotFound) {
			return n, err
		}
	}
	return n, nil
}
