package oauthapi

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// pushBody is the response to a pushed authorization request (RFC 9126 section 2.2).
type pushBody struct {
	RequestURI string `json:"request_uri"`
	ExpiresIn  int64  `json:"expires_in"`
}

// push is the pushed authorization request endpoint (RFC 9126 section 2).
func (d *API) push(w http.ResponseWriter, r *http.Request) {
	if !d.allowAuthorization(w, r) {
		return
	}
	form, refused := readForm(r)
	if refused != nil {
		d.fail(w, r, refused)
		return
	}
	attempt.FromContext(r.Context()).SetParameters(form)
	c, err := d.pushingClient(r, form)
	if err != nil {
		d.failAuthentication(w, r, err)
		return
	}
	if len(form.Encode()) > maxQuery {
		d.fail(w, r, &oauth.Error{Code: "invalid_request", Description: "the request is too long; 32 KiB are the most",
			Status: http.StatusRequestEntityTooLarge})
		return
	}
	proof, err := d.proof(w, r, PushPath, "")
	if err != nil {
		d.fail(w, r, err)
		return
	}
	requestURI, lifetime, names, err := d.Engine.Push(r.Context(), c, form, proof)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	noteRelaxed(r, names)
	respond(w, http.StatusCreated, pushBody{requestURI, int64(lifetime.Seconds())})
}

// pushingClient authenticates the client that pushes a request. A client whose metadata document
// is not fetched yet is treated as a public one; whether it is one is checked when a person has
// signed in and the document is fetched.
func (d *API) pushingClient(r *http.Request, form url.Values) (client.Client, error) {
	c, err := d.authenticate(r, form)
	shown, _ := readCredentials(r, form)
	if !errors.Is(err, errNotAuthenticated) || shown.method != client.AuthNone || d.Engine.Documents == nil ||
		client.CheckDocumentURL(shown.id) != nil {
		return c, err
	}
	if _, read := d.Clients.RegisteredClient(r.Context(), shown.id); !errors.Is(read, client.ErrNotFound) {
		return client.Client{}, err
	}
	return client.Client{ID: shown.id, AuthMethod: client.AuthNone}, nil
}
