package oauth

import "net/url"

// ResourceMetadata is a protected resource's metadata (RFC 9728 §2).
type ResourceMetadata struct {
	Resource               string   `json:"resource"`
	AuthorizationServers   []string `json:"authorization_servers"`
	ScopesSupported        []string `json:"scopes_supported,omitempty"`
	BearerMethodsSupported []string `json:"bearer_methods_supported"`
	ResourceName           string   `json:"resource_name,omitempty"`
	ResourceDocumentation  string   `json:"resource_documentation,omitempty"`

	DPoPSigningAlgValuesSupported []string `json:"dpop_signing_alg_values_supported,omitempty"`
	DPoPBoundAccessTokensRequired bool     `json:"dpop_bound_access_tokens_required,omitempty"`
}

// ResourceMetadataPath is the well-known path of RFC 9728 §3 at the root of a host.
const ResourceMetadataPath = "/.well-known/oauth-protected-resource"

// ResourceMetadataURL returns the metadata URL of a resource: the well-known path inserted between
// host and path (RFC 9728 §3.1). resource is an absolute URL, as configured.
func ResourceMetadataURL(resource string) string {
	u, err := url.Parse(resource)
	if err != nil {
		return ""
	}
	path := u.EscapedPath()
	if path == "/" {
		path = ""
	}
	return u.Scheme + "://" + u.Host + ResourceMetadataPath + path
}
