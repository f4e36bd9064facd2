package issuer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer/fositeadapter"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/shared/text"
)

// MaxState bounds the state parameter, in bytes: all of it is returned to the client.
const MaxState = 8 << 10

// Authorization is a valid authorization request: its client, redirect URI and resource are known.
type Authorization struct {
	Client      client.Client
	RedirectURI string
	State       string
	Resource    Resource
	Scopes      []string // requested; those of OpenID Connect come first
	Prompt      Prompt
	Form        url.Values
	Relaxed     []string // names of the relaxations that it needed
}

// relax notes a relaxation that this request needed.
func (a *Authorization) relax(name string) {
	if name != "" {
		a.Relaxed = append(a.Relaxed, name)
	}
}

// shortState is the length in bytes below which a state does not protect by itself; PKCE protects
// clients that send less (OAuth 2.1 section 7.5).
const shortState = 8

// remembered are the parameters that Authorize reads. Others have no meaning (RFC 6749 section
// 3.1) and are not kept.
var remembered = []string{
	"client_id", "redirect_uri", "response_type", "response_mode", "state", "scope", "resource", "code_challenge",
	"code_challenge_method",
	"nonce", "prompt", "max_age", "login_hint", "id_token_hint", "dpop_jkt", PushedBy,
}

// Remembered returns the parameters of a request that are kept until a person has decided.
func Remembered(form url.Values) url.Values {
	kept := url.Values{}
	for _, name := range remembered {
		if values, there := form[name]; there {
			kept[name] = values
		}
	}
	return kept
}

// Refusal is an authorization request that is refused.
type Refusal struct {
	Err        *oauth.Error
	RedirectTo string // empty: show an error page (RFC 6749 section 4.1.2.1)
}

func (r *Refusal) Error() string { return r.Err.Error() }

func (r *Refusal) Unwrap() error { return r.Err }

// challengeForm matches a base64url SHA-256 without padding: a PKCE challenge of S256 (RFC 7636
// section 4.2) and the thumbprint of a key (RFC 9449 section 10).
var challengeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// Authorize checks an authorization request (RFC 6749 section 4.1.1, RFC 7636 section 4.3, RFC
// 8707 section 2). The error is a *Refusal or an internal one. A refusal redirects only when
// client and redirect URI are valid.
func (e *Engine) Authorize(ctx context.Context, form url.Values) (*Authorization, error) {
	a, err := e.recipient(ctx, form)
	if err != nil {
		return nil, err
	}
	err = a.check(e)
	if err == nil {
		err = e.checkTenant(ctx, a.Client)
	}
	if err == nil {
		err = e.fosite.Authorize(ctx, fositeadapter.Request{
			ClientID: a.Client.ID, Public: a.Client.AuthMethod == client.AuthNone, RedirectURI: a.RedirectURI,
			Challenge: form.Get("code_challenge"), Resource: a.Resource.URI,
			Offered: append(a.Resource.ScopeNames(), IdentityScopes()...), Scopes: a.Scopes,
		})
	}
	if err != nil {
		var refused *oauth.Error
		if errors.As(err, &refused) {
			return nil, e.refuse(ctx, a, refused)
		}
		return nil, err
	}
	return a, nil
}

// recipient finds the client and checks the redirect URI. A refusal here never redirects.
func (e *Engine) recipient(ctx context.Context, form url.Values) (*Authorization, error) {
	local := func(err *oauth.Error) error { return &Refusal{Err: err} }
	for _, name := range []string{"client_id", "redirect_uri"} {
		if n := len(form[name]); n != 1 || form.Get(name) == "" {
			return nil, local(oauth.InvalidRequest(name + " must be given, exactly once"))
		}
	}
	c, err := e.client(ctx, form.Get("client_id"))
	var refused *oauth.Error
	if errors.As(err, &refused) {
		return nil, local(refused)
	}
	if errors.Is(err, client.ErrNotFound) {
		return nil, local(&oauth.Error{Code: "invalid_client", Status: http.StatusBadRequest,
			Description: "this client is not known here; remove it in your application and connect again, so that it " +
				"registers again"})
	}
	if err != nil {
		return nil, fmt.Errorf("reading a client: %w", err)
	}
	if len(form["state"]) > 1 || len(form.Get("state")) > MaxState {
		// a response without the state could be taken for the response to another request
		return nil, local(
			oauth.InvalidRequest(
				fmt.Sprintf("state is given more than once or is longer than %d bytes; send a shorter one, once",
					MaxState)))
	}
	relaxed, ok := client.MatchRedirectURI(c.RedirectURIs, form.Get("redirect_uri"))
	if !ok {
		return nil, local(oauth.InvalidRequest(unregisteredRedirect(c, form.Get("redirect_uri"))))
	}
	a := &Authorization{Client: c, RedirectURI: form.Get("redirect_uri"), Form: form}
	a.relax(relaxed)
	if len(form.Get("state")) < shortState {
		a.relax(RelaxedNoState)
	}
	a.State = form.Get("state")
	return a, nil
}

// client finds a client, by its metadata document if its id is the URL of one.
func (e *Engine) client(ctx context.Context, id string) (client.Client, error) {
	if e.Documents != nil && client.IsDocumentURL(id) {
		return e.Documents.Client(ctx, id)
	}
	c, err := e.Clients.Client(ctx, id)
	if errors.Is(err, client.ErrNotFound) {
		if there, e := e.Clients.RegisteredClient(ctx, id); e == nil && !there.DisabledAt.IsZero() {
			return client.Client{}, client.ErrDisabled
		}
	}
	return c, err
}

// Deferred reports whether a request can be checked only after somebody has signed in, because the
// metadata document of its client must be fetched first, and then what is wrong with it already
// now.
func (e *Engine) Deferred(form url.Values) (bool, *oauth.Error) {
	if e.Documents == nil || !client.IsDocumentURL(form.Get("client_id")) {
		return false, nil
	}
	for _, name := range []string{"client_id", "redirect_uri"} {
		if n := len(form[name]); n != 1 || form.Get(name) == "" {
			return true, oauth.InvalidRequest(name + " must be given, exactly once")
		}
	}
	if err := client.CheckDocumentURL(form.Get("client_id")); err != nil {
		return true,
			oauth.InvalidRequest("tell the makers of the application that this client_id cannot name a document: " +
				err.Error())
	}
	return true, nil
}

// unsupported are parameters that change the meaning of a request and are not supported (RFC 9101,
// OpenID Connect Core sections 6 and 7.2.1).
var unsupported = []struct{ parameter, code string }{
	{"request", "request_not_supported"}, {"request_uri", "request_uri_not_supported"},
	{"registration", "registration_not_supported"},
}

// check checks the request against our rules, before fosite does.
func (a *Authorization) check(e *Engine) error {
	if refused := oauth.Once(a.Form); refused != nil {
		return refused
	}
	for _, u := range unsupported {
		if a.Form.Has(u.parameter) {
			return &oauth.Error{Code: u.code, Description: u.parameter + " is not offered here; send plain parameters",
				Status: http.StatusBadRequest}
		}
	}
	if a.Form.Get("response_type") != "code" {
		return oauth.UnsupportedResponseType("the only response_type is code; send that")
	}
	if mode := a.Form.Get("response_mode"); mode != "" && mode != "query" {
		return oauth.InvalidRequest("the only response_mode is query; send that or none")
	}
	if !slices.Contains(a.Client.GrantTypes, client.GrantCode) {
		return oauth.UnauthorizedClient("this client is not registered for authorization_code; register one that is")
	}
	if a.Form.Get("code_challenge_method") != "S256" || !challengeForm.MatchString(a.Form.Get("code_challenge")) {
		return oauth.InvalidRequest("PKCE is required: send code_challenge (43 characters) with " +
			"code_challenge_method=S256")
	}
	if a.Client.PushRequired && a.Form.Get(PushedBy) != a.Client.AuthMethod {
		// RFC 9126 section 6
		return oauth.InvalidRequest("this client has said that it pushes its requests (RFC 9126); push this one first")
	}
	if a.Form.Has("dpop_jkt") && !challengeForm.MatchString(a.Form.Get("dpop_jkt")) {
		return oauth.InvalidRequest("dpop_jkt is not the SHA-256 thumbprint of a key (43 characters)")
	}
	if len(a.Form.Get("nonce")) > MaxNonce {
		return oauth.InvalidRequest("nonce is longer than 2048 bytes")
	}
	var err error
	if a.Prompt, err = ParsePrompt(a.Form); err != nil {
		return err
	}
	return a.setScopes(e)
}

// setScopes sets the resource and the scopes that are requested; no scope means the baseline. The
// scopes of OpenID Connect may be requested with others. Alone, and with no resource named, they
// mean the issuer itself.
func (a *Authorization) setScopes(e *Engine) error {
	asked, err := oauth.ParseScope(a.Form.Get("scope"))
	if err != nil {
		return oauth.InvalidScope(err.Error())
	}
	identity, others := identityOf(withoutOffline(asked))
	if len(identity) > 0 && len(others) == 0 && !a.Form.Has("resource") {
		a.Resource, a.Scopes = e.identity, identity
		return nil
	}
	resource, relaxed, err := e.target(a.Form)
	if err != nil {
		return err
	}
	a.Resource = resource
	a.relax(relaxed)
	if asked, relaxed, err = e.requested(a.Form, resource); err != nil {
		return err
	}
	a.relax(relaxed)
	identity, others = identityOf(asked)
	if len(others) == 0 && (len(identity) == 0 || resource.URI != e.identity.URI) {
		others = a.defaultScopes()
	}
	if !oauth.Subset(others, a.allowedForClient(resource.ScopeNames())) {
		return oauth.InvalidScope("a scope is not offered here or not allowed for this client; the resource offers: " +
			oauth.FormatScope(resource.ScopeNames()))
	}
	a.Scopes = append(identity, others...)
	return nil
}

// allowedForClient keeps the scopes that the client is limited to, and those of OpenID Connect,
// which the person alone decides on.
func (a *Authorization) allowedForClient(scopes []string) []string {
	return append(oauth.Intersect(scopes, IdentityScopes()), withinClient(scopes, a.Client)...)
}

// grantsAny reports whether scopes grant anything at the resource: those of OpenID Connect alone
// grant nothing but the userinfo endpoint.
func (a *Authorization) grantsAny(scopes []string) bool {
	return len(oauth.Intersect(scopes, a.Resource.ScopeNames())) > 0
}

// unregisteredRedirect describes a redirect URI that the client has not registered. The redirect
// URIs of a client metadata document are public and are named; those that a client registered are
// not told to strangers.
func unregisteredRedirect(c client.Client, came string) string {
	if c.Origin != client.OriginDocument {
		return "redirect_uri is not one that this client has registered; send one that is, or register again"
	}
	const most = 5
	var has []string
	for _, uri := range c.RedirectURIs[:min(len(c.RedirectURIs), most)] {
		has = append(has, shownURL(uri))
	}
	if more := len(c.RedirectURIs) - most; more > 0 {
		has = append(has, fmt.Sprintf("and %d more", more))
	}
	return "redirect_uri is not one that this client has registered: the application sent " + shownURL(came) +
		", and its document at " + shownURL(c.ID) + " has " + strings.Join(has, ", ") +
		". Its makers must add the address to the document, or send one of these"
}

// shownURL returns a URI as it may be shown, shortened.
func shownURL(raw string) string {
	return cmp.Or(text.URL(raw, 200), "an address that cannot be read")
}

// defaultScopes are the scopes of a request that names none: the baseline as far as the client may
// have it, or else all that it may have.
func (a *Authorization) defaultScopes() []string {
	if within := a.allowedForClient(a.Resource.Baseline()); len(within) > 0 {
		return within
	}
	return a.allowedForClient(a.Resource.ScopeNames())
}

func (e *Engine) refuse(ctx context.Context, a *Authorization, err *oauth.Error) *Refusal {
	description := oauth.Description(err.Description) + " (support code " + httpd.SupportCode(ctx) + ")"
	return &Refusal{Err: err, RedirectTo: e.redirectURL(a, url.Values{
		"error": {err.Code}, "error_description": {description}, "error_uri": {e.ErrorURI(err.Code)},
	})}
}

// ErrorPath is the path, below the issuer, of the pages that explain error codes.
const ErrorPath = "/errors/"

// ErrorURI is the page that explains an error code (RFC 6749 sections 4.1.2.1 and 5.2).
func (e *Engine) ErrorURI(code string) string { return e.Issuer + ErrorPath + code }

// redirectURL is the redirect URI with the parameters of the response, the state unchanged, and
// iss (RFC 9207 section 2).
func (e *Engine) redirectURL(a *Authorization, parameters url.Values) string {
	if a.State != "" {
		parameters.Set("state", a.State)
	}
	parameters.Set("iss", e.Issuer)
	separator := "?"
	if strings.Contains(a.RedirectURI, "?") {
		separator = "&"
	}
	return a.RedirectURI + separator + parameters.Encode()
}
