// Package token owns what an access token says (RFC 9068) and how to believe it.
package token

import "slices"

// Type is the JOSE "typ" of an access token (RFC 9068 §2.1). A token of any other type is not an
// access token.
const Type = "at+jwt"

// Claims are an access token's claims (RFC 9068 §2.2), with ours: tenant_id, scopes (an array
// beside the string, because validators in the field expect one) and grant_id. Times are Unix
// seconds.
type Claims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  string   `json:"aud"` // always exactly one, always a string
	ClientID  string   `json:"client_id"`
	TenantID  string   `json:"tenant_id"`
	GrantID   string   `json:"grant_id"`
	ID        string   `json:"jti"`
	Scope     string   `json:"scope"`
	Scopes    []string `json:"scopes"`
	Actor     *Actor   `json:"act,omitempty"`
	IssuedAt  int64    `json:"iat"`
	NotBefore int64    `json:"nbf,omitempty"`
	Expires   int64    `json:"exp"`
	// Confirmation binds the token to a key of its client's; zero for a token that whoever bears it
	// may use.
	Confirmation Confirmation `json:"cnf,omitzero"`
	// GrantClientID is the client whose grant it is, when another one passes its caller on; else
	// empty.
	GrantClientID string `json:"grant_client_id,omitempty"`
}

// Clients are the clients on whose strength the token was issued: the one that got it, the one
// whose grant it is, and those that passed the caller on before. When one of them is disabled, the
// token counts no more. The first is ClientID.
func (c Claims) Clients() []string {
	all := []string{c.ClientID}
	add := func(id string) {
		if id != "" && !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	add(c.GrantClientID)
	for a := c.Actor; a != nil; a = a.Actor {
		add(a.ClientID)
	}
	return all
}

// Confirmation is the key that must be proved with a token (RFC 7800 §3.1, RFC 9449 §6.1).
type Confirmation struct {
	JKT string `json:"jkt"` // the key's SHA-256 thumbprint (RFC 7638)
}

// Actor is who acts for the subject, when that is not the client that the person let in (RFC 8693
// §4.1). Only the outermost one counts for a decision; those inside are history, except where one
// of them was disabled since: see Claims.Clients.
type Actor struct {
	Subject  string `json:"sub"`
	ClientID string `json:"client_id,omitempty"`
	Actor    *Actor `json:"act,omitempty"`
}

// Depth is how many actors stand one inside the other.
func (a *Actor) Depth() int {
	if a == nil {
		return 0
	}
	return 1 + a.Actor.Depth()
}
