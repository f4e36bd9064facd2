package endpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/assertion"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// MetadataLife is how long metadata and keys may be kept by those who fetch them. keyring.PublishLead is longer.
const MetadataLife = 5 * time.Minute

// discovery is the metadata as OpenID Connect Discovery 1.0 §3 wants it, for clients that look there: the members that it requires beside RFC
// 8414's. We sign no id_token, and subjects are the same for every client.
type discovery struct {
	oauth.ServerMetadata
	SubjectTypesSupported            []string `json:"subject_types_supported"`
	IDTokenSigningAlgValuesSupported []string `json:"id_token_signing_alg_values_supported"`
}

// metadata serves the authorization server's metadata (RFC 8414 §3), made once from the configuration. No header of a request changes it.
func (d *Door) metadata() (http.Handler, error) {
	e := d.Engine
	secrets := []string{client.AuthBasic, client.AuthPost, client.AuthKey}
	methods := append([]string{client.AuthNone}, secrets...)
	m := discovery{ServerMetadata: oauth.ServerMetadata{
		Issuer:                                     e.Issuer,
		AuthorizationEndpoint:                      e.Issuer + AuthorizePath,
		TokenEndpoint:                              e.Issuer + TokenPath,
		JWKSURI:                                    e.Issuer + JWKSPath,
		RegistrationEndpoint:                       e.Issuer + RegisterPath,
		RevocationEndpoint:                         e.Issuer + RevokePath,
		IntrospectionEndpoint:                      e.Issuer + IntrospectionPath,
		DeviceAuthorizationEndpoint:                e.Issuer + DevicePath,
		PushedAuthorizationRequestEndpoint:         e.Issuer + PushPath,
		ResponseTypesSupported:                     []string{"code"},
		ResponseModesSupported:                     []string{"query"},
		GrantTypesSupported:                        issuer.GrantTypes(),
		TokenEndpointAuthMethodsSupported:          methods,
		RevocationEndpointAuthMethodsSupported:     methods,
		IntrospectionEndpointAuthMethods:           secrets,
		TokenEndpointAuthSigningAlgs:               assertion.Algorithms(),
		CodeChallengeMethodsSupported:              []string{"S256"},
		DPoPSigningAlgValuesSupported:              dpop.Algorithms(),
		AuthorizationResponseISSParameterSupported: true,
		ClientIDMetadataDocumentSupported:          e.Documents != nil,
	}, SubjectTypesSupported: []string{"public"}}
	for _, r := range e.Resources {
		m.ProtectedResources = append(m.ProtectedResources, r.URI)
		for _, s := range r.ScopeNames() {
			if !slices.Contains(m.ScopesSupported, s) {
				m.ScopesSupported = append(m.ScopesSupported, s)
			}
		}
		if !slices.Contains(m.IDTokenSigningAlgValuesSupported, r.Algorithm) {
			m.IDTokenSigningAlgValuesSupported = append(m.IDTokenSigningAlgValuesSupported, r.Algorithm)
		}
	}
	m.ScopesSupported = append(m.ScopesSupported, issuer.OfflineAccess)
	if d.Registration == RegistrationClosed {
		m.RegistrationEndpoint = "" // AS-10: then clients do not try
	}
	doc, err := newDocument(m, func(body []byte) string {
		sum := sha256.Sum256(body)
		return `"` + hex.EncodeToString(sum[:12]) + `"`
	})
	if err != nil {
		return nil, fmt.Errorf("encoding metadata: %w", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		doc.serve(w, r, "application/json", MetadataLife)
	}), nil
}

// jwks serves the published keys (RFC 7517 §5).
func (d *Door) jwks(w http.ResponseWriter, r *http.Request) {
	keys := d.Keys.Document()
	document{keys.JSON, keys.ETag}.serve(w, r, "application/jwk-set+json", MetadataLife)
}
