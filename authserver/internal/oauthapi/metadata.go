package oauthapi

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/assertion"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/shared/dpop"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// MetadataMaxAge is for how long clients may cache metadata and keys. keyring.PublishLead is
// longer.
const MetadataMaxAge = 5 * time.Minute

// discovery is the metadata with the additions of OpenID Connect Discovery 1.0 section 3 and
// RP-Initiated Logout 1.0 section 2.1. Subjects are the same for every client.
type discovery struct {
	oauth.ServerMetadata
	UserInfoEndpoint                 string   `json:"userinfo_endpoint"`
	EndSessionEndpoint               string   `json:"end_session_endpoint"`
	SubjectTypesSupported            []string `json:"subject_types_supported"`
	IDTokenSigningAlgValuesSupported []string `json:"id_token_signing_alg_values_supported"`
	ClaimsSupported                  []string `json:"claims_supported"`
	ClaimsParameterSupported         bool     `json:"claims_parameter_supported"`
	PromptValuesSupported            []string `json:"prompt_values_supported"`
}

// metadata serves the metadata of the server, made from the configuration and again when the
// resources change; no request header changes them. The two documents differ in scopes_supported:
// MCP clients read that of RFC 8414 and request all of it, so that the scopes of OpenID Connect
// are in the other one alone.
func (d *API) metadata() (rfc8414, openID http.Handler, err error) {
	var last atomic.Pointer[published]
	current := func() (*published, error) {
		all := d.Engine.Resources.All()
		if p := last.Load(); p != nil && len(p.of) == len(all) && &p.of[0] == &all[0] {
			return p, nil
		}
		p, err := d.publish(all)
		if err == nil {
			last.Store(p)
		}
		return p, err
	}
	if _, err := current(); err != nil {
		return nil, nil, err
	}
	serve := func(which func(*published) document) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, err := current()
			if err != nil {
				panic("oauthapi: encode metadata: " + err.Error()) // it was encoded before
			}
			which(p).serve(w, r, "application/json", MetadataMaxAge)
		})
	}
	return serve(func(p *published) document { return p.rfc8414 }),
		serve(func(p *published) document { return p.openID }), nil
}

// published are the documents for some resources.
type published struct {
	of              []issuer.Resource
	rfc8414, openID document
}

func (d *API) publish(of []issuer.Resource) (*published, error) {
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
		GrantProfilesSupported:                     []string{"urn:ietf:params:oauth:grant-profile:id-jag"},
		TokenEndpointAuthMethodsSupported:          methods,
		RevocationEndpointAuthMethodsSupported:     methods,
		IntrospectionEndpointAuthMethods:           secrets,
		TokenEndpointAuthSigningAlgs:               assertion.Algorithms(),
		CodeChallengeMethodsSupported:              []string{"S256"},
		DPoPSigningAlgValuesSupported:              dpop.Algorithms(),
		AuthorizationResponseISSParameterSupported: true,
		ClientIDMetadataDocumentSupported:          e.Documents != nil,
	},
		UserInfoEndpoint: e.Issuer + UserInfoPath, EndSessionEndpoint: e.Issuer + LogoutPath,
		SubjectTypesSupported: []string{"public"}, IDTokenSigningAlgValuesSupported: d.IDTokenAlgorithms(),
		ClaimsSupported: []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "tenant_id",
			"name", "email", "email_verified"},
		PromptValuesSupported: []string{"none", "login", "consent", "select_account"},
	}
	seen := map[string]bool{}
	for _, r := range of {
		m.ProtectedResources = append(m.ProtectedResources, r.URI)
		for _, s := range r.ScopeNames() {
			if !seen[s] {
				m.ScopesSupported, seen[s] = append(m.ScopesSupported, s), true
			}
		}
	}
	if len(m.ScopesSupported) > oauth.MaxScopes-len(issuer.IdentityScopes())-1 ||
		len(url.QueryEscape(oauth.FormatScope(m.ScopesSupported))) > maxListed {
		m.ScopesSupported = nil // RFC 8414 section 2 only recommends them; each resource lists its own (RFC 9728)
	} else {
		m.ScopesSupported = append(m.ScopesSupported, issuer.OfflineAccess)
	}
	if d.Registration == RegistrationClosed {
		m.RegistrationEndpoint = "" // clients do not try then
	}
	p := &published{of: of}
	var err error
	if p.rfc8414, err = tagged(m); err != nil {
		return nil, err
	}
	if m.ScopesSupported == nil { // the scopes of OpenID Connect are listed all the same
		m.ScopesSupported = []string{issuer.OfflineAccess}
	}
	m.ScopesSupported = append(issuer.IdentityScopes(), m.ScopesSupported...)
	p.openID, err = tagged(m)
	return p, err
}

// maxListed bounds scopes_supported, in bytes of a query: a request for all of it must not be too
// long.
const maxListed = maxQuery / 2

// tagged is a document with its entity tag.
func tagged(m discovery) (document, error) {
	doc, err := newDocument(m, func(body []byte) string {
		sum := sha256.Sum256(body)
		return `"` + hex.EncodeToString(sum[:12]) + `"`
	})
	if err != nil {
		return document{}, fmt.Errorf("encode metadata: %w", err)
	}
	return doc, nil
}

// jwks serves the published keys (RFC 7517 section 5).
func (d *API) jwks(w http.ResponseWriter, r *http.Request) {
	keys := d.Keys.Document()
	document{keys.JSON, keys.ETag}.serve(w, r, "application/jwk-set+json", MetadataMaxAge)
}
