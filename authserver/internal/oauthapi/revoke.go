package oauthapi

import (
	"net/http"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// revoke is the revocation endpoint (RFC 7009 §2). 200 means that the grant has ended, durably; a
// store that does not answer is 503 (§2.2.1), never the 200 that fosite's writer makes of it.
func (d *API) revoke(w http.ResponseWriter, r *http.Request) {
	c, form, ok := d.readAuthenticated(w, r)
	if !ok {
		return
	}
	// Each end of a grant is a row and a place on the list: a client that gets a token and gives it
	// back, over and over, must not fill both. Anybody can come as a client that proves nothing, so
	// one address of its cannot use up the others' turns.
	who := c.ID
	if c.AuthMethod == client.AuthNone {
		who += " " + httpd.Source(r.Context())
	}
	if ok, wait := d.Revoke.Allow(r.Context(), who); !ok {
		d.tooMany(w, r, wait)
		return
	}
	if form.Get("token") == "" {
		d.fail(w, r, oauth.InvalidRequest("token is missing; send the one to be ended"))
		return
	}
	if err := d.Engine.Revoke(r.Context(), c, form.Get("token")); err != nil {
		d.fail(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}
