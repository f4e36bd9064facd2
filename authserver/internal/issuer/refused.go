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

// notYet are error codes of the token endpoint that are no refusal: the client continues as they
// say.
var notYet = []string{"authorization_pending", "slow_down", "use_dpop_nonce"}

// Refused writes the audit event of a request that is refused with err: of an authenticated
// client, or of a stranger, the zero client, who is named by an address. Internal errors are not
// refusals.
func (e *Engine) Refused(ctx context.Context, c client.Client, event audit.Event, err error) {
	var refused *oauth.Error
	if !errors.As(err, &refused) || refused.Status >= http.StatusInternalServerError ||
		slices.Contains(notYet, refused.Code) {
		return
	}
	if event.Detail != "" {
		event.Detail += ": "
	}
	event.Detail += refused.Code + ": " + refused.Description
	e.Refuse(ctx, c, event)
}

// Refuse is Refused with the reason in the event. Only a limited number of events is written in a
// minute, of one source and of all. An event that cannot be written changes no refusal, and is
// noted in the log. The event of a stranger may have an actor already, who is the address in
// another form.
func (e *Engine) Refuse(ctx context.Context, c client.Client, event audit.Event) {
	event.Time, event.Outcome = e.now(), audit.Refused
	source := "client:" + c.ID
	switch {
	case c.ID != "":
		event.Actor, event.Client = source, c.ID
	case event.Actor == "":
		event.Actor = "address:" + httpd.ClientAddr(ctx).String()
	}
	if c.ID == "" || c.AuthMethod == client.AuthNone { // anybody can send the id of a public client
		source += " " + httpd.Source(ctx)
	}
	if event.Tenant == "" {
		event.Tenant = c.TenantID
	}
	if err := e.Refusals.Record(ctx, source, event); err != nil {
		httpd.Note(ctx, "audit", err)
	}
}
