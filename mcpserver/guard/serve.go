package guard

import (
	"net/http"

	"github.com/gatehouse-mcp/gatehouse/mcpserver/mcp"
	"github.com/gatehouse-mcp/gatehouse/mcpserver/message"
)

// Server is an MCP server of ours: it is handed each message as the guard read it, so that none is
// read twice, and shows in its lists what the view says is open, so that none has to be cut down.
// It has no sessions and no streams.
type Server interface {
	// ServeMessage answers one message that was decided on.
	ServeMessage(w http.ResponseWriter, r *http.Request, m *message.Message, v mcp.View)
}

// Serve puts the guard in front of a server of ours, by the same rules and modes as Enforce.
func (g *Guard) Serve(s Server, p Policy) (*Handler, error) {
	e, err := g.enforcer(p)
	if err != nil {
		return nil, err
	}
	e.own = s
	return e, nil
}

func (x *request) openTool(name string) bool { return x.visible(KindTool, name) }
