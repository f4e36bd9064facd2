package client

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// Description is a client's metadata, read once for registrations (RFC 7591 §3.1), updates (RFC
// 7592 §2.2) and metadata documents.
type Description struct {
	oauth.ClientMetadata
	ClientID string
	Secret   bool     // client_secret or client_secret_expires_at is present
	Ignored  []string // members of a wrong type that have no effect
}

// ReadMetadata reads the metadata of a registration. A member of a wrong type is rejected by name
// with an *oauth.Error when it has an effect, and ignored otherwise, like unknown members.
func ReadMetadata(body []byte) (Description, error) { return readSaid(body, false) }

// member is one member of the metadata: its target, and whether it has an effect.
type member struct {
	name, kind string
	into       any
	matters    bool
}

func readSaid(body []byte, document bool) (Description, error) {
	var s Description
	values, err := strictjson.Map(body)
	if err != nil {
		return s, oauth.InvalidClientMetadata("the metadata are not one JSON object with one reading: " + err.Error())
	}
	for name, value := range values {
		if string(value) == "null" { // the same as absent
			delete(values, name)
		}
	}
	m := &s.ClientMetadata
	const text, list, truth = "a string", "an array of strings", "true or false"
	members := []member{
		{"client_id", text, &s.ClientID, false}, {"redirect_uris", list, &m.RedirectURIs, true},
		{"token_endpoint_auth_method", text, &m.TokenEndpointAuthMethod, true},
		{"token_endpoint_auth_methods_supported", list, &m.TokenEndpointAuthMethodsSupported, document},
		{"grant_types", list, &m.GrantTypes, true}, {"response_types", list, &m.ResponseTypes, true},
		{"client_name", text, &m.ClientName, true}, {"scope", text, &m.Scope, true},
		{"id_token_signed_response_alg", text, &m.IDTokenSignedResponseAlg, !document},
		{"post_logout_redirect_uris", list, (*loose)(&m.PostLogoutRedirectURIs), true},
		{"dpop_bound_access_tokens", truth, &m.DPoPBoundAccessTokens, true},
		{"require_pushed_authorization_requests", truth, &m.RequirePushedRequests, true},
		{"client_uri", text, &m.ClientURI, false}, {"logo_uri", text, &m.LogoURI, false},
		{"contacts", list, &m.Contacts, false}, {"application_type", text, &m.ApplicationType, false},
		{"software_id", text, &m.SoftwareID, false}, {"software_version", text, &m.SoftwareVersion, false},
	}
	s.JWKS, s.Secret = values["jwks"], values["client_secret"] != nil || values["client_secret_expires_at"] != nil
	for _, f := range members {
		if err := s.read(f, values[f.name]); err != nil {
			return s, err
		}
	}
	return s, s.read(member{"jwks_uri", text, &m.JWKSURI, s.usesKey()}, values["jwks_uri"])
}

// usesKey reports whether the client authenticates with a key, or could.
func (s *Description) usesKey() bool {
	return s.TokenEndpointAuthMethod == AuthKey || slices.Contains(s.TokenEndpointAuthMethodsSupported, AuthKey)
}

// read reads one member; a nil value is absent.
func (s *Description) read(f member, value json.RawMessage) error {
	switch {
	case value == nil || strictjson.Unmarshal(value, f.into) == nil:
		return nil
	case f.matters:
		return oauth.InvalidClientMetadata(f.name + " must be " + f.kind)
	}
	s.Ignored = append(s.Ignored, f.name)
	switch into := f.into.(type) { // a target may hold part of the value after an error
	case *string:
		*into = ""
	case *[]string:
		*into = nil
	}
	return nil
}

// loose is a list whose entries are read one by one: an entry that is no string is "".
type loose []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *loose) UnmarshalJSON(text []byte) error {
	elements, err := strictjson.Elements(text)
	if err != nil {
		return errors.New("it is not an array")
	}
	for _, e := range elements {
		entry, _ := strictjson.Text(e)
		*l = append(*l, entry)
	}
	return nil
}
