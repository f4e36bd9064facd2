package pages

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-mcp/gatehouse/authserver/internal/attempt"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/client"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/issuer"
	"github.com/gatehouse-mcp/gatehouse/authserver/internal/session"
	"github.com/gatehouse-mcp/gatehouse/shared/httpd"
	"github.com/gatehouse-mcp/gatehouse/shared/oauth"
	"github.com/gatehouse-mcp/gatehouse/web"
)

// LogoutPath is the end_session_endpoint (OpenID Connect RP-Initiated Logout 1.0 §2), below the
// issuer.
const LogoutPath = "/oauth2/logout"

// logoutParameters are those that are read; others are ignored.
var logoutParameters = []string{"id_token_hint", "client_id", "post_logout_redirect_uri", "state"}

// logout asks a person whether to sign out, each time, because any page can send a browser here.
// They are then redirected to a registered URI or nowhere.
func (d *Handler) logout(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		d.logoutByPost(w, r)
		return
	}
	form, refused := oauth.ParseForm(r.URL.RawQuery)
	if refused != nil {
		d.fail(w, r, refused)
		return
	}
	to, err := d.afterwards(r.Context(), form)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	u, err := d.who(r)
	switch {
	case errors.Is(err, session.ErrNobody) && to != "":
		d.goOn(w, r, form, to)
	case errors.Is(err, session.ErrNobody):
		seeOther(w, "/signin")
	case err != nil:
		d.fail(w, r, err)
	default:
		d.askWhetherOut(w, r, u, form)
	}
}

// goOn redirects when no one is signed in: at once for an application that an operator or a tenant
// registered, by a link for all others, which anyone can register.
func (d *Handler) goOn(w http.ResponseWriter, r *http.Request, form url.Values, to string) {
	c, err := d.leaving(r.Context(), form)
	switch {
	case err != nil:
		d.fail(w, r, err)
	case c.Origin == client.OriginOperator || c.Origin == client.OriginInitialToken:
		seeOther(w, to)
	default:
		// checked as a redirect URI: its scheme runs nothing
		d.show(w, r, http.StatusOK, web.SignedOut{Back: template.URL(to), BackTo: redirectHost(to)})
	}
}

// logoutByPost continues by GET: a form posted from another site comes without cookies, which the
// GET has. The ID token is replaced by its client_id, so that it is in no URL.
func (d *Handler) logoutByPost(w http.ResponseWriter, r *http.Request) {
	if r.URL.RawQuery != "" {
		d.fail(w, r, oauth.InvalidRequest("parameters belong either in the URL or in the body, not in both"))
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		d.fail(w, r, invalid("The request cannot be read."))
		return
	}
	form, refused := oauth.ParseForm(string(body))
	if refused != nil {
		d.fail(w, r, refused)
		return
	}
	if _, err := d.afterwards(r.Context(), form); err != nil {
		d.fail(w, r, err)
		return
	}
	c, err := d.leaving(r.Context(), form)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	kept := url.Values{}
	for name, value := range map[string]string{"client_id": c.ID,
		"post_logout_redirect_uri": form.Get("post_logout_redirect_uri"), "state": form.Get("state")} {
		if value != "" {
			kept.Set(name, value)
		}
	}
	seeOther(w, LogoutPath+"?"+kept.Encode())
}

func (d *Handler) askWhetherOut(w http.ResponseWriter, r *http.Request, u visitor, form url.Values) {
	p := web.SignOut{CSRF: d.Sessions.CSRF(w, r), Person: u.Email, State: form.Get("state"),
		To: form.Get("post_logout_redirect_uri")}
	if p.To != "" {
		p.Host = redirectHost(p.To)
	}
	if c, err := d.leaving(r.Context(), form); err == nil && c.ID != "" {
		p.Client, p.ClientID = clientName(c), c.ID
	}
	d.show(w, r, http.StatusOK, p)
}

// afterwards returns where to redirect after logout: a post_logout_redirect_uri that the
// application registered, compared byte for byte, with its state; or "". Everything else is an
// *oauth.Error, and there is no redirect.
func (d *Handler) afterwards(ctx context.Context, form url.Values) (string, error) {
	for _, name := range logoutParameters {
		if len(form[name]) > 1 {
			return "", oauth.InvalidRequest("a parameter is given more than once")
		}
	}
	c, err := d.leaving(ctx, form)
	if err != nil {
		return "", err
	}
	to := form.Get("post_logout_redirect_uri")
	if to == "" {
		return "", nil
	}
	if !slices.Contains(c.PostLogoutRedirectURIs, to) || client.CheckRedirectURI(to) != nil {
		return "", invalid("The application has not registered the address that it wants you to go to " +
			"(post_logout_redirect_uri). You are still signed in.")
	}
	if len(form.Get("state")) > issuer.MaxState {
		return "", oauth.InvalidRequest(fmt.Sprintf("state is longer than %d bytes", issuer.MaxState))
	}
	if form.Get("state") == "" {
		return to, nil
	}
	separator := "?"
	if strings.Contains(to, "?") {
		separator = "&"
	}
	return to + separator + url.Values{"state": {form.Get("state")}}.Encode(), nil
}

// leaving returns the application that requested logout, by ID token or client_id; the zero client
// when there is none.
func (d *Handler) leaving(ctx context.Context, form url.Values) (client.Client, error) {
	id := form.Get("client_id")
	if hint := form.Get("id_token_hint"); hint != "" {
		_, of, err := d.Engine.Hint(hint)
		if err != nil || id != "" && id != of {
			return client.Client{},
				invalid("The id_token_hint is not an id token of this server, or is another " +
					"application's. You are still signed in.")
		}
		id = of
	}
	if id == "" {
		return client.Client{}, nil
	}
	c, err := d.Clients.Client(ctx, id)
	if errors.Is(err, client.ErrNotFound) {
		return client.Client{}, invalid("The application is not known here. You are still signed in.")
	}
	if err != nil {
		return client.Client{}, fmt.Errorf("reading a client: %w", err)
	}
	httpd.Note(ctx, "client", c.ID)
	return c, nil
}

// Silent answers a request with prompt=none without showing a page (OpenID Connect Core §3.1.2.1).
func (d *Handler) Silent(w http.ResponseWriter, r *http.Request, form url.Values) {
	u, err := d.who(r)
	if err != nil && !errors.Is(err, session.ErrNobody) {
		d.fail(w, r, err)
		return
	}
	to, err := d.Engine.Silent(r.Context(), form, u.someone())
	way := attempt.FromContext(r.Context())
	way.For("", u.ID)
	if err == nil {
		way.Reached(attempt.Redirect)
	}
	var refusal *issuer.Refusal
	if errors.As(err, &refusal) && refusal.RedirectTo != "" {
		httpd.Note(r.Context(), "refused", refusal.Err.Code)
		way.Refuse(refusal.Err)
		to, err = refusal.RedirectTo, nil
	}
	if err != nil {
		d.fail(w, r, err)
		return
	}
	seeOther(w, to)
}
