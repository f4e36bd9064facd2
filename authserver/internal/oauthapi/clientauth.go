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

// unknownHash is compared with when there is no such client or it has no secret, so that the answer
// takes as long.
var unknownHash = client.HashSecret("no client has this secret")

var errNotAuthenticated = oauth.InvalidClient("client authentication did not succeed: the client is unknown, or its " +
	"proof is missing or wrong; check both, or register anew")

// errUnknownClient is the same to strangers, of a client that is not known; the operator is told.
var errUnknownClient = fmt.Errorf("%w (%w)", errNotAuthenticated, attempt.ErrUnknown)

// errDisabled is the same to strangers, of a client that the operator has disabled.
var errDisabled = fmt.Errorf("%w (%w)", errNotAuthenticated, attempt.ErrDisabled)

// credentials are what a request shows of its client.
type credentials struct {
	id, secret string
	assertion  string
	method     string // client.AuthNone, AuthBasic, AuthPost or AuthKey
}

// RelaxedOldSecret names that a client proved itself with the secret that is being replaced, within
// the overlap that the operator gave.
const RelaxedOldSecret = "a client secret that is being replaced"

// authenticate finds out which client sent the request (RFC 6749 §2.3, §3.2.1). It is the one way
// in for the token, revocation and introspection endpoints alike. The error is an *oauth.Error or
// an inner one.
func (d *API) authenticate(r *http.Request, form url.Values) (client.Client, error) {
	c, err := d.identify(r, form)
	if err != nil {
		d.Engine.Refused(r.Context(), client.Client{}, audit.Event{Action: "client.authenticate", Target: c.ID,
			Client: c.ID, Tenant: c.TenantID}, err)
		return client.Client{}, err
	}
	return c, nil
}

// identify is authenticate. With an error comes the client that the request says it is of, if there is
// one.
func (d *API) identify(r *http.Request, form url.Values) (client.Client, error) {
	shown, refused := readCredentials(r, form)
	if refused != nil {
		return client.Client{}, refused
	}
	httpd.Note(r.Context(), "client", shown.id)
	attempt.FromContext(r.Context()).Client(shown.id, "")
	c, err := d.Clients.Client(r.Context(), shown.id)
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		return client.Client{}, fmt.Errorf("reading a client: %w", err)
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
		// Clients in the field send the same secret the other way than they registered (clients.md
		// 2.2 no. 12).
		httpd.Note(r.Context(), "relaxed", shown.method+" for "+c.AuthMethod)
	}
	return c, nil
}

// readAuthenticated reads a form and finds out which client sent it. When ok is false, the answer has been
// given.
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

// readLimited is sender for what a client asks readLimited of a browser, which counts as the browser's own
// asking does.
func (d *API) readLimited(w http.ResponseWriter, r *http.Request) (c client.Client, form url.Values, ok bool) {
	if !d.allowAuthorization(w, r) {
		return c, nil, false
	}
	return d.readAuthenticated(w, r)
}

// allowAuthorization counts what is asked ahead of a browser. When it is false, the answer has been given.
func (d *API) allowAuthorization(w http.ResponseWriter, r *http.Request) bool {
	ok, wait := d.Authorize.Allow(r.Context(), httpd.Source(r.Context()))
	if !ok {
		d.tooMany(w, r, wait)
	}
	return ok
}

// verifyAssertion verifies a client's assertion. A client whose signature holds is told what else is wrong
// with it; everybody else gets one answer, and the log says which.
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

// readAssertion reads a client assertion (RFC 7521 §4.2), beside which there is nothing else.
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

// readCredentials reads exactly one method of client authentication (RFC 6749 §2.3).
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

// basic reads HTTP Basic credentials, which are form-encoded before (RFC 6749 §2.3.1).
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
