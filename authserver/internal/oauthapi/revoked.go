package oauthapi

import (
	"net/http"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

// revoked returns the grants that were revoked since the cursor of the request: their ids and
// times alone. It is for clients that an operator made for a protected server; it is a POST, so
// that the cursor is in no log.
func (d *API) revoked(w http.ResponseWriter, r *http.Request) {
	c, form, ok := d.readAuthenticated(w, r)
	if !ok {
		return
	}
	if c.AuthMethod == client.AuthNone {
		d.fail(w, r, oauth.InvalidClient("the list of revoked grants is for clients that authenticate"))
		return
	}
	if c.Resource == "" {
		d.fail(w, r, oauth.UnauthorizedClient("the list of revoked grants is for clients that are a protected server"))
		return
	}
	if ok, wait := d.Follow.Allow(r.Context(), c.ID); !ok {
		d.tooMany(w, r, wait)
		return
	}
	b, err := d.Revoked.Next(r.Context(), form.Get("after"))
	if err != nil {
		d.fail(w, r, err)
		return
	}
	respond(w, http.StatusOK, revocation.NewDocument(b))
}
