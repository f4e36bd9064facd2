package cli

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/operator"
)

// isOfTools reports whether an operation is the MCP server's.
func isOfTools(name string) bool {
	noun, _, _ := strings.Cut(name, ".")
	return noun == "usage" || noun == "calls" || noun == "rollout" || noun == "tools"
}

// toolsActs returns the MCP server's operations in the form of the authorization server's.
func toolsActs(o *operator.Registry) map[string]authserver.Act {
	acts := o.Commands()
	for name, do := range acts {
		acts[name] = func(ctx context.Context, arguments json.RawMessage) (any, error) {
			answer, err := do(ctx, arguments)
			var refused *operator.Error
			if errors.As(err, &refused) {
				return nil, &authserver.Refusal{Reason: refused.Reason, Hint: refused.Hint}
			}
			return answer, err
		}
	}
	return acts
}

// openTools opens the MCP server's store alone, which needs neither the issuer's database nor its
// keys.
func (c *command) openTools(ctx context.Context) (doer, func() error, error) {
	c.fillURLs()
	log, err := c.program.log(c.logLevel)
	if err != nil {
		return nil, nil, err
	}
	store, shut, err := mcpserver.OpenOperator(ctx, c.mcpConfig(), mcpserver.Deps{Log: log, Now: c.program.Now})
	if err != nil {
		return nil, nil, openError(err)
	}
	return &authserver.Operator{More: toolsActs(store)}, shut, nil
}
