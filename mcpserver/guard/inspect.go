package guard

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

// Inspected is what a token says of itself, believed.
type Inspected struct {
	Caller  mcp.Caller
	Expires time.Time
	Bound   bool // to a key of its client's: by itself it opens nothing
}

// Inspect believes a token as one that a request shows, and asks no proof of its key. It is for
// telling an operator what a token opens: never let anybody act by it. The error is a sentence for
// people, without anything of the token.
func (g *Guard) Inspect(ctx context.Context, raw string) (Inspected, error) {
	v, refused := g.authenticate(ctx, raw)
	if refused != nil {
		return Inspected{}, errors.New(refused.Description)
	}
	return Inspected{Caller: v.caller, Expires: time.Unix(v.expires, 0).UTC(), Bound: v.jkt != ""}, nil
}
