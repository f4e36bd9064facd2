package issuer

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// notYet are answers of the token endpoint that refuse nothing: the client goes on as they say.
var notYet = []string{"authorization_pending", "slow_down", "use_dpop_nonce"}

// Refused keeps the line of a request that is refused with err: of a client that has proved who it
// is, or of a stranger, the zero client, who is known by an address. What broke here is no refusal.
func (e *Engine) Refused(ctx context.Context, c client.Client, line audit.Event, err error) {
	var refused *oauth.Error
	if !errors.As(err, &refused) || refused.Status >= http.StatusInternalServerError ||
		slices.Contains(notYet, refused.Code) {
		return
	}
	if line.Detail != "" {
		line.Detail += ": "
	}
	line.Detail += refused.Code + ": " + refused.Description
	e.Refuse(ctx, c, line)
}

// Refuse is Refused with its reason in the line. Of one source, and of all, only so many lines are
// kept in a minute. A line that cannot be kept changes no refusal; the log tells. A stranger may
// have an actor already, who is their address in another form.
func (e *Engine) Refuse(ctx context.Context, c client.Client, line audit.Event) {
	line.Time, line.Outcome = e.now(), audit.Refused
	source := "client:" + c.ID
	switch {
	case c.ID != "":
		line.Actor, line.Client = source, c.ID
	case line.Actor == "":
		line.Actor = "address:" + httpd.ClientAddr(ctx).String()
	}
	if c.ID == "" || c.AuthMethod == client.AuthNone { // anybody can come as a client that proves nothing
		source += " " + httpd.Source(ctx)
	}
	if line.Tenant == "" {
		line.Tenant = c.TenantID
	}
	if err := e.Refusals.Record(ctx, source, line); err != nil {
		httpd.Note(ctx, "audit", err)
	}
}
