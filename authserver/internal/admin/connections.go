package admin

import (
	"context"
	"errors"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
)

// ConnectionsFound are attempts of clients to come in, the last touched first.
type ConnectionsFound struct {
	Connections []attempt.Record
	Dropped     int64 // requests of this process that found no room in the log, since its start
}

// mostConnections bounds what one act returns.
const mostConnections = 1000

// ListConnections returns attempts as they are to be read now. What other replicas gathered in the
// last second may not be in it.
func (d *Door) ListConnections(ctx context.Context, f attempt.Filter) (ConnectionsFound, error) {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	f.Limit, f.Now = min(f.Limit, mostConnections), d.Now()
	if err := d.Attempts.Flush(ctx); err != nil {
		return ConnectionsFound{}, err
	}
	found, err := d.Connections.Connections(ctx, f)
	if err != nil {
		return ConnectionsFound{}, err
	}
	names := map[string]string{}
	for i, r := range found {
		found[i] = r.Seen(f.Now)
		if r.ClientName != "" || r.Client == "" || r.Stranger {
			continue
		}
		name, asked := names[r.Client]
		if !asked {
			c, err := d.Clients.RegisteredClient(ctx, r.Client)
			if err != nil && !errors.Is(err, client.ErrNotFound) {
				return ConnectionsFound{}, err
			}
			name = c.Name
			names[r.Client] = name
		}
		found[i].ClientName = name
	}
	return ConnectionsFound{found, d.Attempts.Dropped()}, nil
}
