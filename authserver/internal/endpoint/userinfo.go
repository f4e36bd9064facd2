package endpoint

import (
	"errors"
	"net/http"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// userInfo is the userinfo endpoint (OpenID Connect Core §5.3): who the person is, for the bearer of an access token whose audience is this issuer.
func (d *Door) userInfo(w http.ResponseWriter, r *http.Request) {
	raw, shown, err := bearer(r)
	if errors.Is(err, client.ErrNoInitialToken) || !shown {
		w.Header().Set("WWW-Authenticate", oauth.Challenge{Scope: []string{"openid"}}.String()) // RFC 6750 §3.1: no error when nothing was sent
		answer(w, http.StatusUnauthorized, errorBody{Error: "invalid_token", Description: "send an access token of this issuer as Authorization: Bearer"})
		return
	}
	info, err := d.Engine.UserInfo(r.Context(), raw)
	var refused *oauth.Error
	if errors.As(err, &refused) {
		known(r, err)
		w.Header().Set("WWW-Authenticate", oauth.Challenge{Error: refused.Code, ErrorDescription: refused.Description, Scope: []string{"openid"}}.String())
		answer(w, refused.Status, errorBody{refused.Code, describe(r, refused), d.Engine.ErrorURI(refused.Code)})
		return
	}
	if err != nil {
		d.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, info)
}
