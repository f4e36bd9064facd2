package oauthapi

import (
	"net/http"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// revoke is the revocation endpoint (RFC 7009 section 2). 200 means that the grant is revoked,
// durably; a store that does not answer is 503 (section 2.2.1).
func (d *API) revoke(w http.ResponseWriter, r *http.Request) {
	c, form, ok := d.readAuthenticated(w, r)
	if !ok {
		return
	}
	// Each revocation is a row and an entry of the list: a client that gets and revokes tokens over
	// and over must not fill both. Anybody can send the id of a public client, so that one source
	// must not use up the limit of the others.
	who := c.ID
	if c.AuthMethod == client.AuthNone {
		who += " " + httpd.Source(r.Context())
	}
	if ok, wait := d.Revoke.Allow(r.Context(), who); !ok {
		d.tooMany(w, r, wait)
		return
	}
	if form.Get("token") == "" {
		d.fail(w, r, oauth.InvalidRequest("token is missing; send the one to revoke"))
		return
	}
	if err := d.Engine.Revoke(r.Context(), c, form.Get("token")); err != nil {
		d.fail(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}
