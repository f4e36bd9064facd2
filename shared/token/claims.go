// Package token defines and verifies access tokens (RFC 9068).
package token

import "slices"

// Type is the JOSE "typ" of an access token (RFC 9068 §2.1). No other type is accepted.
const Type = "at+jwt"

// Claims are an access token's claims (RFC 9068 §2.2), with tenant_id, scopes (an array beside the
// string, which some validators expect) and grant_id. Times are Unix seconds.
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
	// Confirmation binds the token to a key of its client; zero for a bearer token.
	Confirmation Confirmation `json:"cnf,omitzero"`
	// GrantClientID is the client whose grant it is, when another client exchanged the token; else
	// empty.
	GrantClientID string `json:"grant_client_id,omitempty"`
}

// Clients returns the clients on which the token depends: the one that got it, the one whose grant
// it is, and those that exchanged it before. When one of them is disabled, the token is invalid.
// The first is ClientID.
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

// Actor is who acts for the subject, when that is not the client that the person authorized (RFC
// 8693 §4.1). Only the outermost one counts for a decision; those inside are history, except when
// one of them was disabled since: see Claims.Clients.
type Actor struct {
	Subject  string `json:"sub"`
	ClientID string `json:"client_id,omitempty"`
	Actor    *Actor `json:"act,omitempty"`
}

// Depth returns the number of nested actors.
func (a *Actor) Depth() int {
	if a == nil {
		return 0
	}
	return 1 + a.Actor.Depth()
}
