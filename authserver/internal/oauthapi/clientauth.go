package oauthapi

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/assertion"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// unknownHash is compared with when the client is unknown or has no secret, so that the response
// takes as long.
var unknownHash = client.HashSecret("no client has this secret")

var errNotAuthenticated = oauth.InvalidClient("client authentication did not succeed: the client is unknown, or its " +
	"proof is missing or wrong; check both, or register again")

// errUnknownClient looks the same to the client; the log tells that the client is unknown.
var errUnknownClient = fmt.Errorf("%w (%w)", errNotAuthenticated, attempt.ErrUnknown)

// errDisabled looks the same to the client; the log tells that the client is disabled.
var errDisabled = fmt.Errorf("%w (%w)", errNotAuthenticated, attempt.ErrDisabled)

// credentials are the client credentials of a request.
type credentials struct {
	id, secret string
	assertion  string
	method     string // client.AuthNone, AuthBasic, AuthPost or AuthKey
}

// RelaxedOldSecret names that a client authenticated with the secret that is being replaced,
// within the overlap that the operator set.
const RelaxedOldSecret = "a client secret that is being replaced"

// authenticate authenticates the client (RFC 6749 sections 2.3 and 3.2.1), for all endpoints
// alike. The error is an *oauth.Error or an internal one.
func (d *API) authenticate(r *http.Request, form url.Values) (client.Client, error) {
	c, err := d.identify(r, form)
	if err != nil {
		d.Engine.Refused(r.Context(), client.Client{}, audit.Event{Action: "client.authenticate", Target: c.ID,
			Client: c.ID, Tenant: c.TenantID}, err)
		return client.Client{}, err
	}
	return c, nil
}

// identify is authenticate without the audit event. With an error it returns the client that the
// request names, if it exists.
func (d *API) identify(r *http.Request, form url.Values) (client.Client, error) {
	shown, refused := readCredentials(r, form)
	if refused != nil {
		return client.Client{}, refused
	}
	httpd.Note(r.Context(), "client", shown.id)
	attempt.FromContext(r.Context()).Client(shown.id, "")
	c, err := d.Clients.Client(r.Context(), shown.id)
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		return client.Client{}, fmt.Errorf("load client: %w", err)
	}
	hash := unknownHash
	if c.SecretHash != "" {
		hash = c.SecretHash
	}
	matches := client.CheckSecret(hash, shown.secret)
	if !matches && d.Now().Before(c.OldSecretEnds) && client.CheckSecret(c.OldSecretHash, shown.secret) {
		httpd.Note(r.Context(), "relaxed", RelaxedOldSecret)
		matches = true
	}
	if err == nil && shown.method == client.AuthKey && c.AuthMethod == client.AuthKey {
		return c, d.verifyAssertion(r, c, shown.assertion)
	}
	public := c.AuthMethod == client.AuthNone
	switch {
	case err != nil:
		if c, err = d.Clients.RegisteredClient(r.Context(), shown.id); err == nil && !c.DisabledAt.IsZero() {
			return c, errDisabled
		}
		return client.Client{}, errUnknownClient
	case public && shown.method == client.AuthNone:
		return c, nil
	case public || shown.method == client.AuthNone || c.SecretHash == "" || !matches:
		return c, errNotAuthenticated
	}
	if shown.method != c.AuthMethod {
		// Some clients send the secret by the other method than the one that they registered.
		httpd.Note(r.Context(), "relaxed", shown.method+" for "+c.AuthMethod)
	}
	return c, nil
}

// readAuthenticated reads a form and authenticates its client. If ok is false, the response is
// written.
func (d *API) readAuthenticated(w http.ResponseWriter, r *http.Request) (c client.Client, form url.Values, ok bool) {
	form, refused := readForm(r)
	if refused != nil {
		d.fail(w, r, refused)
		return c, nil, false
	}
	c, err := d.authenticate(r, form)
	if err != nil {
		d.failAuthentication(w, r, err)
		return c, nil, false
	}
	return c, form, true
}

// readLimited is readAuthenticated for requests that count as authorization requests.
func (d *API) readLimited(w http.ResponseWriter, r *http.Request) (c client.Client, form url.Values, ok bool) {
	if !d.allowAuthorization(w, r) {
		return c, nil, false
	}
	return d.readAuthenticated(w, r)
}

// allowAuthorization counts an authorization request. If it returns false, the response is
// written.
func (d *API) allowAuthorization(w http.ResponseWriter, r *http.Request) bool {
	ok, wait := d.Authorize.Allow(r.Context(), httpd.Source(r.Context()))
	if !ok {
		d.tooMany(w, r, wait)
	}
	return ok
}

// verifyAssertion verifies a client assertion. A client whose signature is valid is told what else
// is wrong; all others get the same error, and the log has the reason.
func (d *API) verifyAssertion(r *http.Request, c client.Client, raw string) error {
	err := d.Assertions.Check(r.Context(), c, raw)
	if errors.Is(err, assertion.ErrInvalid) {
		httpd.Note(r.Context(), "error", err)
		var known interface{ InvalidReason() string }
		if errors.As(err, &known) {
			said := oauth.InvalidClient("client authentication did not succeed: the signature of the client " +
				"assertion holds, but " + known.InvalidReason())
			return fmt.Errorf("%w (%w) (%w)", said, errNotAuthenticated, err)
		}
		return fmt.Errorf("%w (%w)", errNotAuthenticated, err)
	}
	return err
}

// readAssertion reads a client assertion (RFC 7521 section 4.2), which must be the only method.
func readAssertion(r *http.Request, form url.Values) (credentials, *oauth.Error) {
	raw := form.Get("client_assertion")
	if len(r.Header.Values("Authorization")) > 0 || form.Has("client_secret") {
		return credentials{}, oauth.InvalidRequest("more than one way of client authentication in one request; use one")
	}
	if form.Get("client_assertion_type") != assertion.Type {
		return credentials{}, oauth.InvalidClient("the client_assertion_type must be " + assertion.Type)
	}
	subject, ok := assertion.Subject(raw)
	if !ok || form.Has("client_id") && form.Get("client_id") != subject {
		return credentials{}, errNotAuthenticated
	}
	return credentials{id: subject, assertion: raw, method: client.AuthKey}, nil
}

// readCredentials reads exactly one method of client authentication (RFC 6749 section 2.3).
func readCredentials(r *http.Request, form url.Values) (credentials, *oauth.Error) {
	if form.Has("client_assertion") || form.Has("client_assertion_type") {
		return readAssertion(r, form)
	}
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		c := credentials{id: form.Get("client_id"), secret: form.Get("client_secret"), method: client.AuthNone}
		if form.Has("client_secret") {
			c.method = client.AuthPost
		}
		if c.id == "" {
			return credentials{},
				oauth.InvalidClient("the request does not say which client sends it: send client_id, or HTTP Basic")
		}
		return c, nil
	}
	if len(headers) > 1 || form.Has("client_secret") {
		return credentials{}, oauth.InvalidRequest("more than one way of client authentication in one request; use one")
	}
	c, ok := basic(headers[0])
	if !ok {
		return credentials{},
			oauth.InvalidClient("send the Authorization header as HTTP Basic with form-encoded client id and secret")
	}
	if form.Has("client_id") && form.Get("client_id") != c.id {
		return credentials{},
			oauth.InvalidClient("client_id in the body is not the client of the Authorization header; send one client")
	}
	return c, nil
}

// basic reads HTTP Basic credentials, which are form-encoded (RFC 6749 section 2.3.1).
func basic(header string) (credentials, bool) {
	scheme, encoded := oauth.Credentials(header)
	if !strings.EqualFold(scheme, "Basic") {
		return credentials{}, false
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return credentials{}, false
	}
	id, secret, ok := strings.Cut(string(decoded), ":")
	if !ok || id == "" {
		return credentials{}, false
	}
	id, err1 := url.QueryUnescape(id)
	secret, err2 := url.QueryUnescape(secret)
	text := utf8.ValidString(id) && !strings.ContainsRune(id, 0)
	return credentials{id: id, secret: secret, method: client.AuthBasic}, err1 == nil && err2 == nil && text
}
