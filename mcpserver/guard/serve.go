package guard

import (
	"net/http"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// Server is an MCP server that takes parsed messages, so that they are not parsed twice, and lists
// only what the view allows, so that its responses need no filter. It has no sessions and no
// streams.
type Server interface {
	// ServeMessage answers a message that was allowed.
	ServeMessage(w http.ResponseWriter, r *http.Request, m *message.Message, v mcp.View)
}

// Serve protects a Server with the same rules and modes as Enforce.
func (g *Guard) Serve(s Server, p Policy) (*Handler, error) {
	e, err := g.enforcer(p)
	if err != nil {
		return nil, err
	}
	e.own = s
	return e, nil
}

func (x *request) openTool(name string) bool { return x.visible(KindTool, name) }
