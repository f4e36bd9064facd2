package oauthapi

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// register is the client registration endpoint (RFC 7591 section 3). Clients that act for people
// may register without authentication, because people are asked each time; a client that acts for
// itself sends an initial access token of its tenant.
func (d *API) register(w http.ResponseWriter, r *http.Request) {
	if ok, wait := d.Register.Allow(r.Context(), httpd.Source(r.Context())); !ok {
		d.tooMany(w, r, wait)
		return
	}
	said, err := readMetadata(r)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	manage := client.NewManageToken()
	c, secret, err := d.create(r, said.ClientMetadata, client.TokenHash(manage))
	d.Engine.Refused(r.Context(), client.Client{}, audit.Event{Action: actRegister}, err)
	switch {
	case errors.Is(err, client.ErrNoInitialToken):
		d.Engine.Refuse(r.Context(), client.Client{}, audit.Event{Action: actRegister, Detail: err.Error()})
		d.refuseBearer(w, r, "an initial access token is needed that is known, not expired and not used up; send it "+
			"as Bearer")
		return
	case errors.Is(err, client.ErrFull):
		// No Retry-After: it is not known when one of them is deleted or expires.
		d.fail(w, r,
			&oauth.Error{Code: "temporarily_unavailable",
				Description: "No more clients can register here: each of those that registered themselves is in use. " +
					"Ask the operator of this server.", Status: http.StatusServiceUnavailable})
		return
	case err != nil:
		d.fail(w, r, err)
		return
	}
	httpd.Note(r.Context(), "client", c.ID)
	attempt.FromContext(r.Context()).Client(c.ID, c.Name)
	attempt.FromContext(r.Context()).For(c.TenantID, "")
	if !slices.Contains(c.GrantTypes, client.GrantCode) && !slices.Contains(c.GrantTypes, client.GrantDevice) {
		// it needs no person: nothing is left open
		attempt.FromContext(r.Context()).Silence()
	}
	body := d.information(c)
	body.ClientSecret = secret
	if c.ManageHash != "" {
		body.RegistrationAccessToken = manage
	}
	respond(w, http.StatusCreated, body)
}

const actRegister = "client.register"

// information is the response with the registered client (RFC 7591 section 3.2.1, RFC 7592 section
// 3).
func (d *API) information(c client.Client) oauth.ClientInformation {
	body := oauth.ClientInformation{ClientID: c.ID, ClientIDIssuedAt: c.CreatedAt.Unix(), ClientMetadata: c.Metadata()}
	if c.ManageHash != "" { // a shared client is managed by no one client
		body.RegistrationClientURI = d.Engine.Issuer + RegisterPath + "/" + c.ID
	}
	if c.SecretHash != "" {
		body.ClientSecretExpiresAt = new(int64) // 0: it does not expire
	}
	return body
}

// refuseBearer refuses a request without a valid bearer token (RFC 6750 section 3).
func (d *API) refuseBearer(w http.ResponseWriter, r *http.Request, what string) {
	refused := visible(r, oauth.InvalidToken(what))
	w.Header().Set("WWW-Authenticate", oauth.Challenge{Error: refused.Code, ErrorDescription: what}.String())
	respond(w, refused.Status, d.body(r, refused))
}

// create makes and stores the client, under the tenant of the initial access token if there is
// one.
func (d *API) create(r *http.Request, m oauth.ClientMetadata, manageHash string) (client.Client, string, error) {
	now := d.Now().UTC().Truncate(time.Second)
	raw, shown, err := bearer(r)
	if err != nil {
		return client.Client{}, "", err
	}
	if !shown && d.Registration == RegistrationToken {
		return client.Client{}, "", client.ErrNoInitialToken
	}
	if !shown {
		c, secret, err := client.FromMetadata(m, client.Registration{Algorithms: d.IDTokenAlgorithms(), Now: now})
		if err != nil {
			return client.Client{}, "", err
		}
		if !c.Shared() {
			c.ManageHash = manageHash
		}
		event := audit.Event{
			Time: now, Actor: "address:" + httpd.ClientAddr(r.Context()).String(), Action: actRegister, Target: c.ID,
			Client: c.ID, Detail: c.Name,
		}
		if c, err = d.Clients.Register(r.Context(), c, d.Ceiling, event); err != nil {
			return client.Client{}, "", fmt.Errorf("store client: %w", err)
		}
		if !c.DisabledAt.IsZero() { // a shared one
			return client.Client{}, "", client.ErrDisabled
		}
		return c, secret, nil
	}
	var secret string
	c, err := d.Clients.UseInitialToken(r.Context(), client.TokenHash(raw), now,
		func(t client.InitialToken) (client.Client, audit.Event, error) {
			made, s, err := client.FromMetadata(m, client.Registration{Tenant: &t, Algorithms: d.IDTokenAlgorithms(),
				Now: now})
			secret, made.ManageHash = s, manageHash
			event := audit.Event{Time: now, Actor: "initial_token", Action: actRegister, Target: made.ID,
				Tenant: t.TenantID, Client: made.ID, Detail: oauth.FormatScope(made.Scopes)}
			return made, event, err
		})
	return c, secret, err
}

// bearer reads an initial access token, if there is one (RFC 7591 section 3).
func bearer(r *http.Request) (raw string, shown bool, err error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return "", false, nil
	}
	scheme, raw := oauth.Credentials(headers[0])
	if len(headers) > 1 || !strings.EqualFold(scheme, "Bearer") || raw == "" {
		return "", false, client.ErrNoInitialToken
	}
	return raw, true, nil
}

// readMetadata reads the metadata of a registration or of a change.
func readMetadata(r *http.Request) (client.Description, error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		return client.Description{},
			&oauth.Error{Code: "invalid_client_metadata", Description: "send the metadata as application/json",
				Status: http.StatusUnsupportedMediaType}
	}
	body, refused := readAll(r)
	if refused != nil {
		return client.Description{}, &oauth.Error{Code: "invalid_client_metadata", Description: refused.Description,
			Status: refused.Status}
	}
	said, err := client.ReadMetadata(body)
	if len(said.Ignored) > 0 {
		httpd.Note(r.Context(), "ignored", strings.Join(said.Ignored, " "))
	}
	return said, err
}
