package guard

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

// Inspected is a verified access token.
type Inspected struct {
	Caller  mcp.Caller
	Expires time.Time
	Bound   bool // to a key of the client: it needs a proof
}

// Inspect verifies an access token without a proof of its key, to show an operator what it allows.
// Do not authorize requests with it. The error is a sentence that shows nothing of the token.
func (g *Guard) Inspect(ctx context.Context, raw string) (Inspected, error) {
	v, refused := g.authenticate(ctx, raw)
	if refused != nil {
		return Inspected{}, errors.New(refused.Description)
	}
	return Inspected{Caller: v.caller, Expires: time.Unix(v.expires, 0).UTC(), Bound: v.jkt != ""}, nil
}
