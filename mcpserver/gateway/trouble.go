package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/internal/upstream"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
)

// trouble is what was met on the way to a server, for the operator who asks: clients are told
// nothing of what is behind. The zero value has met nothing. It is safe for concurrent use.
type trouble struct {
	mu   sync.Mutex
	last error
}

// meet remembers what was met last.
func (t *trouble) meet(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = err
}

// cause is why a server could not be read: what was met on the way to it, when anything was.
func (t *trouble) cause(ctx context.Context, s server, c mcp.Caller, err error) error {
	if r, ok := s.(*upstream.Server); ok && r.SpeaksOldTransport(ctx, c) {
		return upstream.ErrOldTransport
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.last != nil:
		return t.last
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the server does not answer in time: %w", err)
	}
	return err
}
