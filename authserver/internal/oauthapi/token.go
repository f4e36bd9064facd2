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

// tokenBody is a token endpoint's success (RFC 6749 §5.1).
type tokenBody struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	Scope        string `json:"scope"`
	IssuedType   string `json:"issued_token_type,omitempty"`
}

// token is the token endpoint (RFC 6749 §3.2). The order belongs to the frame: read strictly, is
// the grant type known, who is the client, which key does it prove, then the engine decides and
// commits, then the answer.
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

// trace says what a token request has to do with a client's way in. Only who redeems a code came a
// way; of the others refusals are kept alone.
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

// failAuthentication answers a client that did not prove who it is, and counts the try against its
// address.
func (d *API) failAuthentication(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errNotAuthenticated) {
		if ok, wait := d.Authenticate.Allow(r.Context(), httpd.Source(r.Context())); !ok {
			d.tooMany(w, r, wait)
			return
		}
	}
	d.fail(w, r, err)
}
