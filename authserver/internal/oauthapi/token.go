package oauthapi

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// tokenBody is a successful token response (RFC 6749 section 5.1).
type tokenBody struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	Scope        string `json:"scope"`
	IssuedType   string `json:"issued_token_type,omitempty"`
}

// token is the token endpoint (RFC 6749 section 3.2). It reads the form and the grant type,
// authenticates the client, verifies the DPoP proof, and has Engine.Token do the rest.
func (d *API) token(w http.ResponseWriter, r *http.Request) {
	form, refused := readForm(r)
	if refused != nil {
		d.fail(w, r, refused)
		return
	}
	grantType := form.Get("grant_type")
	way := attempt.FromContext(r.Context())
	way.SetParameters(form)
	if grantType == client.GrantCredentials {
		way.Machine()
	}
	if grantType == client.GrantCode || grantType == client.GrantDevice {
		way.Reached(attempt.Code)
	}
	parsed, err := issuer.ParseGrantType(grantType)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	httpd.Note(r.Context(), "grant_type", grantType)
	c, err := d.authenticate(r, form)
	if err != nil {
		d.failAuthentication(w, r, err)
		return
	}
	proof, err := d.proof(w, r, TokenPath, "")
	if err != nil {
		d.fail(w, r, err)
		return
	}
	tokens, about, err := d.Engine.Token(r.Context(), issuer.TokenRequest{Client: c, GrantType: parsed, Form: form,
		Proof: proof})
	trace(way, form, about)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	way.Finish()
	httpd.Note(r.Context(), "grant", tokens.GrantID)
	noteRelaxed(r, tokens.Relaxed)
	respond(w, http.StatusOK, tokenBody{
		AccessToken: tokens.AccessToken, TokenType: tokens.Type, ExpiresIn: int64(tokens.ExpiresIn.Seconds()),
		RefreshToken: tokens.RefreshToken, IDToken: tokens.IDToken, IssuedType: tokens.IssuedType,
		Scope: oauth.FormatScope(tokens.Scopes),
	})
}

// trace adds to the attempt of a client what a token request is about. Only the redemption of a
// code is part of an attempt; of other requests refusals alone are kept.
func trace(way *attempt.Trace, form url.Values, t issuer.Trace) {
	way.For(t.TenantID, t.UserID)
	switch form.Get("grant_type") {
	case client.GrantCode:
		way.Grant(t.GrantID, t.Used)
		way.Attempt(t.Challenge)
	case client.GrantDevice:
		way.Grant(t.GrantID, t.Used)
		way.Attempt(form.Get("device_code"))
	default:
		way.Grant(t.GrantID, false)
		way.Silence()
	}
}

// failAuthentication answers a client that is not authenticated, and counts that against its
// source.
func (d *API) failAuthentication(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errNotAuthenticated) {
		if ok, wait := d.Authenticate.Allow(r.Context(), httpd.Source(r.Context())); !ok {
			d.tooMany(w, r, wait)
			return
		}
	}
	d.fail(w, r, err)
}
