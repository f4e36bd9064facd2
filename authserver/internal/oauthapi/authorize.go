package oauthapi

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/shared/audit"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
)

// maxQuery bounds the length of an authorization request, in bytes.
const maxQuery = 32 << 10

// errUnreadable refuses prompt=none for a client with a metadata document: the document is fetched
// only after a person has signed in, so the redirect URI is not known yet.
var errUnreadable = &oauth.Error{Code: "login_required", Status: http.StatusBadRequest,
	Description: "a person must sign in and agree: prompt=none cannot be met for an application that is known by a " +
		"document"}

// authorize is the authorization endpoint (RFC 6749 section 3.1). It only checks the request; a
// valid one is stored for this browser, which is redirected to the consent page.
func (d *API) authorize(w http.ResponseWriter, r *http.Request) {
	if ok, wait := d.Authorize.Allow(r.Context(), httpd.Source(r.Context())); !ok {
		d.ErrorPage(w, r, visible(r, oauth.TooManyRequests(wait)))
		return
	}
	form, refused := readAuthorization(w, r)
	if refused != nil {
		d.ErrorPage(w, r, visible(r, refused))
		return
	}
	if r.Method == http.MethodPost {
		if prompt, err := issuer.ParsePrompt(form); err == nil && prompt.None && form.Has("id_token_hint") {
			d.ErrorPage(w, r,
				visible(r, oauth.InvalidRequest("send prompt=none with id_token_hint by GET, or push the request "+
					"(RFC 9126)")))
			return
		}
		form.Del("id_token_hint") // it matters for prompt=none alone, and does not belong in a URL
		// A browser sends a POST from another site without cookies, but follows the redirect with
		// them.
		attempt.FromContext(r.Context()).Silence()
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, AuthorizePath+"?"+form.Encode(), http.StatusSeeOther)
		return
	}
	form.Del(issuer.PushedBy)
	way := attempt.FromContext(r.Context())
	way.SetParameters(form)
	if issuer.IsPushed(form) {
		pushed, err := d.Engine.Pushed(r.Context(), form)
		if err != nil {
			d.refuse(w, r, form, err)
			return
		}
		form = pushed
		way.SetParameters(form)
	}
	httpd.Note(r.Context(), "client", form.Get("client_id"))
	deferred, refused := d.Engine.Deferred(form)
	way.SetUnread(deferred)
	if refused != nil {
		d.ErrorPage(w, r, visible(r, refused))
		return
	}
	prompt, err := issuer.ParsePrompt(form)
	if deferred && err == nil && prompt.None {
		d.ErrorPage(w, r, visible(r, errUnreadable))
		return
	}
	if !deferred {
		a, err := d.Engine.Authorize(r.Context(), form)
		if err != nil {
			d.refuse(w, r, form, err)
			return
		}
		noteRelaxed(r, a.Relaxed)
		way.Client(a.Client.ID, a.Client.Name)
		if prompt.None {
			d.Silent(w, r, form)
			return
		}
	}
	transaction, err := d.Begin(w, r, issuer.Remembered(form))
	if err != nil {
		d.ErrorPage(w, r, visible(r, err))
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, "/consent?tx="+url.QueryEscape(transaction), http.StatusSeeOther)
}

// readAuthorization reads the parameters from the query of a GET or the body of a POST, never from
// both.
func readAuthorization(w http.ResponseWriter, r *http.Request) (url.Values, *oauth.Error) {
	if r.Method == http.MethodPost {
		if r.URL.RawQuery != "" {
			return nil, oauth.InvalidRequest("parameters belong either in the URL or in the body, not in both")
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxQuery)
		return readBody(r)
	}
	if len(r.URL.RawQuery) > maxQuery {
		return nil, &oauth.Error{Code: "invalid_request",
			Description: "the request is too long; 32 KiB are the most, or push it ahead",
			Status:      http.StatusRequestURITooLong}
	}
	return oauth.ParseForm(r.URL.RawQuery)
}

// refuse answers by a redirect where that is safe, and by an error page otherwise.
func (d *API) refuse(w http.ResponseWriter, r *http.Request, form url.Values, err error) {
	refused := visible(r, err)
	// the client that the request names, not an authenticated one
	c, _ := d.Clients.Client(r.Context(), form.Get("client_id"))
	d.Engine.Refused(r.Context(), client.Client{}, audit.Event{Action: "authorization.request", Target: c.ID,
		Client: c.ID, Tenant: c.TenantID}, refused)
	var refusal *issuer.Refusal
	if errors.As(err, &refusal) && refusal.RedirectTo != "" {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Location", refusal.RedirectTo)
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	d.ErrorPage(w, r, refused)
}
