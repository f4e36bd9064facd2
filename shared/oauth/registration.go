package oauth

import "encoding/json"

// ClientMetadata is the metadata of a client registration (RFC 7591 §2). Other members are ignored.
type ClientMetadata struct {
	RedirectURIs            []string `json:"redirect_uris,omitempty"`
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method,omitempty"`
	// What the client could use instead, for a server to choose (OpenID Connect Relying Party
	// Metadata Choices 1.0 §2); read, never returned.
	TokenEndpointAuthMethodsSupported []string `json:"token_endpoint_auth_methods_supported,omitempty"`
	GrantTypes                        []string `json:"grant_types,omitempty"`
	ResponseTypes                     []string `json:"response_types,omitempty"`
	ClientName                        string   `json:"client_name,omitempty"`
	ClientURI                         string   `json:"client_uri,omitempty"`
	LogoURI                           string   `json:"logo_uri,omitempty"`
	Scope                             string   `json:"scope,omitempty"`
	Contacts                          []string `json:"contacts,omitempty"`
	// OpenID Connect Registration 1.0 §2
	ApplicationType string          `json:"application_type,omitempty"`
	JWKS            json.RawMessage `json:"jwks,omitempty"`
	JWKSURI         string          `json:"jwks_uri,omitempty"`
	SoftwareID      string          `json:"software_id,omitempty"`
	SoftwareVersion string          `json:"software_version,omitempty"`
	// OpenID Connect Registration 1.0 §2, RP-Initiated Logout 1.0 §3.1
	IDTokenSignedResponseAlg string   `json:"id_token_signed_response_alg,omitempty"`
	PostLogoutRedirectURIs   []string `json:"post_logout_redirect_uris,omitempty"`
	// RFC 9449 §5.2
	DPoPBoundAccessTokens bool `json:"dpop_bound_access_tokens,omitempty"`
	RequirePushedRequests bool `json:"require_pushed_authorization_requests,omitempty"` // RFC 9126 §6
}

// ClientInformation is a registration response (RFC 7591 §3.2.1). Arrays are never null, which some
// clients reject.
type ClientInformation struct {
	ClientID         string `json:"client_id"`
	ClientSecret     string `json:"client_secret,omitempty"`
	ClientIDIssuedAt int64  `json:"client_id_issued_at"`
	// RFC 7592 §3
	RegistrationAccessToken string `json:"registration_access_token,omitempty"`
	RegistrationClientURI   string `json:"registration_client_uri,omitempty"`
	// REQUIRED iff there is a secret; 0 = never
	ClientSecretExpiresAt *int64 `json:"client_secret_expires_at,omitempty"`
	ClientMetadata
}
