package oauthapi

import (
	"net/http"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

// revoked tells a protected server which grants have revoked since it last asked: ids and times,
// nothing of whose they were. It is for clients that an operator made for a protected server, which
// prove themselves as at the token endpoint; so it is a POST, whose cursor is in no log.
func (d *API) revoked(w http.ResponseWriter, r *http.Request) {
	c, form, ok := d.readAuthenticated(w, r)
	if !ok {
		return
	}
	if c.AuthMethod == client.AuthNone {
		d.fail(w, r, oauth.InvalidClient("the list of ended grants is for clients that can prove who they are"))
		return
	}
	if c.Resource == "" {
		d.fail(w, r, oauth.UnauthorizedClient("the list of ended grants is for clients that are a protected server"))
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
