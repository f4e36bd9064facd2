// Package oauthapi serves the OAuth and OpenID Connect endpoints that programs call, one file for
// each: it reads the request, calls package issuer, and writes the response.
package oauthapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/assertion"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/keyring"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/ratelimit"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

// Paths of the endpoints, below the issuer.
const (
	MetadataPath      = "/.well-known/oauth-authorization-server"
	DiscoveryPath     = "/.well-known/openid-configuration"
	JWKSPath          = "/oauth2/jwks"
	AuthorizePath     = "/oauth2/authorize"
	TokenPath         = "/oauth2/token"
	RegisterPath      = "/oauth2/register"
	RevokePath        = "/oauth2/revoke"
	IntrospectionPath = "/oauth2/introspect"
	RevokedPath       = revocation.Path
	DevicePath        = "/oauth2/device_authorization"
	PushPath          = "/oauth2/par"
	UserInfoPath      = "/oauth2/userinfo"
	LogoutPath        = "/oauth2/logout" // served by package pages
)

// Who may register.
const (
	RegistrationOpen   = "open"   // everybody; machine clients with an initial access token
	RegistrationToken  = "token"  // with an initial access token
	RegistrationClosed = "closed" // there is no endpoint
)

// API serves the endpoints.
type API struct {
	Engine  *issuer.Engine
	Clients client.Store
	Keys    *keyring.Ring

	// Register limits registrations, Authorize authorization requests, and Authenticate failed
	// client authentications, each by source.
	Register, Authorize, Authenticate *ratelimit.Limiter
	// Registration says who may register: RegistrationOpen, RegistrationToken or
	// RegistrationClosed. Ceiling bounds the clients that register by themselves.
	Registration string
	Ceiling      int64
	// Assertions verifies client assertions (private_key_jwt).
	Assertions *assertion.Checker
	// IDTokenAlgorithms are the algorithms of ID tokens, the default one first.
	IDTokenAlgorithms func() []string
	Now               func() time.Time
	// Revoked is the list of revoked grants, which protected servers follow.
	Revoked revocation.Feed
	// Revoke limits revocations, Introspect introspections and Follow readings of the list of
	// revoked grants, each by client.
	Revoke, Introspect, Follow *ratelimit.Limiter
	// Begin stores an authorization request for this browser and returns its transaction id.
	Begin func(w http.ResponseWriter, r *http.Request, form url.Values) (string, error)
	// Silent answers an authorization request with prompt=none.
	Silent func(w http.ResponseWriter, r *http.Request, form url.Values)
	// Explain shows a person what an error code means, or that there is no such code.
	Explain func(w http.ResponseWriter, r *http.Request, code string)
	// ErrorPage shows a person what was wrong, with the error's status.
	ErrorPage func(w http.ResponseWriter, r *http.Request, err *oauth.Error)
}

// Mount adds the endpoints to a router. Programs in browsers may read metadata and keys, register
// and get tokens from any origin, without credentials; the authorization endpoint is for
// navigation only and has no CORS (OAuth 2.1 section 3.1).
func (d *API) Mount(r *mux.Router) error {
	metadata, discovery, err := d.metadata()
	if err != nil {
		return err
	}
	r.Handle(MetadataPath, d.cors("GET, HEAD", metadata))
	r.Handle(DiscoveryPath, d.cors("GET, HEAD", discovery))
	r.Handle(JWKSPath, d.cors("GET, HEAD", http.HandlerFunc(d.jwks)))
	r.Handle(TokenPath, d.cors("POST", http.HandlerFunc(d.token)))
	if d.Registration != RegistrationClosed {
		r.Handle(RegisterPath, d.cors("POST", http.HandlerFunc(d.register)))
		r.Handle(RegisterPath+"/{client}", d.cors("GET, PUT, DELETE", http.HandlerFunc(d.manage)))
	}
	r.Handle(RevokePath, d.cors("POST", http.HandlerFunc(d.revoke)))
	r.Handle(DevicePath, d.cors("POST", http.HandlerFunc(d.device)))
	r.Handle(PushPath, d.cors("POST", http.HandlerFunc(d.push)))
	r.Handle(UserInfoPath, d.cors("GET, POST", http.HandlerFunc(d.userInfo)))
	r.Handle(IntrospectionPath, d.allow("POST", http.HandlerFunc(d.introspect)))
	r.Handle(RevokedPath, d.allow("POST", http.HandlerFunc(d.revoked)))
	r.HandleFunc(issuer.ErrorPath+"{code}", d.explain).Methods("GET", "HEAD")
	r.Handle(AuthorizePath, d.allow("GET, POST", http.HandlerFunc(d.authorize)))
	r.NotFoundHandler = d.notFound("There is nothing at this address. Check it; the metadata at "+MetadataPath+
		" name what there is.", http.StatusNotFound)
	r.MethodNotAllowedHandler = d.notFound("This page cannot be opened in this way. Start again from your application.",
		http.StatusMethodNotAllowed)
	return nil
}

// ForPrograms reports whether the endpoint of a path is for programs: it reads no cookies and
// shows no form.
func ForPrograms(path string) bool {
	switch path {
	case JWKSPath, TokenPath, RegisterPath, RevokePath, DevicePath, PushPath, UserInfoPath, IntrospectionPath,
		RevokedPath:
		return true
	}
	return strings.HasPrefix(path, RegisterPath+"/") || strings.HasPrefix(path, "/.well-known/")
}

// notFound answers requests without a route: in JSON for programs, by a page for people.
func (d *API) notFound(what string, status int) http.Handler {
	refused := &oauth.Error{Code: "invalid_request", Description: what, Status: status}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/.well-known/") {
			if !httpd.OpenToPages(w, r, "GET, HEAD") {
				// a client in a browser tries several addresses, and must see which are not there
				d.fail(w, r, refused)
			}
			return
		}
		if strings.HasPrefix(r.URL.Path, "/oauth2/") {
			d.fail(w, r, refused)
			return
		}
		d.ErrorPage(w, r, visible(r, refused))
	})
}

func (d *API) explain(w http.ResponseWriter, r *http.Request) { d.Explain(w, r, mux.Vars(r)["code"]) }

// allow answers 405 with Allow to all other methods (RFC 9110 section 15.5.6), which the router
// does not.
func (d *API) allow(methods string, h http.Handler) http.Handler {
	allowed := strings.Split(methods, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(allowed, r.Method) {
			w.Header().Set("Allow", methods)
			d.fail(w, r, &oauth.Error{Code: "invalid_request", Description: "this endpoint takes " + methods,
				Status: http.StatusMethodNotAllowed})
			return
		}
		h.ServeHTTP(w, r)
	})
}

// cors allows programs in browsers to call h from any origin, by these methods. No endpoint behind
// it reads cookies.
func (d *API) cors(methods string, h http.Handler) http.Handler {
	h = d.allow(methods, h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !httpd.OpenToPages(w, r, methods) {
			h.ServeHTTP(w, r)
		}
	})
}
