package admin

import (
	"context"
	"errors"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
)

// AttemptsFound are attempts of clients to connect, the last updated first.
type AttemptsFound struct {
	Attempts []attempt.Attempt
	Dropped  int64 // entries that the log of this process dropped since its start
}

// maxAttempts bounds the attempts that one operation returns.
const maxAttempts = 1000

// ListAttempts returns attempts in their present state. What other replicas saw in the last second
// may be missing.
func (d *API) ListAttempts(ctx context.Context, f attempt.Filter) (AttemptsFound, error) {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	f.Limit, f.Now = min(f.Limit, maxAttempts), d.Now()
	if err := d.Attempts.Flush(ctx); err != nil {
		return AttemptsFound{}, err
	}
	found, err := d.AttemptStore.Attempts(ctx, f)
	if err != nil {
		return AttemptsFound{}, err
	}
	names := map[string]string{}
	for i, r := range found {
		found[i] = r.Seen(f.Now)
		if r.ClientName != "" || r.Client == "" || r.Unknown {
			continue
		}
		name, asked := names[r.Client]
		if !asked {
			c, err := d.Clients.RegisteredClient(ctx, r.Client)
			if err != nil && !errors.Is(err, client.ErrNotFound) {
				return AttemptsFound{}, err
			}
			name = c.Name
			names[r.Client] = name
		}
		found[i].ClientName = name
	}
	return AttemptsFound{found, d.Attempts.Dropped()}, nil
}
