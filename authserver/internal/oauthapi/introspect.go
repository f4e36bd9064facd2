package oauthapi

import (
	"net/http"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/token"
)

// introspectionBody is an introspection response (RFC 7662 section 2.2). For a token that is not
// active it has nothing else.
type introspectionBody struct {
	Active    bool     `json:"active"`
	Scope     string   `json:"scope,omitempty"`
	ClientID  string   `json:"client_id,omitempty"`
	TokenType string   `json:"token_type,omitempty"`
	Expires   int64    `json:"exp,omitempty"`
	IssuedAt  int64    `json:"iat,omitempty"`
	Subject   string   `json:"sub,omitempty"`
	Audience  string   `json:"aud,omitempty"`
	Issuer    string   `json:"iss,omitempty"`
	ID        string   `json:"jti,omitempty"`
	TenantID  string   `json:"tenant_id,omitempty"`
	GrantID   string   `json:"grant_id,omitempty"`
	Scopes    []string `json:"scopes,omitempty"`

	Confirmation token.Confirmation `json:"cnf,omitzero"`  // RFC 9449 section 6.2
	Actor        *token.Actor       `json:"act,omitempty"` // RFC 8693 section 4.1
}

// introspect is the introspection endpoint (RFC 7662 section 2): for clients that authenticate,
// each for its own tokens, and for protected servers, each for its access tokens.
func (d *API) introspect(w http.ResponseWriter, r *http.Request) {
	c, form, ok := d.readAuthenticated(w, r)
	if !ok {
		return
	}
	if c.AuthMethod == client.AuthNone {
		d.fail(w, r,
			oauth.InvalidClient("introspection is for clients that authenticate; register with a secret or a key"))
		return
	}
	// Each request verifies a signature and loads a grant.
	if ok, wait := d.Introspect.Allow(r.Context(), c.ID); !ok {
		d.tooMany(w, r, wait)
		return
	}
	if form.Get("token") == "" {
		d.fail(w, r, oauth.InvalidRequest("token is missing; send the one to introspect"))
		return
	}
	i, err := d.Engine.Introspect(r.Context(), c, form.Get("token"))
	if err != nil {
		d.fail(w, r, err)
		return
	}
	if !i.Active {
		respond(w, http.StatusOK, introspectionBody{})
		return
	}
	tokenType := ""
	if i.Type == "access_token" {
		tokenType = "Bearer"
	}
	if i.Claims.Confirmation.JKT != "" {
		tokenType = dpop.Scheme
	}
	respond(w, http.StatusOK, introspectionBody{
		Active: true, Scope: i.Claims.Scope, ClientID: i.Claims.ClientID, TokenType: tokenType,
		Expires:  i.Claims.Expires,
		IssuedAt: i.Claims.IssuedAt, Subject: i.Claims.Subject, Audience: i.Claims.Audience, Issuer: i.Claims.Issuer,
		ID:       i.Claims.ID,
		TenantID: i.Claims.TenantID, GrantID: i.Claims.GrantID, Scopes: i.Claims.Scopes,
		Confirmation: i.Claims.Confirmation,
		Actor:        i.Claims.Actor,
	})
}
