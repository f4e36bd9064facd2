package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"

	httpupstream "github.com/gatehouse-mcp/gatehouse/mcpserver/internal/upstream"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

// trouble remembers the last error of a connection, for the operator: clients are told nothing of
// upstream servers. It is safe for concurrent use.
type trouble struct {
	mu   sync.Mutex
	last error
}

// meet remembers an error.
func (t *trouble) meet(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = err
}

// cause returns why a server could not be read: the last error of the connection, if there is one.
func (t *trouble) cause(ctx context.Context, s server, c mcp.Caller, err error) error {
	if r, ok := s.(*httpupstream.Server); ok && r.SpeaksOldTransport(ctx, c) {
		return httpupstream.ErrOldTransport
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.last != nil:
		return t.last
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the server did not answer in time: %w", err)
	}
	return err
}
