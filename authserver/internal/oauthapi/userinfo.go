package oauthapi

import (
	"errors"
	"net/http"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// userInfo is the userinfo endpoint (OpenID Connect Core section 5.3): claims about the person of
// an access token whose audience is this issuer.
func (d *API) userInfo(w http.ResponseWriter, r *http.Request) {
	headers := r.Header.Values("Authorization")
	scheme, raw := oauth.Credentials(strings.Join(headers, ","))
	proved := strings.EqualFold(scheme, dpop.Scheme)
	if len(headers) != 1 || raw == "" || !proved && !strings.EqualFold(scheme, "Bearer") {
		// RFC 6750 section 3.1: no error when nothing was sent
		w.Header().Set("WWW-Authenticate", oauth.Challenge{Scope: []string{issuer.ScopeOpenID}}.String())
		respond(w, http.StatusUnauthorized,
			d.body(r, oauth.InvalidToken("send an access token of this issuer as Authorization: Bearer")))
		return
	}
	info, err := d.userOf(w, r, raw, proved)
	var refused *oauth.Error
	if errors.As(err, &refused) && refused.Status < http.StatusInternalServerError {
		visible(r, err)
		status, c := refused.Status, oauth.Challenge{Error: refused.Code, ErrorDescription: refused.Description,
			Scope: []string{issuer.ScopeOpenID}}
		if proved {
			c.Scheme, c.Algorithms = dpop.Scheme, dpop.Algorithms()
			status = max(status, http.StatusUnauthorized) // RFC 9449 section 7.1: also for what is wrong with the proof
		}
		w.Header().Set("WWW-Authenticate", c.String())
		respond(w, status, d.body(r, refused))
		return
	}
	if err != nil {
		d.fail(w, r, err)
		return
	}
	respond(w, http.StatusOK, info)
}

// userOf verifies the proof that belongs to a token of the DPoP scheme, and then the token.
func (d *API) userOf(w http.ResponseWriter, r *http.Request, raw string, proved bool) (issuer.UserInfo, error) {
	if !proved {
		return d.Engine.UserInfo(r.Context(), raw, nil)
	}
	proof, err := d.proof(w, r, UserInfoPath, raw)
	if err == nil && proof == nil {
		err = oauth.InvalidDPoPProof("the DPoP scheme needs a proof in the DPoP header")
	}
	if err != nil {
		return issuer.UserInfo{}, err
	}
	return d.Engine.UserInfo(r.Context(), raw, proof)
}
